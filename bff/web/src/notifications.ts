import { computed, signal } from '@preact/signals'
import { call, callJson } from './api.ts'
import { tell } from './channel.ts'
import type { Money } from './money.ts'
import { forgetWith } from './personal.ts'
import { createSharedResource } from './resource.ts'
import { session } from './session.ts'

/** One message to the person; `seq` grows by one per person and is the position in the live stream. */
export type Notification = {
  id: string
  seq: number
  category: string
  title: string
  text: string
  at: string
  readAt?: string | null
  data: { paymentId?: string; accountId?: string; amount?: Money }
}

export type Inbox = { items: readonly Notification[]; next?: string | undefined }

type Page = { items: Notification[]; next?: string | number | null }

const pageSize = 30
const unreadCount = signal<number | undefined>(undefined)

/** The highest position this tab knows of; what is not above it has been counted. */
let position: number | undefined

/** Unread messages; undefined until the server has said so. */
export const unread = computed(() => unreadCount.value)

const cursor = (page: Page): string | undefined =>
  page.next === undefined || page.next === null ? undefined : String(page.next)

function advance(items: readonly Notification[]): void {
  for (const { seq } of items) position = Math.max(position ?? 0, seq)
}

export const inbox = createSharedResource<Inbox>(async options => {
  const page = await callJson<Page>(`/api/notifications?limit=${pageSize}`, options)
  advance(page.items)
  return { items: page.items, next: cursor(page) }
})

forgetWith(() => {
  unreadCount.value = undefined
  position = undefined
})

/**
 * Where the live stream begins for a tab that has seen nothing yet: after the newest message there is.
 * @throws Refusal
 */
export async function streamPosition(): Promise<number> {
  if (position === undefined) {
    const page = await callJson<Page>('/api/notifications?limit=1', { background: true })
    advance(page.items)
    position ??= 0
  }
  return position
}

/** Asks for the number of unread messages; without an answer the badge stays as it is. */
export async function countUnread(): Promise<void> {
  try {
    const { unread } = await callJson<{ unread: number }>('/api/notifications/count', { background: true })
    if (session.peek().kind === 'signed-in') unreadCount.value = unread
  } catch {
    // The badge is a convenience: the page that lists the messages reports what is wrong.
  }
}

/** The number as the live stream says it. */
export function setUnread(unread: number): void {
  unreadCount.value = unread
}

/**
 * Takes in a message from the live stream, own or another tab's.
 * @returns false when it was known before (a resumed stream may repeat itself)
 */
export function receive(notification: Notification): boolean {
  if (position !== undefined && notification.seq <= position) return false
  position = notification.seq
  if (unreadCount.peek() !== undefined) unreadCount.value = (unreadCount.peek() ?? 0) + 1
  const { data } = inbox.state.peek()
  if (data !== undefined) inbox.change({ ...data, items: [notification, ...data.items] })
  return true
}

/** @throws Refusal */
export async function loadOlderNotifications(): Promise<void> {
  const { data } = inbox.state.peek()
  if (data?.next === undefined) return
  const page = await callJson<Page>(`/api/notifications?limit=${pageSize}&after=${encodeURIComponent(data.next)}`)
  const known = new Set(data.items.map(item => item.id))
  inbox.change({ items: [...data.items, ...page.items.filter(item => !known.has(item.id))], next: cursor(page) })
}

function mark(isRead: (item: Notification) => boolean): void {
  const { data } = inbox.state.peek()
  if (data === undefined) return
  const readAt = new Date().toISOString()
  inbox.change({
    ...data,
    items: data.items.map(item => (item.readAt == null && isRead(item) ? { ...item, readAt } : item)),
  })
}

/** What another tab has read. */
export function noteRead(message: { id: string } | { upTo: number }): void {
  mark(item => ('id' in message ? item.id === message.id : item.seq <= message.upTo))
  void countUnread()
}

const ownSub = (): string => {
  const state = session.peek()
  return state.kind === 'signed-in' ? state.person.sub : ''
}

/**
 * Marks one message read, on the page at once and on the server behind it.
 * @throws Refusal, after the mark was taken back
 */
export async function markRead(notification: Notification): Promise<void> {
  if (notification.readAt != null) return
  const before = inbox.state.peek().data
  mark(item => item.id === notification.id)
  unreadCount.value = Math.max(0, (unreadCount.peek() ?? 1) - 1)
  try {
    await call(`/api/notifications/${encodeURIComponent(notification.id)}/read`, { method: 'POST' })
    tell({ kind: 'notification-read', sub: ownSub(), id: notification.id })
  } catch (error) {
    if (before !== undefined && session.peek().kind === 'signed-in') inbox.change(before)
    void countUnread()
    throw error
  }
}

/**
 * Marks everything read that is on the page; what arrives meanwhile stays unread.
 * @throws Refusal
 */
export async function markAllRead(): Promise<void> {
  const upTo = inbox.state.peek().data?.items[0]?.seq
  if (upTo === undefined) return
  await call('/api/notifications/read-all', { method: 'POST', body: { upTo } })
  mark(item => item.seq <= upTo)
  await countUnread()
  tell({ kind: 'all-read', sub: ownSub(), upTo })
}
