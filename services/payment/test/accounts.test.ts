import { randomUUID } from 'node:crypto'
import t from 'tap'
import { bank } from './app.ts'

const [alice, bob, carl] = ['a11ce000-0000-4000-8000-00000000000a', 'b0b00000-0000-4000-8000-00000000000b', 'carl']

t.test('lists the caller’s accounts and nobody else’s', async t => {
  const it = await bank(t)
  const current = await it.open(alice, 12_345n)
  await it.open(bob, 99n)
  const response = await it.get('/accounts', alice)
  t.equal(response.statusCode, 200)
  const account = {
    id: current.id,
    name: 'Current account',
    kind: 'current',
    iban: current.iban,
    currency: 'EUR',
    posted: { amount: '12345', currency: 'EUR' },
    held: { amount: '0', currency: 'EUR' },
    available: { amount: '12345', currency: 'EUR' },
    status: 'active',
  }
  t.same(response.json(), { items: [account] })
  t.same((await it.get(`/accounts/${current.id}`, alice)).json(), account)
  await it.freeze(current.id)
  t.equal((await it.get(`/accounts/${current.id}`, alice)).json().status, 'frozen')
  t.same((await it.get('/accounts', 'somebody-without-accounts')).json(), { items: [] })
})

t.test('answers for somebody else’s account as for one that does not exist', async t => {
  const it = await bank(t)
  const account = await it.open(alice, 100n)
  const [system] = await it.owner.sql<{ id: string }[]>`SELECT id FROM account WHERE kind = 'system'`
  const without = ({ instance: _, ...rest }: Record<string, unknown>) => rest
  for (const path of ['', '/postings']) {
    const absent = without((await it.get(`/accounts/${randomUUID()}${path}`, bob)).json())
    t.match(absent, { status: 404, code: 'not_found' })
    t.same(without((await it.get(`/accounts/${account.id}${path}`, bob)).json()), absent)
    t.same(without((await it.get(`/accounts/${system?.id}${path}`, bob)).json()), absent, 'nor is the bank’s own shown')
  }
})

t.test('shows both sides of a payment, each with its own balance and the other’s name', async t => {
  const it = await bank(t)
  const from = await it.open(alice, 10_000n)
  const to = await it.open(bob, 50n)
  const payment = (await it.pay({ from, to, amount: 700n, reference: 'Tickets' })).json()
  const common = { paymentId: payment.id, transferId: payment.transferId, at: payment.createdAt, kind: 'payment' }
  const [paid] = (await it.get(`/accounts/${from.id}/postings`, alice)).json().items
  t.same(paid, {
    ...common,
    seq: 2,
    amount: { amount: '-700', currency: 'EUR' },
    balanceAfter: { amount: '9300', currency: 'EUR' },
    counterparty: payment.creditor,
    reference: 'Tickets',
  })
  const [received] = (await it.get(`/accounts/${to.id}/postings`, bob)).json().items
  t.same(received, {
    ...common,
    seq: 2,
    amount: { amount: '700', currency: 'EUR' },
    balanceAfter: { amount: '750', currency: 'EUR' },
    counterparty: { name: 'Holder 1', ibanMasked: `${from.iban.slice(0, 4)} •••• ${from.iban.slice(-4)}` },
    reference: 'Tickets',
  })
})

t.test('pages through postings without a gap or a repetition, newest first', async t => {
  const it = await bank(t)
  const from = await it.open(alice, 10_000n)
  const to = await it.open(bob, 0n)
  await Promise.all(Array.from({ length: 24 }, (_, n) => it.pay({ from, to, amount: BigInt(n + 1) })))
  const seen: { seq: number; amount: { amount: string }; balanceAfter: { amount: string } }[] = []
  let next: string | undefined
  let pages = 0
  do {
    const query = `limit=10${next === undefined ? '' : `&after=${next}`}`
    const response = (await it.get(`/accounts/${from.id}/postings?${query}`, alice)).json()
    seen.push(...response.items)
    next = response.next
    pages += 1
  } while (next !== undefined)
  t.equal(pages, 3)
  t.same(
    seen.map(({ seq }) => seq),
    Array.from({ length: 25 }, (_, n) => 25 - n),
  )
  seen.forEach((posting, index) => {
    const before = BigInt(seen[index + 1]?.balanceAfter.amount ?? '0')
    t.equal(BigInt(posting.balanceAfter.amount), before + BigInt(posting.amount.amount))
  })
  const exact = (await it.get(`/accounts/${from.id}/postings?limit=25`, alice)).json()
  t.equal(exact.next, undefined, 'a full last page has no next')
})

t.test('limits postings to a time', async t => {
  const it = await bank(t)
  const from = await it.open(alice, 1_000n)
  const to = await it.open(bob, 0n)
  const { createdAt } = (await it.pay({ from, to, amount: 1n })).json()
  const items = async (query: string) => {
    const response = await it.get(`/accounts/${from.id}/postings?${query}`, alice)
    return response.json().items.length
  }
  t.equal(await items(`from=${createdAt}`), 1, 'from is inclusive')
  t.equal(await items(`to=${createdAt}`), 1, 'to is exclusive: the opening alone')
  t.equal(await items('from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z'), 0)
})

t.test('refuses an odd page', async t => {
  const it = await bank(t)
  const { id } = await it.open(alice, 1n)
  for (const query of [
    'limit=0',
    'limit=101',
    'limit=x',
    'after=x',
    'after=-1',
    'after=1;drop',
    'from=yesterday',
    'from=2016-12-31T23:59:60Z',
    'from=0000-01-01T00:00:00Z',
    'to=9999-12-31T23:59:59-23:59',
    'to=',
  ])
    t.equal((await it.get(`/accounts/${id}/postings?${query}`, alice)).statusCode, 400, query)
})

t.test('shows staff and named services that the books balance', async t => {
  const it = await bank(t)
  const from = await it.open(alice, 1_000n)
  const to = await it.open(bob, 0n)
  await it.pay({ from, to, amount: 10n })
  const response = await it.get('/trial-balance', carl, { roles: ['compliance-officer'] })
  t.equal(response.statusCode, 200)
  t.same(response.json(), {
    currencies: [{ currency: 'EUR', sum: '0', accounts: 3, postings: 4 }],
    balanced: true,
  })
  t.equal((await it.get('/trial-balance', carl, { roles: ['banking-admin'] })).statusCode, 200)
  t.equal((await it.get('/trial-balance', carl, { client: 'audit-service' })).statusCode, 200)
  t.equal((await it.get('/trial-balance', carl, { client: 'loan-service' })).statusCode, 403)
  t.equal((await it.get('/trial-balance', alice)).statusCode, 403)
})
