import { inbox, outbox } from '@banking/messaging'
import { sql } from 'drizzle-orm'
import { bigint, check, index, jsonb, pgTable, text, timestamp, unique, uuid } from 'drizzle-orm/pg-core'
import type { Category, NotificationData } from './notification.ts'

export { inbox, outbox }

/** Per person the number of the last notification. Its row lock is what makes numbers become visible in their order. */
export const mailboxes = pgTable('mailbox', {
  userId: text('user_id').primaryKey(),
  lastSeq: bigint('last_seq', { mode: 'bigint' }).notNull(),
})

export const notifications = pgTable(
  'notification',
  {
    id: uuid().primaryKey(),
    userId: text('user_id').notNull(),
    /** 1, 2, 3 … for each person: the position in the stream. */
    seq: bigint({ mode: 'bigint' }).notNull(),
    /** The event that it tells of. */
    eventId: uuid('event_id').notNull(),
    category: text().$type<Category>().notNull(),
    title: text().notNull(),
    text: text().notNull(),
    data: jsonb().$type<NotificationData>().notNull(),
    at: timestamp({ withTimezone: true }).notNull(),
    readAt: timestamp('read_at', { withTimezone: true }),
  },
  table => [
    unique('notification_seq').on(table.userId, table.seq),
    unique('notification_once').on(table.eventId, table.userId),
    index('notification_unread').on(table.userId, table.seq).where(sql`${table.readAt} IS NULL`),
    check('notification_seq_positive', sql`${table.seq} > 0`),
    check('notification_category', sql`${table.category} IN ('payment', 'welcome')`),
  ],
)
