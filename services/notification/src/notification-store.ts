import { problem } from '@banking/contracts'
import type { Database } from '@banking/db'
import type { Queryable } from '@banking/messaging'
import { and, asc, count, desc, eq, gt, isNull, lt, lte } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Draft, Notification } from './notification.ts'
import { mailboxes, notifications } from './tables.ts'

/** The channel that wakes streams; its payload is the person whose inbox changed. */
export const channel = 'notification'

/** The inboxes of all people; every question names whose. */
export type NotificationStore = ReturnType<typeof createNotificationStore>

export function createNotificationStore({ drizzle, sql }: Pick<Database, 'drizzle' | 'sql'>) {
  const unreadOf = (userId: string) => and(eq(notifications.userId, userId), isNull(notifications.readAt))
  const wake = (userId: string) => sql.notify(channel, userId)

  return {
    /** Newest first, below `after`. */
    list: async (userId: string, options: { after?: bigint; limit: number; unread?: boolean }) => {
      const rows = await drizzle
        .select()
        .from(notifications)
        .where(
          and(
            options.unread === true ? unreadOf(userId) : eq(notifications.userId, userId),
            options.after === undefined ? undefined : lt(notifications.seq, options.after),
          ),
        )
        .orderBy(desc(notifications.seq))
        .limit(options.limit + 1)
      const items = rows.slice(0, options.limit).map(toNotification)
      const last = items.at(-1)
      return rows.length > options.limit && last !== undefined ? { items, next: String(last.seq) } : { items }
    },

    /** Oldest first, above `seq`: what a stream has not sent yet. */
    since: async (userId: string, seq: bigint, limit: number): Promise<Notification[]> => {
      const rows = await drizzle
        .select()
        .from(notifications)
        .where(and(eq(notifications.userId, userId), gt(notifications.seq, seq)))
        .orderBy(asc(notifications.seq))
        .limit(limit)
      return rows.map(toNotification)
    },

    /** 0 for an inbox that never had a message. */
    lastSeq: async (userId: string): Promise<bigint> => {
      const [row] = await drizzle.select().from(mailboxes).where(eq(mailboxes.userId, userId))
      return row?.lastSeq ?? 0n
    },

    countUnread: async (userId: string): Promise<number> => {
      const [row] = await drizzle.select({ unread: count() }).from(notifications).where(unreadOf(userId))
      return row?.unread ?? 0
    },

    /** Idempotent: the time of the first reading stays. @throws Problem `not_found`, also for other people's */
    markRead: async (userId: string, id: string): Promise<void> => {
      const changed = await drizzle
        .update(notifications)
        .set({ readAt: new Date() })
        .where(and(unreadOf(userId), eq(notifications.id, id)))
        .returning({ id: notifications.id })
      if (changed.length > 0) return void (await wake(userId))
      const [known] = await drizzle
        .select({ id: notifications.id })
        .from(notifications)
        .where(and(eq(notifications.userId, userId), eq(notifications.id, id)))
      if (known === undefined) throw problem('not_found')
    },

    /** Marks what the reader has seen; what arrived after `upTo` stays unread. */
    markAllRead: async (userId: string, upTo: bigint): Promise<void> => {
      const changed = await drizzle
        .update(notifications)
        .set({ readAt: new Date() })
        .where(and(unreadOf(userId), lte(notifications.seq, upTo)))
        .returning({ id: notifications.id })
      if (changed.length > 0) await wake(userId)
    },
  }
}

/**
 * Puts one message into each reader's inbox, in the caller's transaction, and wakes their streams when it commits.
 * An event that a reader has been told of already is left out.
 */
export async function deliver(
  sql: Queryable,
  event: { id: string; time: string },
  drafts: readonly Draft[],
): Promise<void> {
  // By reader, so that two transactions with the same two readers lock them in one order.
  for (const draft of drafts.toSorted((a, b) => (a.userId < b.userId ? -1 : 1))) {
    const told = await sql`
      WITH box AS (
        INSERT INTO mailbox AS box (user_id, last_seq)
        SELECT ${draft.userId}, 1
        WHERE NOT EXISTS (SELECT FROM notification WHERE event_id = ${event.id} AND user_id = ${draft.userId})
        ON CONFLICT (user_id) DO UPDATE SET last_seq = box.last_seq + 1
        RETURNING last_seq
      )
      INSERT INTO notification (id, user_id, seq, event_id, category, title, text, data, at)
      SELECT ${uuidv7()}, ${draft.userId}, last_seq, ${event.id}, ${draft.category}, ${draft.title}, ${draft.text},
             ${JSON.stringify(draft.data)}::text::jsonb, ${event.time}::timestamptz
      FROM box
      ON CONFLICT (event_id, user_id) DO NOTHING
      RETURNING 1`
    // Inside the transaction: the wake-up is sent when it commits and never when it does not.
    if (told.length > 0) await sql`SELECT pg_notify(${channel}, ${draft.userId})`
  }
}

function toNotification(row: typeof notifications.$inferSelect): Notification {
  return {
    id: row.id,
    seq: Number(row.seq),
    category: row.category,
    title: row.title,
    text: row.text,
    at: row.at.toISOString(),
    ...(row.readAt === null ? {} : { readAt: row.readAt.toISOString() }),
    data: row.data,
  }
}
