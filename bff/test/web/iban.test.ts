import t from 'tap'
import { checkIban, compactIban, groupIban, typeIban } from '../../web/src/iban.ts'

const good = [
  'DE89370400440532013000',
  'GB29NWBK60161331926819',
  'NL91ABNA0417164300',
  'NO9386011117947',
  'MT84MALT011000012345MTLCAST001S',
  'FR1420041010050500013M02606',
]

t.test('the registry’s examples are valid, however they are written', async t => {
  for (const iban of good) {
    t.same(checkIban(iban), { state: 'valid', iban, country: iban.slice(0, 2) })
    t.equal(checkIban(groupIban(iban).toLowerCase()).state, 'valid', 'in groups and small letters')
    t.equal(checkIban(iban.replace(/(.{4})/g, '$1-')).state, 'valid', 'with dashes')
  }
})

t.test('every single wrong digit and every swap of neighbours is found', async t => {
  const iban = 'DE89370400440532013000'
  for (let place = 2; place < iban.length; place++) {
    const digit = iban[place] ?? ''
    const wrong = iban.slice(0, place) + ((Number(digit) + 1) % 10) + iban.slice(place + 1)
    t.same(checkIban(wrong), { state: 'invalid', why: 'check_digits' }, `digit ${place}`)
    const next = iban[place + 1]
    if (next === undefined || next === digit) continue
    const swapped = iban.slice(0, place) + next + digit + iban.slice(place + 2)
    t.equal(checkIban(swapped).state, 'invalid', `swap at ${place}`)
  }
})

t.test('while it is typed it says how much is missing', async t => {
  t.same(checkIban(''), { state: 'empty' })
  t.same(checkIban('D'), { state: 'incomplete' })
  t.same(checkIban('DE'), { state: 'incomplete', country: 'DE', missing: 20 })
  t.same(checkIban('DE89 3704'), { state: 'incomplete', country: 'DE', missing: 14 })
  t.same(checkIban('ZZ12'), { state: 'incomplete', country: 'ZZ' }, 'a country that is not in the registry')
})

t.test('what cannot become an IBAN is told at once', async t => {
  for (const text of ['1', 'D1', 'DEX', 'DE8X', 'DE89 37_4', '€', 'DE89💶'])
    t.same(checkIban(text), { state: 'invalid', why: 'characters' }, text)
  t.same(checkIban(`${good[0]}1`), { state: 'invalid', why: 'too_long' })
  t.same(checkIban(`ZZ12${'1'.repeat(31)}`), { state: 'invalid', why: 'too_long' })
})

t.test('groups of four are for the eye only', async t => {
  t.equal(groupIban('de89 370400440532013000'), 'DE89 3704 0044 0532 0130 00')
  t.equal(compactIban(' DE89\u00a03704 0044-0532 0130 00 '), 'DE89370400440532013000')
})

t.test('the caret stays behind the character it was behind', async t => {
  t.same(typeIban('DE893', 5), { text: 'DE89 3', caret: 6 }, 'typing at the end')
  t.same(typeIban('DE8X9 3704', 4), { text: 'DE8X 9370 4', caret: 4 }, 'typing in the middle')
  t.same(typeIban('DE893704', 4), { text: 'DE89 3704', caret: 4 }, 'a removed space comes back behind the caret')
  t.same(typeIban('XDE89 3704', 1), { text: 'XDE8 9370 4', caret: 1 })
})
