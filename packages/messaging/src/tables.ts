import { bigint, jsonb, pgTable, primaryKey, text, timestamp, uuid } from 'drizzle-orm/pg-core'

/**
 * Events that wait for the relay. A row is inserted in the transaction of the change it tells of; a statement-level
 * trigger of the service's first migration does `pg_notify('outbox', '')`.
 */
export const outbox = pgTable('outbox', {
  position: bigint({ mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
  id: uuid().notNull().unique(),
  topic: text().notNull(),
  key: text().notNull(),
  event: jsonb().notNull(),
  createdAt: timestamp('created_at', { withTimezone: true }).notNull().defaultNow(),
})

/** Ids of the events whose effect is in this database. */
export const inbox = pgTable(
  'inbox',
  {
    consumer: text().notNull(),
    eventId: uuid('event_id').notNull(),
    receivedAt: timestamp('received_at', { withTimezone: true }).notNull().defaultNow(),
  },
  table => [primaryKey({ columns: [table.consumer, table.eventId] })],
)
