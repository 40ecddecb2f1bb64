import { formatMoney as formatContractMoney } from '@banking/contracts'
import t from 'tap'
import { formatAmount, formatMoney, parseAmount, splitMoney, totals } from '../../web/src/money.ts'

const eur = (amount: string) => ({ amount, currency: 'EUR' as const })
/** Spaces of all widths are one thing to a reader. */
const plain = (text: string): string => text.replace(/\s/gu, ' ')
const minor = (text: string, locale: string, currency: 'EUR' | 'JPY' | 'KWD' = 'EUR'): string => {
  const parsed = parseAmount(text, currency, locale)
  return parsed.ok ? parsed.minor.toString() : parsed.why
}

t.test('money is written with the reader’s separators and the exact fraction', async t => {
  t.equal(formatMoney(eur('123450'), 'en-IE'), '€1,234.50')
  t.equal(plain(formatMoney(eur('123450'), 'de-DE')), '1.234,50 €')
  t.equal(formatMoney(eur('5'), 'en-IE'), '€0.05')
  t.equal(formatMoney({ amount: '1250', currency: 'JPY' }, 'en-US'), '¥1,250')
  t.equal(plain(formatMoney({ amount: '1250', currency: 'KWD' }, 'en-US')), 'KWD 1.250')
})

t.test('18 digits keep every digit, where a floating point number would not', async t => {
  t.equal(formatMoney(eur('999999999999999999'), 'en-IE'), '€9,999,999,999,999,999.99')
  t.equal(minor('9,999,999,999,999,999.99', 'en-IE'), '999999999999999999')
})

t.test('a sign tells incoming from outgoing money, and nothing has none', async t => {
  t.equal(formatMoney(eur('123450'), 'en-IE', { signed: true }), '+€1,234.50')
  t.equal(formatMoney(eur('-123450'), 'en-IE', { signed: true }), '−€1,234.50')
  t.equal(formatMoney(eur('0'), 'en-IE', { signed: true }), '€0.00')
})

t.test('every currency of the contract has the same number of digits here', async t => {
  for (const currency of ['EUR', 'USD', 'GBP', 'CHF', 'JPY', 'KWD'] as const) {
    const digits = (text: string): string => text.replace(/[^\d.,]/gu, '')
    t.equal(
      digits(formatMoney({ amount: '1234567', currency }, 'en-US')),
      digits(formatContractMoney({ amount: '1234567', currency })),
      currency,
    )
  }
})

t.test('the large form splits off the fraction wherever the locale puts the sign', async t => {
  t.same(splitMoney(eur('123450'), 'en-IE'), ['€1,234', '.50', ''])
  t.same(splitMoney(eur('123450'), 'de-DE').map(plain), ['1.234', ',50', ' €'])
})

t.test('totals are kept by currency', async t => {
  t.same(totals([eur('9007199254740993'), { amount: '5', currency: 'USD' }, eur('1')]), [
    { amount: '9007199254740994', currency: 'EUR' },
    { amount: '5', currency: 'USD' },
  ])
})

t.test('what a person types is read as their locale writes it', async t => {
  t.equal(minor('1,234.50', 'en-US'), '123450')
  t.equal(minor('1.234,50', 'de-DE'), '123450')
  t.equal(minor('1 234,50', 'fr-FR'), '123450')
  t.equal(minor('1\u202f234,50', 'fr-FR'), '123450')
  t.equal(minor("1'234.50", 'de-CH'), '123450')
  t.equal(minor('1’234.50', 'de-CH'), '123450')
  t.equal(minor('12,34,567.00', 'en-IN'), '123456700')
  t.equal(minor('٢٥٫٥', 'ar-EG'), '2550')
  t.equal(minor('25', 'en-US'), '2500')
  t.equal(minor('.5', 'en-US'), '50')
  t.equal(minor('5.', 'en-US'), '500')
  t.equal(minor(' € 12.50 ', 'en-US'), '1250')
  t.equal(minor('12,50 EUR', 'de-DE'), '1250')
  t.equal(minor('007', 'en-US'), '700')
})

t.test('a separator is never guessed where it could mean two things', async t => {
  t.equal(minor('1.234', 'de-DE'), '123400', 'a German thousand')
  t.equal(minor('1.234', 'en-US'), 'too_precise', 'an English fraction of three digits')
  t.equal(minor('1,234', 'en-US'), '123400')
  t.equal(minor('12,50', 'en-US'), '1250', 'can only be a fraction')
  t.equal(minor('12.5', 'de-DE'), '1250', 'can only be a fraction')
  t.equal(minor('1.234.50', 'de-DE'), 'malformed')
  t.equal(minor('1,23,4', 'en-US'), 'malformed')
})

t.test('currencies without a fraction, or with three digits, are read by their own rule', async t => {
  t.equal(minor('1250', 'en-US', 'JPY'), '1250')
  t.equal(minor('12.5', 'en-US', 'JPY'), 'too_precise')
  t.equal(minor('12.00', 'en-US', 'JPY'), '12')
  t.equal(minor('1.234', 'en-US', 'KWD'), '1234')
})

t.test('what is no amount says why', async t => {
  t.equal(minor('', 'en-US'), 'empty')
  t.equal(minor('  ', 'en-US'), 'empty')
  t.equal(minor('€', 'en-US'), 'empty')
  t.equal(minor('0.00', 'en-US'), 'zero')
  t.equal(minor('-5', 'en-US'), 'negative')
  t.equal(minor('−5', 'en-US'), 'negative')
  t.equal(minor('1.005', 'en-US'), 'too_precise')
  t.equal(minor('1.500', 'en-US'), '150', 'a zero behind changes nothing')
  t.equal(minor('10000000000000000', 'en-US'), 'too_large')
  for (const text of ['1e5', '0x10', 'abc', '1..2', '.', '5 5 5 EUR EUR', 'Infinity', '１２a'])
    t.equal(minor(text, 'en-US'), 'malformed', text)
})

t.test('an amount written into the field is read back as the same', async t => {
  for (const locale of ['en-US', 'de-DE', 'fr-FR', 'de-CH', 'ar-EG', 'hi-IN', 'cs-CZ', 'pl-PL', 'sv-SE'])
    for (const amount of [1n, 99n, 100n, 123456n, 123456789012n])
      t.equal(minor(formatAmount(amount, 'EUR', locale), locale), amount.toString(), `${locale} ${amount}`)
})
