import type { ServerResponse } from 'node:http'
import type { Logger, Metrics } from '@banking/telemetry'
import { onceOver } from '../admission/in-progress.ts'
import type { Held, Sessions } from './sessions.ts'
import { singleFlight } from './single-flight.ts'

type Stream = { session: Held; close: (farewell: boolean) => void }

/** The answers without an end that are open now. A stream must not outlive the session that opened it. */
export type Streams = {
  open(session: Held, response: ServerResponse): void
  /** Ends the streams of one session. */
  close(id: string): void
  /** Ends all of them with an event that asks the page to come again: this process is about to stop. */
  closeAll(): void
  /** Looks at every session that holds a stream; called by a timer, and by tests. */
  sweep(): Promise<void>
}

/** ms between two looks at all sessions: what a stream may outlive its idle or absolute end. */
const sweepEvery = 5_000
/** The same while changes by other processes are not heard: what it may then outlive a logout there. */
const sweepBlindEvery = 500

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

  /** Whether a look failed: what it would have found is looked for again soon. */
  let isUnsure = false
  /** @returns false when the store cannot say: that ends nobody's session */
  const check = async (id: string): Promise<boolean> => {
    const [first] = bySession.get(id) ?? []
    if (first === undefined) return true
    try {
      if (!(await sessions.isAlive(first.session))) closeStreams(id, false)
      return true
    } catch (err) {
      logger.debug({ err }, 'streams not checked')
      isUnsure = true
      return false
    }
  }
  const sweepAll = async (): Promise<void> => {
    isUnsure = false
    for (const id of [...bySession.keys()]) if (!(await check(id))) return
  }
  const sweeps = singleFlight<void>()
  const sweep = (): Promise<void> => sweeps('all', sweepAll)
  // A logout in another process is heard as a change of the record.
  sessions.onChange(id => {
    if (bySession.has(id)) void check(id)
  })
  let elapsed = 0
  let wasHearing = true
  const timer = setInterval(() => {
    elapsed += sweepBlindEvery
    // Also once more when changes are heard again: what happened in between was not told.
    const isHearing = sessions.isHearing() && wasHearing
    wasHearing = sessions.isHearing()
    if (isHearing && !isUnsure && elapsed < sweepEvery) return
    elapsed = 0
    void sweep()
  }, sweepBlindEvery)
  timer.unref()

  return {
    open({ id, person, storedAt, expiresAt }, response) {
      const stream: Stream = {
        // Without its tokens, which would be kept as long as the stream.
        session: { id, person, storedAt, expiresAt },
        close: farewell => {
          if (response.writableEnded) return
          // Only the client's parser knows whether an event is half sent; the empty line would end it there.
          if (farewell && response.writableLength === 0) response.end(': reconnect\n\nevent: reconnect\ndata: {}\n\n')
          else response.end()
        },
      }
      const streams = bySession.get(id) ?? new Set()
      const isOpen = onceOver(response, () => {
        streams.delete(stream)
        if (streams.size === 0 && bySession.get(id) === streams) bySession.delete(id)
      })
      if (!isOpen) return
      bySession.set(id, streams.add(stream))
      // It may have ended while the upstream thought about its answer: whoever closed its streams did not see this one.
      void check(id)
    },
    close: id => closeStreams(id, false),
    closeAll() {
      clearInterval(timer)
      for (const id of [...bySession.keys()]) closeStreams(id, true)
    },
    sweep,
  }
}
