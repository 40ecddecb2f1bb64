import { Currency, Money, SignedMoney } from '@banking/contracts'
import Type from 'typebox'
import { Instant, Uuid } from '../payment.ts'

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
