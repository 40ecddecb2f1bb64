import { randomUUID } from 'node:crypto'
import { type EventType, eventData, problemContentType } from '@banking/contracts'
import t from 'tap'
import { Check } from 'typebox/value'
import { Payment } from '../src/payment.ts'
import { type Bank, bank, bodyOf, germanIban, type Test } from './app.ts'

const [alice, bob] = ['a11ce000-0000-4000-8000-00000000000a', 'b0b00000-0000-4000-8000-00000000000b']

/** Alice with 1,000.00 and Bob with nothing. */
async function aliceAndBob(t: Test, balance = 100_000n) {
  const it = await bank(t)
  const from = await it.open(alice, balance)
  const to = await it.open(bob, 0n)
  return { ...it, from, to }
}

/** Nothing but the opening is in the books. */
async function nothingHappened(t: Test, it: Bank, accountId: string, balance: bigint) {
  t.match(await it.account(accountId), { posted: balance, held: 0n, entries: 1n })
  t.equal(await it.count('payment'), 0)
  t.equal(await it.count('outbox'), 0)
}

t.test('moves money between two accounts and tells it', async t => {
  const it = await aliceAndBob(t)
  const { from, to } = it
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
  const response = await it.pay(
    { from, to, amount: 1250n, reference: 'Lunch "at" Zoë’s\\' },
    { headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01`, 'x-request-id': 'request-0001' } },
  )

  t.equal(response.statusCode, 201)
  t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
  t.equal(response.headers['idempotency-replayed'], undefined)
  const payment = response.json()
  t.ok(Check(Payment, payment), 'the bytes that the database wrote follow the schema')
  t.match(payment, {
    state: 'posted',
    debtorAccountId: from.id,
    creditor: { name: 'Bob Example', ibanMasked: `${to.iban.slice(0, 4)} •••• ${to.iban.slice(-4)}` },
    amount: { amount: '1250', currency: 'EUR' },
    reference: 'Lunch "at" Zoë’s\\',
  })
  t.match(await it.account(from.id), { posted: 98_750n, held: 0n })
  t.match(await it.account(to.id), { posted: 1_250n })
  await it.audit(100_000n)

  const { event, key, topic } = await it.onlyEvent()
  t.equal(topic, 'banking.payment')
  t.equal(key, from.id)
  t.match(event, {
    specversion: '1.0',
    type: 'payment.posted',
    source: '/payment',
    subject: from.id,
    seq: Number((await it.account(from.id)).version),
    correlationid: 'request-0001',
    data: {
      paymentId: payment.id,
      transferId: payment.transferId,
      amount: { amount: '1250', currency: 'EUR' },
      debtor: { accountId: from.id, ownerId: alice, ibanLast4: from.iban.slice(-4) },
      creditor: { accountId: to.id, ownerId: bob, ibanLast4: to.iban.slice(-4) },
      reference: 'Lunch "at" Zoë’s\\',
    },
  })
  t.match(event.traceparent, new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`), 'the trace goes on')
  t.ok(Check(eventData['payment.posted'], event.data), 'the event follows the contract')

  const read = await it.get(`/${payment.id}`, alice)
  t.equal(read.statusCode, 200)
  t.same(read.json(), payment, 'reading it later says the same')
})

t.test('pays by account id, and by an IBAN with spaces in lower case', async t => {
  const it = await aliceAndBob(t)
  const { from, to } = it
  const body = bodyOf({ from, to, amount: 100n })
  const spaced = to.iban.toLowerCase().replace(/(.{4})/g, '$1 ')
  for (const creditor of [
    { name: 'Bob', accountId: to.id },
    { name: 'Bob', iban: spaced },
  ]) {
    const headers = { 'idempotency-key': randomUUID() }
    const response = await it.post('', alice, { ...body, creditor }, headers)
    t.equal(response.statusCode, 201)
  }
  t.match(await it.account(to.id), { posted: 200n })
})

t.test('holds a payment above the limit, and the money with it', async t => {
  const it = await aliceAndBob(t, 2_500_000n)
  const { from, to } = it
  const response = await it.pay({ from, to, amount: 1_000_001n })
  t.equal(response.statusCode, 202)
  const payment = response.json()
  t.ok(Check(Payment, payment))
  t.match(payment, { state: 'held', reasons: ['large_amount'] })
  t.match(await it.account(from.id), { posted: 2_500_000n, held: 1_000_001n })
  t.match(await it.account(to.id), { posted: 0n }, 'the payee has nothing yet')
  const accounts = await it.get('/accounts', alice)
  t.match(accounts.json().items[0], { held: { amount: '1000001' }, available: { amount: '1499999' } })
  const { event } = await it.onlyEvent()
  t.equal(event.type, 'payment.held')
  t.ok(Check(eventData['payment.held'], event.data))
  t.same((await it.get(`/${payment.id}`, alice)).json(), payment)

  const second = await it.pay({ from, to, amount: 1_500_000n })
  t.equal(second.json().code, 'insufficient_funds', 'held money cannot be spent')
  await it.audit(2_500_000n)
})

t.test('wakes the relay after the commit, and notifies nobody through the database', async t => {
  const it = await aliceAndBob(t, 2_500_000n)
  const heard: string[] = []
  await it.owner.sql.listen('outbox', payload => heard.push(payload))
  const { id } = (await it.pay({ from: it.from, to: it.to, amount: 1_500_000n })).json()
  t.equal(it.woken.times, 1)
  await it.post(`/${id}/cancel`, alice)
  t.equal(it.woken.times, 2)
  await it.owner.sql.notify('outbox', 'the end')
  while (!heard.includes('the end')) await new Promise(resolve => setTimeout(resolve, 5))
  t.same(heard, ['the end'])
})

t.test('lets exactly the limit through', async t => {
  const it = await aliceAndBob(t, 2_500_000n)
  t.equal((await it.pay({ from: it.from, to: it.to, amount: 1_000_000n })).json().state, 'posted')
})

t.test('gives a held payment back once', async t => {
  const it = await aliceAndBob(t, 2_500_000n)
  const { from, to } = it
  const { id } = (await it.pay({ from, to, amount: 2_000_000n })).json()

  t.equal((await it.post(`/${id}/cancel`, bob)).json().code, 'not_found', 'only its debtor may')
  const answers = await Promise.all(Array.from({ length: 5 }, () => it.post(`/${id}/cancel`, alice)))
  t.same(answers.map(({ statusCode }) => statusCode).sort(), [200, 409, 409, 409, 409])
  const cancelled = answers.find(({ statusCode }) => statusCode === 200)?.json()
  t.ok(Check(Payment, cancelled))
  t.match(cancelled, { id, state: 'cancelled' })
  for (const answer of answers.filter(({ statusCode }) => statusCode === 409))
    t.equal(answer.json().code, 'already_resolved')
  t.match(await it.account(from.id), { posted: 2_500_000n, held: 0n })
  const events = await it.events()
  t.same(
    events.map(({ event }) => event.type),
    ['payment.held', 'payment.cancelled'],
  )
  t.ok(Check(eventData['payment.cancelled'], events[1]?.event.data))
  t.ok((events[1]?.event.seq ?? 0) > (events[0]?.event.seq ?? 0), 'versions follow the order of events')
  t.equal((await it.pay({ from, to, amount: 1_000_000n })).statusCode, 201, 'the money can be spent again')
  await it.audit(2_500_000n)
})

t.test('refuses to cancel what was posted or declined', async t => {
  const it = await aliceAndBob(t)
  const posted = (await it.pay({ from: it.from, to: it.to, amount: 1n })).json()
  const declined = (await it.pay({ from: it.from, to: it.to, amount: 900_000n })).json()
  for (const id of [posted.id, declined.paymentId])
    t.equal((await it.post(`/${id}/cancel`, alice)).json().code, 'already_resolved')
  t.equal((await it.post(`/${randomUUID()}/cancel`, alice)).statusCode, 404)
  await it.audit(100_000n)
})

for (const [code, arrange] of [
  ['insufficient_funds', async () => {}],
  ['account_frozen', async (it: Bank, id: string) => void (await it.freeze(id))],
] as const)
  t.test(`declines for ${code}, and writes that down`, async t => {
    const it = await aliceAndBob(t, 500n)
    const { from, to } = it
    await arrange(it, from.id)
    const response = await it.pay({ from, to, amount: 501n })
    t.equal(response.statusCode, 409)
    t.equal(response.headers['content-type'], problemContentType)
    const refusal = response.json()
    t.match(refusal, { status: 409, code, paymentId: /^[0-9a-f-]{36}$/ })
    t.notOk('instance' in refusal, 'a stored answer names no request')
    t.match(await it.account(from.id), { posted: 500n, held: 0n, entries: 1n })
    const payment = (await it.get(`/${refusal.paymentId}`, alice)).json()
    t.match(payment, { state: 'declined', reasons: [code] })
    const { event } = await it.onlyEvent()
    t.match(event, { type: 'payment.declined', data: { code, paymentId: refusal.paymentId } })
    t.ok(Check(eventData[event.type as EventType], event.data))
    await it.audit(500n)
  })

t.test('credits a frozen account', async t => {
  const it = await aliceAndBob(t)
  await it.freeze(it.to.id)
  t.equal((await it.pay({ from: it.from, to: it.to, amount: 5n })).statusCode, 201)
})

t.test('spends an account to the last cent and no further', async t => {
  const it = await aliceAndBob(t, 300n)
  const { from, to } = it
  t.equal((await it.pay({ from, to, amount: 300n })).statusCode, 201)
  t.equal((await it.pay({ from, to, amount: 1n })).json().code, 'insufficient_funds')
  t.match(await it.account(from.id), { posted: 0n })
})

t.test('refuses without a trace', async t => {
  const it = await aliceAndBob(t)
  const { from, to } = it
  const own = await it.open(bob, 0n, { currency: 'USD' })
  const good = bodyOf({ from, to, amount: 10n })
  const [settlement] = await it.owner.sql<{ id: string; iban: string }[]>`
    SELECT id, iban FROM account WHERE kind = 'system'`
  const cases: [string, object, number, string][] = [
    ['an account of somebody else', { ...good, debtorAccountId: to.id }, 404, 'not_found'],
    ['an account that does not exist', { ...good, debtorAccountId: randomUUID() }, 404, 'not_found'],
    ['the bank’s own account as debtor', { ...good, debtorAccountId: settlement?.id }, 404, 'not_found'],
    ['an IBAN nobody has', { ...good, creditor: { name: 'X', iban: germanIban(999) } }, 422, 'creditor_unknown'],
    [
      'an account id nobody has',
      { ...good, creditor: { name: 'X', accountId: randomUUID() } },
      422,
      'creditor_unknown',
    ],
    ['the bank’s own account', { ...good, creditor: { name: 'X', iban: settlement?.iban } }, 422, 'creditor_unknown'],
    ['a wrong check digit', { ...good, creditor: { name: 'X', iban: 'DE00370400440532013000' } }, 422, 'iban_invalid'],
    [
      'an IBAN in foreign digits',
      { ...good, creditor: { name: 'X', iban: 'DE٨٩370400440532013000' } },
      422,
      'iban_invalid',
    ],
    ['the same account twice', { ...good, creditor: { name: 'X', iban: from.iban } }, 422, 'same_account'],
    ['a currency the debtor has not', { ...good, amount: { amount: '1', currency: 'USD' } }, 422, 'currency_mismatch'],
    ['a currency the creditor has not', { ...good, creditor: { name: 'X', iban: own.iban } }, 422, 'currency_mismatch'],
    ['nothing', { ...good, amount: { amount: '0', currency: 'EUR' } }, 422, 'amount_invalid'],
    ['no creditor', { ...good, creditor: { name: 'X' } }, 400, 'request_invalid'],
    ['two creditors', { ...good, creditor: { name: 'X', iban: to.iban, accountId: to.id } }, 400, 'request_invalid'],
  ]
  for (const [what, body, status, code] of cases) {
    const response = await it.post('', alice, body, { 'idempotency-key': randomUUID() })
    t.match({ status: response.statusCode, ...response.json() }, { status, code }, what)
  }
  await nothingHappened(t, it, from.id, 100_000n)
  t.equal(await it.count('idempotency_key'), 1, 'no key is taken by a refusal: only the opening’s is there')
})

t.test('takes a body literally', async t => {
  const it = await aliceAndBob(t)
  const { from, to } = it
  const good = bodyOf({ from, to, amount: 10n })
  const euros = (amount: unknown) => ({ ...good, amount: { amount, currency: 'EUR' } })
  const cases: [string, unknown][] = [
    ['an amount as a number', euros(10)],
    ['a negative amount', euros('-10')],
    ['a negative zero', euros('-0')],
    ['a leading zero', euros('010')],
    ['a decimal point', euros('1.00')],
    ['a decimal comma', euros('1,00')],
    ['an exponent', euros('1e400')],
    ['NaN', euros('NaN')],
    ['unicode digits', euros('١٠')],
    ['more than a bigint holds', euros('9'.repeat(19))],
    ['spaces', euros(' 10')],
    ['an unknown currency', { ...good, amount: { amount: '10', currency: 'XXX' } }],
    ['a state', { ...good, state: 'posted' }],
    ['an owner', { ...good, ownerId: bob }],
    ['a balance in the amount', { ...good, amount: { amount: '10', currency: 'EUR', balance: '1' } }],
    ['a role in the creditor', { ...good, creditor: { ...good.creditor, role: 'admin' } }],
    ['a URN instead of a UUID', { ...good, debtorAccountId: `urn:uuid:${from.id}` }],
    ['a NUL in the reference', { ...good, reference: 'a\u0000b' }],
    ['half a surrogate pair', { ...good, reference: 'a\ud800' }],
    ['a name that nobody can see', { ...good, creditor: { name: '\u200b', iban: to.iban } }],
    ['a mark that turns Arabic around', { ...good, creditor: { name: 'a\u061cb', iban: to.iban } }],
    ['text that turns around', { ...good, creditor: { name: 'a\u202eb', iban: to.iban } }],
    ['a reference of 141 characters', { ...good, reference: 'x'.repeat(141) }],
    ['a blank name', { ...good, creditor: { name: ' ', iban: to.iban } }],
    ['an empty name', { ...good, creditor: { name: '', iban: to.iban } }],
    ['a list', [good]],
    ['null', null],
  ]
  for (const [what, body] of cases) {
    const response = await it.app.inject({
      method: 'POST',
      url: '/api/payments',
      headers: { ...(await it.as(alice)), 'idempotency-key': randomUUID(), 'content-type': 'application/json' },
      payload: JSON.stringify(body),
    })
    t.equal(response.statusCode, 400, what)
  }
  for (const raw of ['{"__proto__":{"x":1}}', '{', '', '{"a":1}{"b":2}']) {
    const response = await it.app.inject({
      method: 'POST',
      url: '/api/payments',
      headers: { ...(await it.as(alice)), 'idempotency-key': randomUUID(), 'content-type': 'application/json' },
      payload: raw,
    })
    t.equal(response.statusCode, 400, raw)
  }
  await nothingHappened(t, it, from.id, 100_000n)
})

t.test('shows a payment to nobody but its debtor, in the same words as one that does not exist', async t => {
  const it = await aliceAndBob(t)
  const { id } = (await it.pay({ from: it.from, to: it.to, amount: 10n })).json()
  const without = ({ instance: _, ...rest }: Record<string, unknown>) => rest
  const absent = await it.get(`/${randomUUID()}`, bob)
  const others = await it.get(`/${id}`, bob)
  t.equal(absent.statusCode, 404)
  t.equal(others.statusCode, 404)
  t.same(without(others.json()), without(absent.json()))
  t.equal((await it.get('/not-a-uuid', alice)).statusCode, 400)
})

t.test('is for customers with this service’s token', async t => {
  const it = await aliceAndBob(t)
  const { from, to } = it
  const call = async (headers: object) =>
    it.app.inject({
      method: 'POST',
      url: '/api/payments',
      headers: { 'idempotency-key': randomUUID(), ...headers },
      payload: bodyOf({ from, to, amount: 1n }),
    })
  const anonymous = await call({})
  t.equal(anonymous.statusCode, 401)
  t.ok(anonymous.headers['www-authenticate'])
  t.equal((await call(await it.as(alice, { roles: ['loan-officer'] }))).json().code, 'role_missing')
  t.equal((await call(await it.as(alice, { roles: ['banking-admin'] }))).statusCode, 403, 'an admin moves no money')
  t.equal((await call(await it.as(alice, { scope: 'openid' }))).json().code, 'scope_insufficient')
  t.equal((await call(await it.as(alice, { service: 'customer' }))).statusCode, 401, 'a token for another service')
  t.equal((await call(await it.as(alice, { client: 'loan-service' }))).statusCode, 403, 'a service is no customer')
  await nothingHappened(t, it, from.id, 100_000n)
})
