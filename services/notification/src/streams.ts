import { once } from 'node:events'
import { PassThrough, type Readable } from 'node:stream'
import { problem } from '@banking/contracts'
import type { Database } from '@banking/db'
import type { Logger, Metrics } from '@banking/telemetry'
import type { Notification } from './notification.ts'
import { channel, type NotificationStore } from './notification-store.ts'

export type Streams = {
  /**
   * A live stream (WHATWG HTML §9.2) of one person's inbox.
   *
   * @param options.lastSeq the last notification the reader has; undefined means "from now on"
   * @param options.endsAt epoch ms at which the reader's token ends
   * @throws Problem `streams_exhausted` beyond the number of streams one person may hold, `overloaded` while closing
   */
  open(options: { userId: string; lastSeq: bigint | undefined; endsAt: number }): Promise<Readable>
  /** Tells every reader to come back later and ends their streams; afterwards none is opened. */
  close(): Promise<void>
}

export type StreamLimits = {
  /** Streams of one person: some browsers and a few that are not yet known to be gone. */
  perUser: number
  /** ms between comments that keep idle connections alive and find dead ones. */
  ping: number
}

const defaults: StreamLimits = { perUser: 8, ping: 20_000 }
/** Notifications per read: what one stream holds in memory at most. */
const pageSize = 50
/** ms after which an EventSource tries again. */
const retry = 2_000

/**
 * One LISTEN connection wakes the streams of this process; what they send is read from the table. So a lost wake-up
 * costs time (the next ping reads too), never a message.
 */
export function createStreams(options: {
  sql: Database['sql']
  store: NotificationStore
  logger: Logger
  metrics: Metrics
  limits?: Partial<StreamLimits>
}): Streams {
  const { store, logger } = options
  const limits = { ...defaults, ...options.limits }
  const streams = new Map<string, Set<Stream>>()
  let closing = false
  const count = (): number => [...streams.values()].reduce((sum, set) => sum + set.size, 0)
  options.metrics.gauge('notification_streams', 'Streams that are open.', [], gauge => gauge.set(count()))

  const listening = options.sql
    .listen(
      channel,
      userId => {
        for (const stream of streams.get(userId) ?? []) stream.wake()
      },
      () => {
        // Also after every reconnect: what was announced meanwhile is read now.
        for (const set of streams.values()) for (const stream of set) stream.wake()
      },
    )
    .catch(error => {
      logger.warn({ err: error }, 'cannot listen yet; streams read at each ping')
      return undefined
    })

  const forget = (userId: string, stream: Stream): void => {
    const set = streams.get(userId)
    set?.delete(stream)
    if (set?.size === 0) streams.delete(userId)
  }

  return {
    open: async ({ userId, lastSeq, endsAt }) => {
      if (closing) throw problem('overloaded', undefined, { headers: { 'retry-after': '1' } })
      const set = streams.get(userId) ?? new Set()
      if (set.size >= limits.perUser) throw problem('streams_exhausted', undefined, { headers: { 'retry-after': '5' } })
      // Registered before the first read: what arrives in between wakes the stream again.
      const stream = createStream({
        userId,
        store,
        logger,
        endsAt,
        ping: limits.ping,
        onEnd: () => forget(userId, stream),
      })
      streams.set(userId, set.add(stream))
      try {
        await stream.start(lastSeq)
      } catch (error) {
        stream.destroy()
        throw error
      }
      return stream.readable
    },
    close: async () => {
      closing = true
      for (const set of streams.values()) for (const stream of [...set]) stream.end()
      await listening.then(it => it?.unlisten()).catch(error => logger.debug({ err: error }, 'unlisten failed'))
    },
  }
}

type Stream = {
  readable: Readable
  start(lastSeq: bigint | undefined): Promise<void>
  /** Something may have changed. */
  wake(): void
  /** Says goodbye and ends. */
  end(): void
  destroy(): void
}

function createStream(options: {
  userId: string
  store: NotificationStore
  logger: Logger
  endsAt: number
  ping: number
  onEnd(): void
}): Stream {
  const { userId, store, logger } = options
  const out = new PassThrough()
  const gone = new AbortController()
  let sent = 0n
  let unread = -1
  let woken = false
  /** True until `start` knows where to begin: a wake-up before that is only remembered. */
  let working = true
  let stalled = false

  /** @returns false once the reader is gone */
  const write = async (frame: string): Promise<boolean> => {
    if (out.writableEnded || out.destroyed) return false
    // Waiting here is the backpressure: nothing more is read from the table until this has left.
    if (!out.write(frame)) await once(out, 'drain', { signal: gone.signal })
    stalled = false
    return true
  }

  const sendNew = async (): Promise<void> => {
    for (let more = true; more; ) {
      const page = await store.since(userId, sent, pageSize)
      for (const notification of page) {
        if (!(await write(frameOf(notification)))) return
        sent = BigInt(notification.seq)
      }
      more = page.length === pageSize
    }
    const now = await store.countUnread(userId)
    if (now !== unread && (await write(`event: count\ndata: {"unread":${now}}\n\n`))) unread = now
  }

  const work = async (): Promise<void> => {
    if (working) return
    working = true
    try {
      while (woken && !gone.signal.aborted) {
        woken = false
        await sendNew()
      }
    } catch (error) {
      // The database may be away: the stream stays, and the next wake-up or ping reads again.
      if (!gone.signal.aborted) logger.warn({ err: error }, 'stream could not read')
    } finally {
      working = false
    }
  }

  const wake = (): void => {
    woken = true
    void work()
  }

  const end = (): void => {
    if (out.writableEnded || out.destroyed) return
    out.end(`event: reconnect\ndata: {}\n\n`)
    // A reader that takes nothing must not hold the process.
    setTimeout(() => out.destroy(), 500).unref()
  }

  const pings = setInterval(() => {
    // Two pings without a byte taken: the reader is gone or hopelessly slow, and will resume where it was.
    if (stalled && out.writableNeedDrain) return void out.destroy()
    stalled = out.writableNeedDrain
    if (!stalled) out.write(': ping\n\n')
    wake()
  }, options.ping)
  const expiry = setTimeout(end, Math.max(0, options.endsAt - Date.now()))

  out.once('close', () => {
    clearInterval(pings)
    clearTimeout(expiry)
    gone.abort()
    options.onEnd()
  })
  out.on('error', error => logger.debug({ err: error }, 'stream ended'))

  return {
    readable: out,
    start: async lastSeq => {
      const newest = await store.lastSeq(userId)
      // An id from the future (another database, a forged header) must not silence the stream.
      sent = lastSeq === undefined || lastSeq > newest ? newest : lastSeq
      // A token in its last moments may have ended while we read: nothing follows the goodbye.
      if (out.writableEnded || out.destroyed) return
      out.write(`retry: ${retry}\nid: ${sent}\n\n`)
      working = false
      wake()
    },
    wake,
    end,
    destroy: () => out.destroy(),
  }
}

const frameOf = (notification: Notification): string =>
  `id: ${notification.seq}\nevent: notification\ndata: ${JSON.stringify(notification)}\n\n`
