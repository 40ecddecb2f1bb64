import t from 'tap'
import { parseIban } from '../src/iban.ts'

// Examples of the registry (ISO 13616), one per shape: short, long, with letters.
const examples = [
  'NO9386011117947',
  'BE68539007547034',
  'DE89370400440532013000',
  'GB29NWBK60161331926819',
  'FR1420041010050500013M02606',
  'MT84MALT011000012345MTLCAST001S',
]

t.test('takes an IBAN as people write it', async t => {
  for (const iban of examples) {
    t.equal(parseIban(iban), iban)
    t.equal(parseIban(iban.toLowerCase().replace(/(.{4})/g, '$1 ')), iban)
  }
})

t.test('notices every single wrong character and every pair of neighbours that changed places', async t => {
  const letters = [...'0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ']
  for (const iban of examples) {
    for (let at = 2; at < iban.length; at += 1) {
      for (const letter of letters.filter(other => other !== iban[at])) {
        const wrong = iban.slice(0, at) + letter + iban.slice(at + 1)
        // A digit for a letter shifts the number, which mod 97 does not always notice; people do not make that mistake.
        if (/\d/.test(letter) === /\d/.test(iban[at] ?? '')) t.throws(() => parseIban(wrong), { code: 'iban_invalid' })
      }
      const [a, b] = [iban[at], iban[at + 1]]
      if (a !== b && at + 1 < iban.length && /\d\d/.test(`${a}${b}`))
        t.throws(() => parseIban(`${iban.slice(0, at)}${b}${a}${iban.slice(at + 2)}`), { code: 'iban_invalid' })
    }
  }
})

t.test('refuses what only looks like one', async t => {
  for (const text of [
    '',
    'DE',
    'DE89 3704 0044 0532 0130 0',
    `DE89${'0'.repeat(40)}`,
    'DE89-3704-0044-0532-0130-00',
    'ＤＥ89370400440532013000',
  ])
    t.throws(() => parseIban(text), { code: 'iban_invalid' }, text)
})
