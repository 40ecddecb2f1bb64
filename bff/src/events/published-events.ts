import { eventContentType } from '@banking/contracts'
import { createKafkaTransport, type Message, newEvent, type Transport } from '@banking/messaging'
import { currentTrace, type Logger, type Metrics } from '@banking/telemetry'
import type { Events } from './events.ts'

/** Events for a topic of Kafka. */
export function connectEvents(options: {
  brokers: readonly string[]
  topic: string
  logger: Logger
  metrics: Metrics
}): Events {
  const { brokers, logger } = options
  return publishedEvents({ ...options, transport: createKafkaTransport({ brokers, clientId: 'bff', logger }) })
}

const batchSize = 200
const longestPause = 5_000

/**
 * Events for a broker, as CloudEvents, oldest first. The edge has no database and so no outbox: what the broker has not
 * yet acknowledged waits in memory, so many events and no more; further ones are counted and dropped, and a crash
 * loses all of them. An event may arrive twice; its `id` tells.
 */
export function publishedEvents(options: {
  transport: Pick<Transport, 'publish' | 'close'>
  topic: string
  logger: Logger
  metrics: Metrics
  /** Events that may wait. */
  limit?: number
  /** ms that the end may take. */
  farewell?: number
}): Events {
  const { transport, topic, logger, limit = 10_000, farewell = 3_000 } = options
  const published = options.metrics.counter('bff_events_published_total', 'Audit events that the broker acknowledged.')
  const droppedTotal = options.metrics.counter('bff_events_dropped_total', 'Audit events that nobody will ever see.')
  options.metrics.gauge('bff_events_waiting', 'Audit events that the broker has not acknowledged yet.', [], gauge =>
    gauge.set(waiting.length),
  )
  const waiting: Message[] = []
  let sending: Promise<void> | undefined
  let isAway = false
  let dropped = 0
  let wake: () => void = () => undefined
  let deadline = Number.POSITIVE_INFINITY

  const drop = (count: number): void => {
    // The number is known only at the end of the outage; that it has begun must not wait for that.
    if (dropped === 0) logger.error('audit events are dropped: too many wait for the broker')
    dropped += count
    droppedTotal.inc(count)
  }

  const send = async (): Promise<void> => {
    for (let tries = 0; waiting.length > 0; ) {
      const batch = waiting.slice(0, batchSize)
      try {
        await transport.publish(topic, batch)
      } catch (err) {
        if (!isAway) logger.warn({ err }, 'audit events wait: the broker cannot be reached')
        isAway = true
        if (performance.now() >= deadline) return
        await new Promise<void>(resolve => {
          wake = resolve
          setTimeout(resolve, Math.min(250 * 2 ** tries++, longestPause)).unref()
        })
        continue
      }
      tries = 0
      waiting.splice(0, batch.length)
      published.inc(batch.length)
      // A broker that is slower than the events come makes room for one batch at a time: that is no end of it.
      if (waiting.length > limit / 2) continue
      if (isAway || dropped > 0) logger.info({ dropped }, 'audit events go out again')
      isAway = false
      dropped = 0
    }
  }

  return {
    record(type, subject, data, { seq = 0, trace = currentTrace() } = {}) {
      if (waiting.length >= limit) return drop(1)
      const event = newEvent({ source: '/bff', type, subject, seq, data, ...(trace === undefined ? {} : { trace }) })
      waiting.push({
        key: subject,
        value: JSON.stringify(event),
        headers: { 'content-type': eventContentType },
      })
      sending ??= send().finally(() => {
        sending = undefined
      })
    },
    async close() {
      deadline = performance.now() + farewell
      wake()
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>(resolve => {
        timer = setTimeout(resolve, farewell)
      })
      await Promise.race([sending, late])
      clearTimeout(timer)
      if (waiting.length > 0) {
        droppedTotal.inc(waiting.length)
        logger.error(
          { dropped: waiting.length },
          'audit events are lost: the broker could not be reached before the end',
        )
      }
      await transport.close()
    },
  }
}
