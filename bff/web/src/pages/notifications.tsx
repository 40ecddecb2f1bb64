import { useEffect, useState } from 'preact/hooks'
import { Empty } from '../components/empty.tsx'
import { Failure } from '../components/failure.tsx'
import { Page } from '../components/page.tsx'
import { Skeleton } from '../components/skeleton.tsx'
import { groupByDay } from '../day.ts'
import { targetOf } from '../live.ts'
import { formatDay, formatTime } from '../locale.ts'
import { inbox, loadOlderNotifications, markAllRead, markRead, type Notification, unread } from '../notifications.ts'
import { useNow } from '../now.ts'
import { noAnswer, Refusal } from '../refusal.ts'

type Run = (command: () => Promise<void>) => void

function NotificationRow({ item, run }: { item: Notification; run: Run }) {
  const isUnread = item.readAt == null
  const target = targetOf(item)
  const read = () => run(() => markRead(item))
  return (
    <li class={isUnread ? 'message message-unread' : 'message'}>
      <span class="message-dot">{isUnread && <span class="visually-hidden">Unread</span>}</span>
      <div class="message-body">
        <h3 class="message-title">
          {target === undefined ? (
            item.title
          ) : (
            <a href={target} onClick={read}>
              {item.title}
            </a>
          )}
        </h3>
        <p>{item.text}</p>
        <p class="small muted">
          <time dateTime={item.at}>{formatTime(item.at)}</time>
        </p>
      </div>
      {isUnread && (
        <button type="button" class="button button-quiet button-small" onClick={read}>
          Mark as read<span class="visually-hidden">: {item.title}</span>
        </button>
      )}
    </li>
  )
}

export function NotificationsPage() {
  const [refused, setRefused] = useState<Refusal>()
  const [isBusy, setBusy] = useState(false)
  const now = useNow(60_000)
  useEffect(() => {
    void inbox.refresh()
  }, [])

  const run: Run = command => {
    setRefused(undefined)
    setBusy(true)
    command()
      .catch((error: unknown) => setRefused(error instanceof Refusal ? error : noAnswer(error)))
      .finally(() => setBusy(false))
  }

  const { data, refusal } = inbox.state.value
  const count = unread.value ?? 0
  return (
    <Page
      title="Messages"
      lead={count === 0 ? 'You have read everything.' : `${count} unread. New ones arrive here by themselves.`}
      actions={
        count > 0 && (
          <button type="button" class="button button-quiet" disabled={isBusy} onClick={() => run(markAllRead)}>
            Mark all as read
          </button>
        )
      }
      narrow
    >
      {refusal !== undefined && <Failure refusal={refusal} onRetry={inbox.refresh} />}
      {refused !== undefined && <Failure refusal={refused} />}
      {data === undefined && refusal === undefined && <Skeleton shape="row" count={5} />}
      {data?.items.length === 0 && (
        <Empty icon="bell" title="No messages yet">
          <p>When money arrives or leaves, you are told here, at the moment it happens.</p>
        </Empty>
      )}
      {data !== undefined &&
        groupByDay(data.items, new Date(now)).map(day => (
          <section key={day.key} class="day">
            <h2 class="day-name">
              {day.name === 'today' ? 'Today' : day.name === 'yesterday' ? 'Yesterday' : formatDay(day.at)}
            </h2>
            <ul class="card rows">
              {day.items.map(item => (
                <NotificationRow key={item.id} item={item} run={run} />
              ))}
            </ul>
          </section>
        ))}
      {data?.next !== undefined && (
        <div class="older">
          <button
            type="button"
            class="button button-quiet"
            disabled={isBusy}
            onClick={() => run(loadOlderNotifications)}
          >
            Load older messages
          </button>
        </div>
      )}
    </Page>
  )
}
