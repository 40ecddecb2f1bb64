import { randomUUID } from 'node:crypto'
import { personToken } from '@banking/devstack'
import t, { type Test } from 'tap'
import { accountsOf, asPerson, currentAccountOf, eventually, wholeBank } from '../bank.ts'

const bank = wholeBank(t)

async function trialBalanceIsZero(t: Test): Promise<void> {
  const token = await personToken(bank, 'carl', 'payment')
  const payment = bank.status.apps.find(({ name }) => name === 'payment')
  const response = await fetch(new URL('/api/payments/trial-balance', payment?.url), {
    headers: { authorization: `Bearer ${token}` },
  })
  t.equal(response.status, 200)
  const { balanced, currencies } = (await response.json()) as {
    balanced: boolean
    currencies: { currency: string; sum: string }[]
  }
  t.equal(balanced, true)
  t.match(currencies, [{ currency: 'EUR', sum: '0' }])
}

t.test('one key sent 20 times at once moves the money once', async t => {
  const alice = await asPerson(bank, 'alice')
  const bob = await asPerson(bank, 'bob')
  const from = await currentAccountOf(alice)
  const to = await currentAccountOf(bob)
  const key = randomUUID()
  const order = {
    debtorAccountId: from.id,
    creditor: { iban: to.iban, name: 'Bob' },
    amount: { amount: '1234', currency: 'EUR' },
    reference: 'twenty times',
  }
  const send = () => alice.post('/api/payments', order, { 'idempotency-key': key })
  const answers = await Promise.all(Array.from({ length: 20 }, send))
  const made = answers.filter(({ status }) => status === 201)
  t.ok(made.length >= 1)
  for (const { status, body, json } of answers) {
    if (status === 409) t.equal(json()['code'], 'key_in_flight')
    else t.same({ status, body }, { status: 201, body: made[0]?.body })
  }
  const again = await send()
  t.same({ status: again.status, body: again.body }, { status: 201, body: made[0]?.body })
  t.equal(again.headers.get('idempotency-replayed'), 'true')
  const after = await currentAccountOf(alice)
  t.equal(BigInt(from.available.amount) - BigInt(after.available.amount), 1234n)
  t.equal(BigInt((await currentAccountOf(bob)).available.amount) - BigInt(to.available.amount), 1234n)
  const other = await alice.post('/api/payments', { ...order, reference: 'other' }, { 'idempotency-key': key })
  t.same([other.status, other.json()['code']], [422, 'key_reused'])
  await trialBalanceIsZero(t)
})

t.test('of 100 payments of the whole balance at once exactly one succeeds', async t => {
  const bob = await asPerson(bank, 'bob')
  const accounts = await accountsOf(bob)
  const from = accounts.find(({ kind }) => kind === 'savings')
  const to = accounts.find(({ kind }) => kind === 'current')
  if (from === undefined || to === undefined) throw new Error('bob has a savings and a current account')
  const whole = from.available.amount
  t.not(whole, '0')
  const answers = await Promise.all(
    Array.from({ length: 100 }, () =>
      bob.post(
        '/api/payments',
        {
          debtorAccountId: from.id,
          creditor: { accountId: to.id, name: 'Bob' },
          amount: { amount: whole, currency: 'EUR' },
        },
        { 'idempotency-key': randomUUID() },
      ),
    ),
  )
  const statuses = answers.map(({ status }) => status)
  t.equal(statuses.filter(status => status === 201).length, 1)
  t.equal(statuses.filter(status => status === 409).length, 99)
  for (const { status, json } of answers) if (status === 409) t.equal(json()['code'], 'insufficient_funds')
  const after = await accountsOf(bob)
  t.equal(after.find(({ id }) => id === from.id)?.available.amount, '0')
  t.equal(after.find(({ id }) => id === to.id)?.available.amount, String(BigInt(to.available.amount) + BigInt(whole)))
  await trialBalanceIsZero(t)
  // Back again, so that other journeys find the story as it was told.
  const back = {
    debtorAccountId: to.id,
    creditor: { accountId: from.id, name: 'Bob' },
    amount: { amount: whole, currency: 'EUR' },
  }
  t.equal((await bob.post('/api/payments', back, { 'idempotency-key': randomUUID() })).status, 201)
})

t.test('a payment above the limit is held, reserved, told to the debtor alone, and can be cancelled', async t => {
  const carol = await asPerson(bank, 'carol')
  const alice = await asPerson(bank, 'alice')
  const from = await currentAccountOf(carol)
  const to = await currentAccountOf(alice)
  const unread = async (client: typeof carol) => Number((await client.get('/api/notifications/count')).json()['unread'])
  const before = { carol: await unread(carol), alice: await unread(alice) }
  const held = await carol.post(
    '/api/payments',
    {
      debtorAccountId: from.id,
      creditor: { iban: to.iban, name: 'Alice' },
      amount: { amount: '1500000', currency: 'EUR' },
    },
    { 'idempotency-key': randomUUID() },
  )
  t.equal(held.status, 202)
  t.match(held.json(), { state: 'held', reasons: [/./] })
  const reserved = await currentAccountOf(carol)
  t.equal(reserved.posted.amount, from.posted.amount)
  t.equal(BigInt(from.available.amount) - BigInt(reserved.available.amount), 1_500_000n)
  t.ok(
    (await eventually(
      () => unread(carol),
      count => count > before.carol,
    )) > before.carol,
  )
  t.equal((await carol.post(`/api/payments/${held.json()['id']}/cancel`, {})).status, 200)
  t.equal((await currentAccountOf(carol)).available.amount, from.available.amount)
  const twice = await carol.post(`/api/payments/${held.json()['id']}/cancel`, {})
  t.same([twice.status, twice.json()['code']], [409, 'already_resolved'])
  t.equal(await unread(alice), before.alice)
  await trialBalanceIsZero(t)
})

t.test('what is somebody else’s looks like what does not exist', async t => {
  const alice = await asPerson(bank, 'alice')
  const bob = await asPerson(bank, 'bob')
  const theirs = await currentAccountOf(bob)
  const without = (body: string) => body.replace(/"instance":"[^"]*"/, '')
  for (const path of ['/api/payments/accounts/ID', '/api/payments/accounts/ID/postings', '/api/payments/ID']) {
    const foreign = await alice.get(path.replace('ID', theirs.id))
    const absent = await alice.get(path.replace('ID', randomUUID()))
    t.equal(foreign.status, 404, path)
    t.equal(without(foreign.body), without(absent.body), path)
  }
})
