import { problems } from '@banking/contracts'
import t from 'tap'
import { checkDraft, type Draft, emptyDraft, ibanError, sameOrder } from '../../web/src/payment-order.ts'
import { explainHold, explainPayment, noAnswer, Refusal, retryAfterSeconds } from '../../web/src/refusal.ts'

const eur = (amount: string) => ({ amount, currency: 'EUR' as const })
const current = {
  id: 'current',
  name: 'Everyday account',
  iban: 'DE02120300000000202051',
  currency: 'EUR' as const,
  available: eur('523418'),
  status: 'active',
}
const savings = { ...current, id: 'savings', name: 'Rainy days', iban: 'DE02500105170137075030' }
const dollars = {
  ...current,
  id: 'dollars',
  currency: 'USD' as const,
  available: { amount: '1', currency: 'USD' as const },
}
const accounts = [current, savings, dollars]
const draft: Draft = {
  ...emptyDraft,
  from: 'current',
  name: ' Bob Builder ',
  iban: 'de89 3704 0044 0532 0130 00',
  amount: '1,250.50',
  reference: ' Dinner\u0007\u0000\u202e on\nFriday\ud800 ',
}

t.test('a complete form becomes an order in minor units', async t => {
  t.same(checkDraft(draft, accounts, 'en-US'), {
    ok: true,
    order: {
      debtorAccountId: 'current',
      creditor: { iban: 'DE89370400440532013000', name: 'Bob Builder' },
      amount: eur('125050'),
      reference: 'Dinner on Friday',
    },
  })
})

t.test('an empty reference is left out', async t => {
  const check = checkDraft({ ...draft, reference: '  ' }, accounts, 'en-US')
  t.ok(check.ok)
  t.notOk(check.ok && 'reference' in check.order)
})

t.test('a transfer between own accounts names the account, not the IBAN', async t => {
  const check = checkDraft({ ...draft, kind: 'own', to: 'savings', name: '', iban: '' }, accounts, 'en-US')
  t.same(check.ok && check.order.creditor, { accountId: 'savings', name: 'Rainy days' })
})

t.test('an empty form names every field that is missing, all at once', async t => {
  const check = checkDraft(emptyDraft, accounts, 'en-US')
  t.same(check.ok ? [] : Object.keys(check.errors).sort(), ['amount', 'from', 'iban', 'name'])
})

t.test('what the bank would refuse is told at its field before it is sent', async t => {
  const errors = (change: Partial<Draft>, own = accounts) => {
    const check = checkDraft({ ...draft, ...change }, own, 'en-US')
    return check.ok ? {} : check.errors
  }
  t.match(errors({ amount: '5,234.19' }), { amount: /You have €5,234.18 available/ })
  t.same(errors({ amount: '5,234.18' }), {}, 'the last cent may go')
  t.match(errors({ iban: current.iban }), { iban: /the account the money would come from/ })
  t.match(errors({ iban: 'DE88370400440532013000' }), { iban: /check digits/ })
  t.match(errors({ kind: 'own', to: 'current' }), { to: /different account/ })
  t.match(errors({ kind: 'own', to: 'dollars' }), { to: /different currencies/ })
  t.match(errors({ kind: 'own', to: 'gone' }), { to: /Choose/ })
  t.match(errors({}, [{ ...current, status: 'frozen' }]), { from: /frozen/ })
  t.match(errors({ reference: 'x'.repeat(141) }), { reference: /at most 140/ })
  t.match(errors({ name: ' \u0000 ' }), { name: /Enter the name/ })
})

t.test('an incomplete IBAN says how many characters are missing', async t => {
  t.match(ibanError('DE89 3704 0044 0532 0130 0'), /1 more character\b/)
  t.match(ibanError('DE89'), /18 more characters/)
  t.equal(ibanError('DE89 3704 0044 0532 0130 00'), undefined)
})

t.test('two orders are the same intention only if all of it is the same', async t => {
  const order = { debtorAccountId: 'a', creditor: { iban: 'X', name: 'Bob' }, amount: eur('1') }
  t.ok(sameOrder(order, { ...order, creditor: { name: 'Bob', iban: 'X' } }))
  t.ok(sameOrder(order, { ...order, reference: '' }))
  t.notOk(sameOrder(order, { ...order, amount: eur('2') }))
  t.notOk(sameOrder(order, { ...order, reference: 'x' }))
  t.notOk(sameOrder(order, { ...order, creditor: { iban: 'X', name: 'Eve' } }))
})

const refusal = (code: string, status: number) => new Refusal({ code, status, title: code })

t.test('a verdict of the bank ends an intention; anything else leaves it open', async t => {
  for (const code of [
    'insufficient_funds',
    'account_frozen',
    'iban_invalid',
    'creditor_unknown',
    'same_account',
  ] as const)
    t.notOk(refusal(code, problems[code].status).isUncertain, code)
  for (const code of ['upstream_unavailable', 'upstream_timeout', 'internal', 'overloaded', 'key_in_flight'] as const)
    t.ok(refusal(code, problems[code].status).isUncertain, code)
  t.ok(noAnswer(new Error('lost')).isUncertain)
})

t.test('every refusal of a payment has words and a place', async t => {
  for (const code of Object.keys(problems)) t.ok(explainPayment({ code }).text.length > 20, code)
  t.equal(explainPayment({ code: 'insufficient_funds' }).field, 'amount')
  t.equal(explainPayment({ code: 'creditor_unknown' }).field, 'iban')
  t.equal(explainPayment({ code: 'something_new' }).field, 'form')
})

t.test('a code is never shown to a person as the reason of a hold', async t => {
  t.same(explainHold(['new_rule_17', 'new_rule_18']), ['It needs a second look.'])
  t.match(explainHold(['large_amount'])[0], /above the limit/)
})

t.test('Retry-After is read as seconds or a date, and never believed beyond five minutes', async t => {
  const now = Date.parse('2026-11-24T12:00:00Z')
  t.equal(retryAfterSeconds('3', now), 3)
  t.equal(retryAfterSeconds('Tue, 24 Nov 2026 12:00:30 GMT', now), 30)
  t.equal(retryAfterSeconds('Tue, 24 Nov 2026 11:00:00 GMT', now), 0)
  t.equal(retryAfterSeconds('86400', now), 300)
  t.equal(retryAfterSeconds('soon', now), undefined)
  t.equal(retryAfterSeconds(null, now), undefined)
})
