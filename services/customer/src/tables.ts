import { inbox, outbox } from '@banking/messaging'
import { sql } from 'drizzle-orm'
import { bigint, boolean, check, customType, pgTable, primaryKey, text, timestamp } from 'drizzle-orm/pg-core'
import type { states } from './customer.ts'

export { inbox, outbox }

const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' })

export const customers = pgTable(
  'customer',
  {
    id: text().primaryKey(),
    state: text().$type<(typeof states)[number]>().notNull().default('active'),
    /** The customer's data key, wrapped; null once the customer was erased. */
    dataKey: text('data_key'),
    memberSince: timestamp('member_since', { withTimezone: true }).notNull(),
  },
  table => [check('customer_state', sql`${table.state} IN ('active', 'restricted')`)],
)

/** Personal data, sealed field by field. */
export const personalData = pgTable(
  'personal_data',
  {
    customerId: text('customer_id')
      .notNull()
      .references(() => customers.id),
    field: text().notNull(),
    sealed: bytea().notNull(),
  },
  table => [primaryKey({ columns: [table.customerId, table.field] })],
)

/** One row: the number of the last audit record, so that a missing one is seen. */
export const auditCounter = pgTable(
  'audit_counter',
  { only: boolean().primaryKey().default(true), lastSeq: bigint('last_seq', { mode: 'bigint' }).notNull() },
  table => [check('audit_counter_only', sql`${table.only}`)],
)
