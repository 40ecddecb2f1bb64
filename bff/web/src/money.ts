import type { Currency } from '@banking/contracts'

/** An amount as the API sends it: minor units in a digit string, negative for money that left. */
export type Money = { amount: string; currency: Currency }

/** ISO 4217 minor units. Not from Intl: engines take them from CLDR, which differs for some currencies. */
const exponents: Record<Currency, number> = { EUR: 2, USD: 2, GBP: 2, CHF: 2, JPY: 0, KWD: 3 }

/** The largest amount the API takes: 18 digits of minor units. */
const largest = 10n ** 18n - 1n

const formats = new Map<string, Intl.NumberFormat>()

function currencyFormat(locale: string, currency: Currency, sign: 'auto' | 'exceptZero'): Intl.NumberFormat {
  const key = `${locale} ${currency} ${sign}`
  let format = formats.get(key)
  if (format === undefined) {
    const digits = exponents[currency]
    format = new Intl.NumberFormat(locale, {
      style: 'currency',
      currency,
      signDisplay: sign,
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    })
    formats.set(key, format)
  }
  return format
}

/** Minor units to a decimal literal. Intl formats such a string exactly; a number would lose digits above 2^53. */
function decimal(minor: bigint, currency: Currency): Intl.StringNumericLiteral {
  const digits = exponents[currency]
  const negative = minor < 0n
  const text = (negative ? -minor : minor).toString().padStart(digits + 1, '0')
  const whole = text.slice(0, text.length - digits)
  const fraction = digits === 0 ? '' : `.${text.slice(-digits)}`
  return `${negative ? '-' : ''}${whole}${fraction}` as Intl.StringNumericLiteral
}

/** For reading, in the reader's own conventions: `€1,234.50`; `signed` puts a plus before money that came in. */
export function formatMoney(money: Money, locale: string, options: { signed?: boolean } = {}): string {
  const format = currencyFormat(locale, money.currency, options.signed === true ? 'exceptZero' : 'auto')
  // Most locales write a hyphen, which is thinner than the plus beside it and may end a line.
  return format.format(decimal(BigInt(money.amount), money.currency)).replace('-', '\u2212')
}

/** {@link formatMoney} cut before the fraction, for large display: `['€1,234', '.50', '']`. */
export function splitMoney(money: Money, locale: string): [before: string, fraction: string, after: string] {
  const parts = currencyFormat(locale, money.currency, 'auto').formatToParts(
    decimal(BigInt(money.amount), money.currency),
  )
  const split: [string, string, string] = ['', '', '']
  let place = 0
  for (const part of parts) {
    const isFraction = part.type === 'decimal' || part.type === 'fraction'
    if (isFraction) place = 1
    else if (place === 1) place = 2
    split[place as 0 | 1 | 2] += part.value
  }
  return split
}

/** For an input field: no currency sign, the fraction always written out. */
export function formatAmount(minor: bigint, currency: Currency, locale: string): string {
  const digits = exponents[currency]
  return new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(
    decimal(minor, currency),
  )
}

/** Totals by currency, in the order of first appearance; money of two currencies is never added up. */
export function totals(amounts: readonly Money[]): Money[] {
  const sums = new Map<Currency, bigint>()
  for (const { amount, currency } of amounts) sums.set(currency, (sums.get(currency) ?? 0n) + BigInt(amount))
  return [...sums].map(([currency, sum]) => ({ amount: sum.toString(), currency }))
}

export type ParsedAmount =
  | { ok: true; minor: bigint }
  | { ok: false; why: 'empty' | 'malformed' | 'negative' | 'zero' | 'too_precise' | 'too_large' }

type Notation = { group: string; decimal: string; digits: ReadonlyMap<string, string> }

const notations = new Map<string, Notation>()

function notation(locale: string): Notation {
  let found = notations.get(locale)
  if (found === undefined) {
    const parts = new Intl.NumberFormat(locale).formatToParts(-1234567.8)
    const value = (type: string, fallback: string): string => parts.find(part => part.type === type)?.value ?? fallback
    const plain = new Intl.NumberFormat(locale, { useGrouping: false })
    found = {
      group: value('group', ','),
      decimal: value('decimal', '.'),
      digits: new Map(Array.from({ length: 10 }, (_, digit) => [plain.format(digit), String(digit)])),
    }
    notations.set(locale, found)
  }
  return found
}

/**
 * What a person typed to minor units, exactly and without floating point. Separators are read as the locale writes
 * them; the other world's decimal sign is understood only where it cannot be a thousands separator (`12,5` in
 * English), so that `1.234` is never guessed.
 */
export function parseAmount(text: string, currency: Currency, locale: string): ParsedAmount {
  const { group, decimal, digits } = notation(locale)
  const exponent = exponents[currency]
  let rest = Array.from(text.normalize('NFKC').trim(), sign => digits.get(sign) ?? sign).join('')
  const symbol = currencySymbol(currency, locale)
  for (const mark of [currency, currency.toLowerCase(), symbol]) {
    if (rest.startsWith(mark)) rest = rest.slice(mark.length).trim()
    else if (rest.endsWith(mark)) rest = rest.slice(0, -mark.length).trim()
  }
  if (rest === '') return { ok: false, why: 'empty' }
  if (/^[-\u2212]/u.test(rest)) return { ok: false, why: 'negative' }

  const groupPattern = /\s/u.test(group) ? '\\s' : /['’]/u.test(group) ? "['’]" : `[${group}]`
  const grouped = `\\d{1,3}(?:${groupPattern}\\d{2,3})*${groupPattern}\\d{3}`
  const local = new RegExp(`^(\\d+|${grouped})?(?:[${decimal}](\\d*))?$`, 'u').exec(rest)
  const foreign = exponent === 2 ? /^(\d+)[.,](\d{1,2})$/.exec(rest) : null
  const match = local ?? foreign
  if (match === null || !/\d/.test(rest)) return { ok: false, why: 'malformed' }

  const whole = (match[1] ?? '').replace(/\D/gu, '') || '0'
  const fraction = match[2] ?? ''
  if (fraction.length > exponent && /[1-9]/.test(fraction.slice(exponent))) return { ok: false, why: 'too_precise' }
  const minor = BigInt(whole + fraction.slice(0, exponent).padEnd(exponent, '0'))
  if (minor === 0n) return { ok: false, why: 'zero' }
  if (minor > largest) return { ok: false, why: 'too_large' }
  return { ok: true, minor }
}

/** The sign people know the currency by, e.g. `€`. */
export function currencySymbol(currency: Currency, locale: string): string {
  const parts = currencyFormat(locale, currency, 'auto').formatToParts(0)
  return parts.find(part => part.type === 'currency')?.value ?? currency
}
