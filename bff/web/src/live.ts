import { effect } from '@preact/signals'
import { accounts } from './accounts.ts'
import { hear } from './channel.ts'
import { feeds } from './feed.ts'
import { countUnread, inbox, type Notification, noteRead, receive, setUnread } from './notifications.ts'
import { payments } from './payments.ts'
import { session } from './session.ts'
import { watchStream } from './stream.ts'
import { toast } from './toasts.ts'

/** Messages come in bursts, and both sides of an own transfer are told: one refetch is enough. */
const settle = 150

let pending: ReturnType<typeof setTimeout> | undefined
let isStale = false

/** Refetches what money movements change, once the page is looked at. */
function refreshMoney(): void {
  if (document.visibilityState === 'hidden') {
    isStale = true
    return
  }
  isStale = false
  clearTimeout(pending)
  pending = setTimeout(() => {
    if (session.peek().kind !== 'signed-in') return
    if (accounts.state.peek().data !== undefined) void accounts.refresh({ background: true })
    feeds.refreshKnown()
    payments.refreshKnown()
  }, settle)
}

/**
 * Where a message leads: to the account that the money moved on, or, where none has moved yet, to the payment. Only
 * who ordered a payment may look at it, so money that came in leads to the account.
 */
export function targetOf({ data, title }: Notification): string | undefined {
  const { paymentId, accountId } = data
  const hasMoved = !/hold|declined|cancelled|expired/i.test(title)
  if (paymentId !== undefined && (accountId === undefined || !hasMoved)) return `/payments/${paymentId}`
  return accountId === undefined ? undefined : `/accounts/${accountId}`
}

function onNotification(notification: Notification): void {
  if (!receive(notification)) return
  if (document.visibilityState === 'visible') {
    const href = targetOf(notification)
    toast({
      id: notification.id,
      title: notification.title,
      text: notification.text,
      ...(href === undefined ? {} : { href }),
    })
  }
  if (notification.data.paymentId !== undefined || notification.data.accountId !== undefined) refreshMoney()
}

/** After a gap nothing that was counted here can be relied on. */
function onResume(): void {
  void countUnread()
  if (inbox.state.peek().data !== undefined) void inbox.refresh({ background: true })
  refreshMoney()
}

/** Keeps the page up to date by itself while somebody is signed in. */
export function watchLive(): void {
  let stop: (() => void) | undefined
  let watching = ''
  effect(() => {
    const state = session.value
    const sub = state.kind === 'signed-in' ? state.person.sub : ''
    if (sub === watching) return
    watching = sub
    stop?.()
    stop = undefined
    if (sub === '') return
    void countUnread()
    stop = watchStream(sub, { onNotification, onUnread: setUnread, onResume })
  })
  hear(message => {
    if (message.sub !== watching) return
    if (message.kind === 'notification') onNotification(message.notification)
    else if (message.kind === 'unread') setUnread(message.unread)
    else if (message.kind === 'stream-resumed') onResume()
    else if (message.kind === 'notification-read') noteRead({ id: message.id })
    else if (message.kind === 'all-read') noteRead({ upTo: message.upTo })
  })
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible' && isStale) refreshMoney()
  })
}
