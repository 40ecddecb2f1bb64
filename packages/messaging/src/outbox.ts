import type { CloudEvent } from '@banking/contracts'
import type { ISql } from 'postgres'
import { eventLimit } from './event.ts'

/** A pool or a transaction of `@banking/db`. */
export type Queryable = ISql<{ bigint: bigint }>

/**
 * Adds an event to the outbox. Call it inside the transaction of the change, *after* the aggregate's row is locked:
 * only then do positions follow the order of the changes.
 *
 * @param key the aggregate's id; events with one key stay in order
 */
export async function appendToOutbox(sql: Queryable, topic: string, key: string, event: CloudEvent): Promise<void> {
  const text = JSON.stringify(event)
  // The relay sends oldest first: one event that the broker refuses would hold back all others.
  if (Buffer.byteLength(text) > eventLimit)
    throw new RangeError(`event ${event.type} is larger than ${eventLimit} bytes`)
  await sql`
    INSERT INTO outbox (id, topic, key, event)
    VALUES (${event.id}, ${topic}, ${key}, ${text}::text::jsonb)`
}
