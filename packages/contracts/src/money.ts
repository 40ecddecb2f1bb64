import Type, { type Static } from 'typebox'
import { problem } from './problems.ts'

/** ISO 4217: how many digits stand behind the point. */
const exponents = { EUR: 2, USD: 2, GBP: 2, CHF: 2, JPY: 0, KWD: 3 } as const
/** A currency the bank keeps accounts in (ISO 4217). */
export type Currency = keyof typeof exponents
/** Codes of the currencies that the bank keeps accounts in. */
export const currencies = Object.keys(exponents) as readonly Currency[]

/** Largest amount a bigint column and every client can hold: 18 digits of minor units. */
const digits = '^(0|[1-9][0-9]{0,17})$'
const signedDigits = '^(0|-?[1-9][0-9]{0,17})$'

/** A currency as it crosses the wire. */
export const Currency = Type.Enum([...currencies], { description: 'ISO 4217 code' })

/** An amount as it crosses the wire: minor units in a digit string, since JSON numbers break above 2^53. */
export const Money = Type.Object(
  {
    amount: Type.String({ pattern: digits, description: 'minor units, e.g. "1250" is 12.50 EUR' }),
    currency: Currency,
  },
  { additionalProperties: false, title: 'Money' },
)
export type Money = Static<typeof Money>

/** Money that may be negative, e.g. a posting. */
export const SignedMoney = Type.Object(
  { amount: Type.String({ pattern: signedDigits, description: 'minor units, signed' }), currency: Currency },
  { additionalProperties: false, title: 'SignedMoney' },
)
export type SignedMoney = Static<typeof SignedMoney>

/** Minor units and a currency code to {@link Money}; the inverse is {@link minorUnits}. */
export const money = (minor: bigint, currency: Currency): Money => ({ amount: minor.toString(), currency })

/** @throws Problem `amount_invalid` when the string is no whole number of minor units. */
export function minorUnits(value: { amount: string }): bigint {
  if (!/^-?\d{1,18}$/.test(value.amount))
    throw problem('amount_invalid', 'An amount is a string of digits in minor units.')
  return BigInt(value.amount)
}

/** For people, in messages: `1,250.00 EUR`. Pages format with the reader's own locale instead. */
export function formatMoney(value: { amount: string; currency: Currency }): string {
  const exponent = exponents[value.currency]
  const negative = value.amount.startsWith('-')
  const padded = value.amount.replace('-', '').padStart(exponent + 1, '0')
  const whole = padded.slice(0, padded.length - exponent).replace(/\B(?=(\d{3})+$)/g, ',')
  const fraction = exponent === 0 ? '' : `.${padded.slice(-exponent)}`
  return `${negative ? '-' : ''}${whole}${fraction} ${value.currency}`
}
