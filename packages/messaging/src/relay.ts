import { setTimeout as delay } from 'node:timers/promises'
import { eventContentType } from '@banking/contracts'
import type { Database } from '@banking/db'
import type { Logger, Metrics } from '@banking/telemetry'
import postgres from 'postgres'
import { type Message, type Transport, within } from './transport.ts'

type Sql = Database['sql']
type Row = { position: bigint; topic: string; key: string; event: string }

export type RelayOptions = {
  sql: Sql
  transport: Transport
  logger: Logger
  metrics: Metrics
}

export type Relay = {
  /** Whether this process is the one that publishes. */
  isLeader(): boolean
  /** Says that something was committed to the outbox; a relay that is not told finds it at its next poll. */
  wake(): void
  /** Waits for the batch that is under way. */
  close(): Promise<void>
}

/** Any number, the same for all relays of one database. */
const lock = 7_203_114_003
const batchSize = 200
/** Bytes of one publish; the broker's own limit is 1 MB. */
const batchBytes = 512 * 1024
const pollInterval = 200
const longestPause = 5_000
/** ms for one query; statements end after 10 s by themselves. */
const queryDeadline = 15_000

/**
 * Publishes the outbox, oldest first, and deletes what the broker has acknowledged. Of all relays of a database one
 * leads, by a lock that its connection holds: when the process or the connection dies, another takes over. What was
 * published but not yet deleted is then sent twice; consumers know it by its id.
 *
 * A topic that cannot be published waits alone, the others go on: order is promised per key, and a key has one topic.
 */
export function startRelay(options: RelayOptions): Relay {
  const { transport, logger } = options
  const meters = createMeters(options.metrics)
  const closing = new AbortController()
  const blocked = new Map<string, { until: number; pause: number }>()
  let leading = false
  let wake = (): void => {}
  let notified = false

  let session: Sql | undefined

  /** A query in the session that holds the lock, or is to get it. */
  const ask = <T>(query: (sql: Sql) => Promise<T>): Promise<T> => {
    session ??= leaderSession(options.sql, closed => {
      if (closed === session) leading = false
    })
    return within(queryDeadline, query(session))
  }

  const dropSession = async (): Promise<void> => {
    const dropped = session
    session = undefined
    leading = false
    await dropped?.end({ timeout: 0 }).catch(error => logger.debug({ err: error }, 'a session did not end cleanly'))
  }
  const notify = (): void => {
    // A relay that waits for the lock asks for it at each poll: soon enough.
    if (!leading) return
    notified = true
    wake()
  }

  /** Until something may have been written, or the poll is due. */
  const idle = async (): Promise<void> => {
    if (notified || closing.signal.aborted) return
    const waiting = new AbortController()
    wake = () => waiting.abort()
    closing.signal.addEventListener('abort', wake)
    await delay(pollInterval, undefined, { signal: waiting.signal }).catch(() => {})
    closing.signal.removeEventListener('abort', wake)
  }

  const lead = async (): Promise<boolean> => {
    if (leading) return true
    const [row] = await ask(sql => sql<{ locked: boolean }[]>`SELECT pg_try_advisory_lock(${lock}) AS locked`)
    leading = row?.locked === true
    if (leading) logger.info('leading the relay')
    return leading
  }

  /** @returns whether there may be more to do at once */
  const relayBatch = async (): Promise<boolean> => {
    const now = Date.now()
    const waiting = [...blocked].filter(([, { until }]) => until > now).map(([topic]) => topic)
    const rows = await ask(
      sql => sql<Row[]>`
        SELECT position, topic, key, event::text AS event FROM outbox
        WHERE topic <> ALL (string_to_array(${waiting.join()}, ',')) ORDER BY position LIMIT ${batchSize}`,
    )
    for (const [topic, batch] of byTopic(rows)) {
      if (closing.signal.aborted) return false
      try {
        await transport.publish(topic, batch.map(toMessage))
      } catch (error) {
        const pause = Math.min((blocked.get(topic)?.pause ?? 125) * 2, longestPause)
        blocked.set(topic, { until: Date.now() + pause, pause })
        meters.failures.inc({ topic })
        logger.warn({ err: error, topic, events: batch.length, pause }, 'publishing failed; the events stay')
        continue
      }
      blocked.delete(topic)
      // Only what was acknowledged, by position: rows that appeared meanwhile are not touched.
      const positions = batch.map(row => row.position).join()
      await ask(sql => sql`DELETE FROM outbox WHERE position = ANY (string_to_array(${positions}, ',')::bigint[])`)
      meters.published.inc({ topic }, batch.length)
    }
    return rows.length > 0
  }

  const loop = async (): Promise<void> => {
    let failures = 0
    let measuredAt = 0
    while (!closing.signal.aborted) {
      notified = false
      try {
        const more = (await lead()) && (await relayBatch())
        if (leading && Date.now() - measuredAt > 1_000) {
          measuredAt = Date.now()
          await ask(meters.measure)
        }
        failures = 0
        if (more) continue
      } catch (error) {
        // Whatever it was, this session is not trusted again: with it goes the lock, for whoever is first.
        if (leading) logger.warn('gave up the lead')
        await dropSession()
        failures += 1
        if (closing.signal.aborted) break
        logger.warn({ err: error, failures }, 'the relay cannot use the database')
        await delay(Math.min(100 * 2 ** failures, longestPause), undefined, { signal: closing.signal }).catch(() => {})
      }
      await idle()
    }
  }

  const listening = options.sql.listen('outbox', notify, notify).catch(error => {
    logger.warn({ err: error }, 'cannot listen to the outbox; polling alone')
    return undefined
  })
  const done = loop()
  return {
    isLeader: () => leading,
    wake: notify,
    close: async () => {
      closing.abort()
      await done
      await dropSession()
      await listening.then(it => it?.unlisten()).catch(() => {})
    },
  }
}

/** One connection of its own, since the lock lives and dies with it. */
function leaderSession(sql: Sql, onclose: (session: Sql) => void): Sql {
  const { options } = sql
  const session: Sql = postgres({
    ...(options as unknown as postgres.Options<{ bigint: postgres.PostgresType<bigint> }>),
    max: 1,
    max_lifetime: null,
    // Its look-up of array types at each connect rejects unheard when the connection ends just then.
    fetch_types: false,
    backoff: () => 0.2,
    onclose: () => onclose(session),
    connection: {
      ...options.connection,
      application_name: `${options.connection.application_name} relay`,
      // A leader whose machine vanished leaves no FIN: without these its lock would stay for two hours.
      tcp_keepalives_idle: 10,
      tcp_keepalives_interval: 5,
      tcp_keepalives_count: 3,
    },
  }) as Sql
  return session
}

/** Batches per topic in the order of their first row; the first row is taken even when it alone is too large. */
function byTopic(rows: readonly Row[]): Map<string, Row[]> {
  const batches = new Map<string, Row[]>()
  const full = new Set<string>()
  const bytes = new Map<string, number>()
  for (const row of rows) {
    if (full.has(row.topic)) continue
    const size = (bytes.get(row.topic) ?? 0) + Buffer.byteLength(row.event)
    const batch = batches.get(row.topic)
    if (batch === undefined) batches.set(row.topic, [row])
    else if (size > batchBytes) full.add(row.topic)
    else batch.push(row)
    bytes.set(row.topic, size)
  }
  return batches
}

const toMessage = (row: Row): Message => ({
  key: row.key,
  value: row.event,
  headers: { 'content-type': eventContentType },
})

type Meters = {
  published: ReturnType<Metrics['counter']>
  failures: ReturnType<Metrics['counter']>
  measure(sql: Sql): Promise<void>
}

function createMeters(metrics: Metrics): Meters {
  const depth = metrics.gauge('outbox_events', 'Events that wait in the outbox, counted up to 100,000.')
  const lag = metrics.gauge('outbox_oldest_seconds', 'Age of the oldest event that waits in the outbox.')
  return {
    published: metrics.counter('outbox_published_total', 'Events that the broker has acknowledged.', ['topic']),
    failures: metrics.counter('outbox_failures_total', 'Batches that could not be published.', ['topic']),
    measure: async sql => {
      const [row] = await sql<{ depth: number; lag: number }[]>`
        SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT 100000) AS waiting)::int AS depth,
               coalesce((SELECT extract(epoch FROM clock_timestamp() - created_at)
                         FROM outbox ORDER BY position LIMIT 1), 0)::float8 AS lag`
      depth.set(row?.depth ?? 0)
      lag.set(row?.lag ?? 0)
    },
  }
}
