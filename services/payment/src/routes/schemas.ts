import { Currency, Money, SignedMoney } from '@banking/contracts'
import Type from 'typebox'

/** A plain pattern: not every tool that reads the document knows the format, or means one spelling by it. */
const Uuid = Type.String({ pattern: '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' })
const Instant = Type.String({ format: 'date-time' })
/** No control characters, no lone surrogates, nothing that turns the direction of writing. */
const printable = '^[^\\p{Cc}\\p{Cs}\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]*$'

export const IdParams = Type.Object({ id: Uuid })

export const Account = Type.Object({
  id: Uuid,
  name: Type.String(),
  kind: Type.Enum(['current', 'savings']),
  iban: Type.String(),
  currency: Currency,
  posted: SignedMoney,
  held: Money,
  available: Money,
  status: Type.Enum(['active', 'frozen']),
})

export const Posting = Type.Object({
  seq: Type.Integer({ minimum: 1, description: 'counts the postings of this account without a gap' }),
  paymentId: Type.Optional(Uuid),
  transferId: Uuid,
  at: Instant,
  amount: SignedMoney,
  balanceAfter: SignedMoney,
  counterparty: Type.Object({ name: Type.String(), ibanMasked: Type.String() }),
  reference: Type.String(),
  kind: Type.Enum(['payment', 'opening', 'external']),
})

export const PaymentOrder = Type.Object(
  {
    debtorAccountId: Uuid,
    creditor: Type.Object(
      {
        name: Type.String({ maxLength: 70, pattern: printable.replace('^', '^(?=.*\\S)') }),
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

export const TrialBalance = Type.Object({
  currencies: Type.Array(
    Type.Object({
      currency: Currency,
      sum: Type.String({ description: 'minor units; zero when the books balance' }),
      accounts: Type.Integer(),
      postings: Type.Integer(),
    }),
  ),
  balanced: Type.Boolean(),
})
