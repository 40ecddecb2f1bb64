import type { Currency } from '@banking/contracts'
import { inbox, outbox } from '@banking/messaging'
import { sql } from 'drizzle-orm'
import {
  bigint,
  check,
  customType,
  foreignKey,
  index,
  pgTable,
  primaryKey,
  smallint,
  text,
  timestamp,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core'
import type { Payment } from './payment.ts'

export { inbox, outbox }

const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' })
// Domains check a value once, when it comes in; a CHECK of the table would run its pattern at every change of a balance.
const ibanText = customType<{ data: string }>({ dataType: () => 'iban' })
const currencyCode = customType<{ data: Currency }>({ dataType: () => 'currency_code' })
const accountKind = customType<{ data: 'current' | 'savings' | 'system' }>({ dataType: () => 'account_kind' })
const accountStatus = customType<{ data: 'active' | 'frozen' }>({ dataType: () => 'account_status' })
const transferKind = customType<{ data: TransferKind }>({ dataType: () => 'transfer_kind' })
const paymentState = customType<{ data: Payment['state'] }>({ dataType: () => 'payment_state' })
type TransferKind = 'payment' | 'opening' | 'external' | 'hold' | 'void'
const instant = (name: string) => timestamp(name, { withTimezone: true })
/** Minor units. Never read through drizzle's relational queries: they go through JSON and lose digits above 2^53. */
const minor = (name: string) => bigint(name, { mode: 'bigint' })

/** A customer's account, or one of the bank's own (`system`), which keeps no balance: it is the sum of its postings. */
export const accounts = pgTable(
  'account',
  {
    id: uuid().primaryKey(),
    ownerId: text('owner_id'),
    holder: text().notNull(),
    name: text().notNull(),
    kind: accountKind().notNull(),
    iban: ibanText().notNull().unique(),
    currency: currencyCode().notNull(),
    posted: minor('posted').notNull().default(sql`0`),
    held: minor('held').notNull().default(sql`0`),
    floor: minor('floor').notNull().default(sql`0`),
    status: accountStatus().notNull().default('active'),
    /** Grows by one with every change; carried by events as `seq`. */
    version: minor('version').notNull().default(sql`0`),
    /** How many postings the account has; the last one's `seq`. */
    entries: minor('entries').notNull().default(sql`0`),
    openedAt: instant('opened_at').notNull().defaultNow(),
  },
  table => [
    check('account_held', sql`${table.held} >= 0`),
    check('account_funds', sql`${table.posted} - ${table.held} >= ${table.floor}`),
    check(
      'account_owner',
      sql`CASE WHEN ${table.ownerId} IS NULL THEN ${table.kind} = 'system' AND ${table.posted} = 0 AND ${table.held} = 0
        ELSE ${table.kind} <> 'system' END`,
    ),
    index('account_owner_id').on(table.ownerId),
  ],
)

/** What a customer ordered, and what was answered the first time. */
export const payments = pgTable(
  'payment',
  {
    id: uuid().primaryKey(),
    debtorId: uuid('debtor_id').notNull(),
    creditorId: uuid('creditor_id').notNull(),
    creditorName: text('creditor_name').notNull(),
    amount: minor('amount').notNull(),
    currency: text().$type<Currency>().notNull(),
    reference: text().notNull(),
    state: paymentState().notNull(),
    /** Codes: why it was held, or why it was declined. */
    reasons: text().array(),
    /** The transfer that moved the money, or holds it. */
    transferId: uuid('transfer_id'),
    createdAt: instant('created_at').notNull(),
    answerStatus: smallint('answer_status').notNull(),
    answer: text().notNull(),
  },
  table => [
    check('payment_amount', sql`${table.amount} > 0`),
    check('payment_sides', sql`${table.debtorId} <> ${table.creditorId}`),
    check('payment_transfer', sql`(${table.state} = 'declined') = (${table.transferId} IS NULL)`),
    check('payment_reasons', sql`(${table.state} = 'posted') = (${table.reasons} IS NULL)`),
  ],
)

/** What the ledger did. Never changed: a hold is resolved by another transfer that names it. */
export const transfers = pgTable(
  'transfer',
  {
    id: uuid().primaryKey(),
    kind: transferKind().notNull(),
    pendingId: uuid('pending_id'),
    paymentId: uuid('payment_id'),
    debtorId: uuid('debtor_id').notNull(),
    creditorId: uuid('creditor_id').notNull(),
    amount: minor('amount').notNull(),
    currency: text().$type<Currency>().notNull(),
    /** Of a transfer without a payment: who is on the outside, and why. */
    counterparty: text(),
    reference: text(),
    at: instant('at').notNull(),
  },
  table => [
    check('transfer_amount', sql`${table.amount} > 0`),
    check('transfer_sides', sql`${table.debtorId} <> ${table.creditorId}`),
    check('transfer_pending', sql`(${table.kind} = 'void') = (${table.pendingId} IS NOT NULL)`),
    check('transfer_payment', sql`(${table.kind} IN ('opening', 'external')) = (${table.paymentId} IS NULL)`),
    foreignKey({ name: 'transfer_pending_fk', columns: [table.pendingId], foreignColumns: [table.id] }),
    // A hold is resolved once.
    uniqueIndex('transfer_resolution').on(table.pendingId).where(sql`${table.pendingId} IS NOT NULL`),
  ],
)

/** One side of a transfer. Credit is positive, debit negative; the sides of a transfer sum to zero. */
export const postings = pgTable(
  'posting',
  {
    transferId: uuid('transfer_id').notNull(),
    accountId: uuid('account_id').notNull(),
    amount: minor('amount').notNull(),
    /** 1, 2, 3 … within a customer's account; null in the bank's own accounts, which are never locked. */
    seq: minor('seq'),
    balanceAfter: minor('balance_after'),
    at: instant('at').notNull(),
  },
  table => [
    primaryKey({ columns: [table.transferId, table.accountId] }),
    uniqueIndex('posting_account_seq').on(table.accountId, table.seq),
    check('posting_amount', sql`${table.amount} <> 0`),
    check('posting_seq', sql`(${table.seq} IS NULL) = (${table.balanceAfter} IS NULL) AND ${table.seq} > 0`),
  ],
)

/** Which payment a key stands for, so that a repeated request gets the first answer. Kept for seven days. */
export const idempotencyKeys = pgTable(
  'idempotency_key',
  {
    subject: text().notNull(),
    route: text().notNull(),
    key: text().notNull(),
    fingerprint: bytea().notNull(),
    paymentId: uuid('payment_id').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  table => [
    primaryKey({ columns: [table.subject, table.route, table.key] }),
    check('idempotency_key_length', sql`length(${table.key}) BETWEEN 1 AND 255`),
  ],
)
