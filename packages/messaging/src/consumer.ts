import { type CloudEvent, type EventType, eventContentType } from '@banking/contracts'
import { asDatabaseProblem, type Database } from '@banking/db'
import { type Logger, type Metrics, parseTraceparent } from '@banking/telemetry'
import type { TransactionSql } from 'postgres'
import { PoisonMessage, readEvent } from './event.ts'
import { DeadlineError, type Delivery, type Subscription, type Transport, within } from './transport.ts'

/** A transaction that the effect of one event lives in. */
export type Transaction = TransactionSql<{ bigint: bigint }>
/** The effect of one event; everything it does through `sql` happens exactly once. */
export type Handler<T extends EventType> = (event: CloudEvent<T>, sql: Transaction) => Promise<void>
export type Handlers = { [T in EventType]?: Handler<T> }

export type ConsumerOptions = {
  sql: Database['sql']
  transport: Transport
  /** Name of the consumer: its offsets at the broker and its rows in the inbox. */
  group: string
  topics: readonly string[]
  /** By event type; types that are not named are skipped. */
  handlers: Handlers
  logger: Logger
  metrics?: Metrics
}

/** ms for one effect: a connection that hangs must not hold the partition for ever. */
const handlerDeadline = 30_000
/** How often a handler may fail on one event before the event is set aside. */
const tries = 5

/**
 * Handles the events of some topics, each exactly once: the inbox row and the effect are one transaction.
 *
 * What cannot be handled (no JSON, not as the contracts say, or the handler failed 5 times) goes to `<topic>.dlq`
 * with the reason in its headers, and the partition moves on. A database that is away is no reason: it is waited for.
 */
export function startConsumer(options: ConsumerOptions): Subscription {
  const { transport, group, logger } = options
  const failures = new Map<string, { offset: string; count: number }>()
  const handled = options.metrics?.counter('consumer_events_total', 'Messages by what became of them.', [
    'topic',
    'outcome',
  ])

  const setAside = async (delivery: Delivery, reason: string, detail: string): Promise<void> => {
    // A rejection leaves the message where it is: rather wait for the dead letters than lose one.
    await transport.publish(`${delivery.topic}.dlq`, [
      {
        key: delivery.key ?? '',
        value: delivery.value ?? '',
        headers: {
          'content-type': delivery.headers['content-type'] ?? eventContentType,
          'dlq-reason': reason,
          'dlq-detail': detail.slice(0, 500),
          'dlq-group': group,
          'dlq-topic': delivery.topic,
          'dlq-partition': String(delivery.partition),
          'dlq-offset': delivery.offset,
          'dlq-at': new Date().toISOString(),
        },
      },
    ])
    logger.error({ topic: delivery.topic, offset: delivery.offset, reason, detail }, 'message set aside')
  }

  const handle = async (delivery: Delivery): Promise<string> => {
    const event = readEvent(delivery.value)
    const handler = event === undefined ? undefined : (options.handlers[event.type] as Handler<EventType> | undefined)
    if (event === undefined || handler === undefined) return 'skipped'
    const work = options.sql.begin(async sql => {
      const rows = await sql`
        INSERT INTO inbox (consumer, event_id) VALUES (${group}, ${event.id}) ON CONFLICT DO NOTHING RETURNING 1`
      if (rows.length > 0) await handler(event, sql)
      return rows.length > 0
    })
    // After the deadline it comes again; should the first try commit after all, the second finds its inbox row.
    const fresh = await within(handlerDeadline, work)
    logger.debug(
      { type: event.type, event: event.id, fresh, traceId: parseTraceparent(event.traceparent)?.traceId },
      'event handled',
    )
    return fresh ? 'handled' : 'duplicate'
  }

  /** @returns how often this message has failed, this time included */
  const countFailure = ({ topic, partition, offset }: Delivery): number => {
    const place = `${topic}/${partition}`
    const before = failures.get(place)
    const count = before?.offset === offset ? before.count + 1 : 1
    failures.set(place, { offset, count })
    return count
  }

  return transport.subscribe({
    group,
    topics: options.topics,
    onEvent: async delivery => {
      let outcome: string
      try {
        outcome = await handle(delivery)
      } catch (error) {
        if (error instanceof PoisonMessage) await setAside(delivery, error.reason, error.message)
        else {
          if (isOutage(error) || countFailure(delivery) < tries) {
            handled?.inc({ topic: delivery.topic, outcome: 'failed' })
            throw error
          }
          logger.error({ err: error, topic: delivery.topic, offset: delivery.offset }, 'the handler keeps failing')
          // The error's message may quote data, and dead letters are read by more people than the log.
          await setAside(delivery, 'handler_failed', (error as Error).name)
        }
        outcome = 'dead'
      }
      failures.delete(`${delivery.topic}/${delivery.partition}`)
      handled?.inc({ topic: delivery.topic, outcome })
    },
  })
}

const isOutage = (error: unknown): boolean => error instanceof DeadlineError || asDatabaseProblem(error) !== undefined
