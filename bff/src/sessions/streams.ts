import type { ServerResponse } from 'node:http'
import type { Logger, Metrics } from '@banking/telemetry'
import type { Sessions } from './sessions.ts'

type Stream = { expiresAt: number; close: (farewell: boolean) => void }

/** The answers without an end that are open now. A stream must not outlive the session that opened it. */
export type Streams = {
  open(session: { id: string; expiresAt: number }, response: ServerResponse): void
  /** Ends the streams of one session. */
  close(id: string): void
  /** Ends all of them with an event that asks the page to come again: this process is about to stop. */
  closeAll(): void
  /** Looks at every session that holds a stream; called by a timer, and by tests. */
  sweep(): Promise<void>
}

/** ms between two looks: what a stream may outlive its idle or absolute end, or a logout in another process. */
const sweepEvery = 5_000

export function createStreams(options: { sessions: Sessions; logger: Logger; metrics: Metrics }): Streams {
  const { sessions, logger } = options
  const bySession = new Map<string, Set<Stream>>()
  options.metrics.gauge('bff_open_streams', 'Streams held open for browsers.', [], gauge => {
    let open = 0
    for (const streams of bySession.values()) open += streams.size
    gauge.set(open)
  })

  const closeStreams = (id: string, farewell: boolean): void => {
    for (const stream of bySession.get(id) ?? []) stream.close(farewell)
  }

  const sweep = async (): Promise<void> => {
    for (const [id, streams] of [...bySession]) {
      const [first] = streams
      if (first === undefined) continue
      try {
        if (!(await sessions.isAlive(id, first.expiresAt))) closeStreams(id, false)
      } catch (err) {
        // The store is away: that ends nobody's session.
        logger.debug({ err }, 'streams not checked')
        return
      }
    }
  }
  const timer = setInterval(() => void sweep(), sweepEvery)
  timer.unref()

  return {
    open({ id, expiresAt }, response) {
      const stream: Stream = {
        expiresAt,
        close: farewell => {
          if (response.writableEnded) return
          // Only the client's parser knows whether an event is half sent; the empty line would end it there.
          if (farewell && response.writableLength === 0) response.end(': reconnect\n\nevent: reconnect\ndata: {}\n\n')
          else response.end()
        },
      }
      const streams = bySession.get(id) ?? new Set()
      bySession.set(id, streams.add(stream))
      response.once('close', () => {
        streams.delete(stream)
        if (streams.size === 0 && bySession.get(id) === streams) bySession.delete(id)
      })
    },
    close: id => closeStreams(id, false),
    closeAll() {
      clearInterval(timer)
      for (const id of [...bySession.keys()]) closeStreams(id, true)
    },
    sweep,
  }
}
