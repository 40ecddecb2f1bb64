import { type Currency, type Money, minorUnits, problem } from '@banking/contracts'
import { parseIban } from './iban.ts'

export type PaymentState = 'posted' | 'held' | 'declined' | 'cancelled'

/** Why a payment waits for a person; codes that clients translate. */
type HoldReason = 'large_amount'

/** A payment as its debtor sees it. */
export type Payment = {
  id: string
  state: PaymentState
  debtorAccountId: string
  creditor: { name: string; ibanMasked: string }
  amount: Money
  reference: string
  /** ISO 8601. */
  createdAt: string
  transferId?: string
  /** Codes: why it was held or declined. */
  reasons?: string[]
}

/** What a customer asks for, checked as far as that goes without looking at accounts. */
export type Order = {
  debtorAccountId: string
  /** Exactly one of the two is set. */
  creditor: { name: string; iban: string | null; accountId: string | null }
  /** Minor units, above zero. */
  amount: bigint
  currency: Currency
  reference: string
}

/** The body of a payment order as it comes in. */
export type OrderBody = {
  debtorAccountId: string
  creditor: { name: string; iban?: string; accountId?: string }
  amount: Money
  reference?: string
}

/** @throws Problem `amount_invalid`, `iban_invalid` or `request_invalid` */
export function readOrder(body: OrderBody): Order {
  const { name, iban, accountId } = body.creditor
  if ((iban === undefined) === (accountId === undefined))
    throw problem('request_invalid', 'Name the creditor either by iban or by accountId.')
  const amount = minorUnits(body.amount)
  if (amount <= 0n) throw problem('amount_invalid')
  return {
    debtorAccountId: body.debtorAccountId,
    creditor: { name, iban: iban === undefined ? null : parseIban(iban), accountId: accountId ?? null },
    amount,
    currency: body.amount.currency,
    reference: body.reference ?? '',
  }
}

/** Whether an order may go through at once. */
export type Decision = { outcome: 'post' } | { outcome: 'hold'; reasons: readonly HoldReason[] }

/** The seam for the risk service: it answers the same question, and when it does not answer, the payment is held. */
export type Decide = (order: Order) => Promise<Decision>

/** Holds what is above a limit in minor units. */
export const holdAbove =
  (limit: bigint): Decide =>
  async order =>
    order.amount > limit ? { outcome: 'hold', reasons: ['large_amount'] } : { outcome: 'post' }
