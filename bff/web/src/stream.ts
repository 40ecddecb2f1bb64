import { apiHeaders, refusalOf } from './api.ts'
import { backoff } from './backoff.ts'
import { tell } from './channel.ts'
import { type Notification, streamPosition } from './notifications.ts'
import { Refusal } from './refusal.ts'
import { createEventParser } from './sse.ts'

/** The service writes a comment every 20 s; a longer silence is a dead connection that nobody has noticed. */
const silence = 50_000

/** A connection that lasted this long was a good one: the next failure starts over with short waits. */
const stable = 10_000

type Listener = {
  onNotification: (notification: Notification) => void
  onUnread: (unread: number) => void
  onResume: () => void
}

/**
 * The live stream of messages: one connection per browser. The tab that holds the lock reads it and tells the others;
 * when that tab closes, the lock passes on. Six connections per host is all a browser opens over HTTP/1.1, so a stream
 * per tab would hang the seventh.
 * @returns a function that ends it
 */
export function watchStream(sub: string, listener: Listener): () => void {
  const stop = new AbortController()
  navigator.locks
    .request('banking-stream', { signal: stop.signal }, () => lead(sub, listener, stop.signal))
    .catch((error: unknown) => {
      // Leaving the queue for the lock is how a tab that was never the leader ends.
      if (!stop.signal.aborted) throw error
    })
  return () => stop.abort()
}

async function lead(sub: string, listener: Listener, stop: AbortSignal): Promise<void> {
  let attempt = 0
  let isFirst = true
  while (!stop.aborted) {
    await online(stop)
    const openedAt = Date.now()
    let wait: number | undefined
    try {
      const position = await streamPosition()
      const ending = await read(position, stop, {
        onOpen() {
          // What happened while there was no connection comes again by its position; the counts are asked for anew.
          if (!isFirst) {
            listener.onResume()
            tell({ kind: 'stream-resumed', sub })
          }
          isFirst = false
        },
        onNotification(notification) {
          listener.onNotification(notification)
          tell({ kind: 'notification', sub, notification })
        },
        onUnread(unread) {
          listener.onUnread(unread)
          tell({ kind: 'unread', sub, unread })
        },
      })
      if (ending === 'reconnect') {
        attempt = 0
        wait = Math.random() * 500
      }
    } catch (error) {
      // A refusal that another try cannot change: over, or not for this role.
      if (error instanceof Refusal && error.status >= 400 && error.status < 500 && error.status !== 429) return
      if (error instanceof Refusal && error.retryAfter !== undefined)
        wait = error.retryAfter * 1_000 + Math.random() * 500
    }
    if (Date.now() - openedAt > stable) attempt = 0
    await pause(wait ?? backoff(attempt++), stop)
  }
}

type Reading = { onOpen: () => void } & Pick<Listener, 'onNotification' | 'onUnread'>

/** One connection, until it ends. */
async function read(position: number, stop: AbortSignal, reading: Reading): Promise<'reconnect' | 'ended'> {
  const dead = new AbortController()
  let timer = setTimeout(() => dead.abort(), silence)
  try {
    const response = await fetch('/api/notifications/stream', {
      headers: { Accept: 'text/event-stream', 'Last-Event-ID': String(position), ...apiHeaders(true) },
      credentials: 'same-origin',
      cache: 'no-store',
      redirect: 'error',
      signal: AbortSignal.any([stop, dead.signal]),
    })
    if (!response.ok || response.body === null) throw await refusalOf(response)
    reading.onOpen()
    const parse = createEventParser()
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return 'ended'
      clearTimeout(timer)
      timer = setTimeout(() => dead.abort(), silence)
      for (const { event, data } of parse(value)) {
        if (event === 'reconnect') return 'reconnect'
        if (event === 'notification') {
          const notification = decode<Notification>(data)
          if (notification !== undefined) reading.onNotification(notification)
        } else if (event === 'count') {
          const count = decode<{ unread: number }>(data)
          if (count !== undefined) reading.onUnread(count.unread)
        }
      }
    }
  } finally {
    clearTimeout(timer)
    dead.abort()
  }
}

function decode<T>(data: string): T | undefined {
  try {
    return JSON.parse(data) as T
  } catch {
    // One message that cannot be read must not end the stream; the list will show it.
    return undefined
  }
}

function pause(milliseconds: number, stop: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, milliseconds)
    stop.addEventListener(
      'abort',
      () => {
        clearTimeout(timer)
        resolve()
      },
      { once: true },
    )
  })
}

function online(stop: AbortSignal): Promise<void> {
  if (navigator.onLine || stop.aborted) return Promise.resolve()
  return new Promise(resolve => {
    window.addEventListener('online', () => resolve(), { once: true, signal: stop })
    stop.addEventListener('abort', () => resolve(), { once: true })
  })
}
