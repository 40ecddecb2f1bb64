import type { Currency } from '@banking/contracts'
import type { Queryable } from '@banking/messaging'
import { v7 as uuidv7 } from 'uuid'

/** The bank's own account through which money comes from and goes to other banks; made by the migrations. */
export const settlementAccountId = '00000000-0000-7000-8000-000000000001'

export type NewAccount = {
  id: string
  ownerId: string
  holder: string
  name: string
  kind: 'current' | 'savings'
  iban: string
  currency: Currency
}

/** What the bank itself books: history, money from outside. Only the owner role of the database may. */
export type Booking = {
  /** Of the transfer; booked once. */
  id: string
  /** `payment`: between customers. `opening` and `external`: with the settlement account. */
  kind: 'payment' | 'opening' | 'external'
  at: Date
  debtorId: string
  creditorId: string
  /** The creditor's name of a payment; else who is on the outside. */
  name: string
  amount: bigint
  currency: Currency
  reference: string
}

/** @returns whether the account is new */
export async function openAccount(sql: Queryable, account: NewAccount): Promise<boolean> {
  const { id, ownerId, holder, name, kind, iban, currency } = account
  const rows = await sql`
    INSERT INTO account (id, owner_id, holder, name, kind, iban, currency)
    VALUES (${id}, ${ownerId}, ${holder}, ${name}, ${kind}, ${iban}, ${currency})
    ON CONFLICT (id) DO NOTHING RETURNING id`
  return rows.length > 0
}

/**
 * Books on a date in the past, without an event, through the same function as every payment.
 *
 * @returns false when it was booked before
 * @throws Error when it cannot be booked, e.g. for lack of funds on that day
 */
export async function book(sql: Queryable, booking: Booking): Promise<boolean> {
  const { id, kind, at, debtorId, creditorId, name, amount, currency, reference } = booking
  const [known] = await sql`SELECT 1 FROM transfer WHERE id = ${id}`
  if (known !== undefined) return false
  const [result] = await sql<{ outcome: string }[]>`
    SELECT outcome FROM post_payments('bookkeeping', ${kind}, ${at.toISOString()}, NULL,
      ARRAY[${uuidv7()}::uuid], ARRAY[${id}::uuid], NULL,
      ARRAY[coalesce((SELECT owner_id FROM account WHERE id = ${debtorId}), 'bank')], ARRAY[${id}], ARRAY['\\x00'::bytea],
      ARRAY[${debtorId}::uuid], ARRAY[${creditorId}::uuid], NULL, ARRAY[${name}],
      ARRAY[${amount.toString()}::bigint], ARRAY[${currency}], ARRAY[${reference}], NULL, NULL, NULL)`
  if (result?.outcome !== 'posted') throw new Error(`transfer ${id} was not booked: ${result?.outcome}`)
  return true
}
