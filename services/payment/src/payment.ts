import { type Currency, Money, minorUnits, problem } from '@banking/contracts'
import Type, { type Static } from 'typebox'
import { parseIban } from './iban.ts'

/** A plain pattern: not every tool that reads the document knows the format, or means one spelling by it. */
export const Uuid = Type.String({ pattern: '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' })
export const Instant = Type.String({ format: 'date-time' })
/** No control characters, no lone surrogates, nothing that turns the direction of writing. */
const printable = '^[^\\p{Cc}\\p{Cs}\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]*$'

/** The body of a payment order as it comes in. */
export const PaymentOrder = Type.Object(
  {
    debtorAccountId: Uuid,
    creditor: Type.Object(
      {
        // With something in it that can be read: a name of invisible characters alone is none.
        name: Type.String({ maxLength: 70, pattern: printable.replace('^', '^(?=.*[\\p{L}\\p{N}])') }),
        iban: Type.Optional(Type.String({ minLength: 1, maxLength: 64, description: 'spaces are allowed' })),
        accountId: Type.Optional(Uuid),
      },
      { additionalProperties: false, description: 'named by iban or by accountId' },
    ),
    amount: Money,
    reference: Type.Optional(Type.String({ maxLength: 140, pattern: printable })),
  },
  { additionalProperties: false },
)
export type PaymentOrder = Static<typeof PaymentOrder>

/** A payment as its debtor sees it. */
export const Payment = Type.Object({
  id: Uuid,
  state: Type.Enum(['posted', 'held', 'declined', 'cancelled']),
  debtorAccountId: Uuid,
  creditor: Type.Object({ name: Type.String(), ibanMasked: Type.String() }),
  amount: Money,
  reference: Type.String(),
  createdAt: Instant,
  transferId: Type.Optional(Uuid),
  reasons: Type.Optional(Type.Array(Type.String(), { description: 'codes: why it was held or declined' })),
})
export type Payment = Static<typeof Payment>

/** Why a payment waits for a person; codes that clients translate. */
type HoldReason = 'large_amount'

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

/** @throws Problem `amount_invalid`, `iban_invalid` or `request_invalid` */
export function readOrder(body: PaymentOrder): Order {
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
