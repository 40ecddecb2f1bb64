import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Seed } from '@banking/contracts'
import t from 'tap'
import { bank } from './app.ts'

const run = promisify(execFile)
const [alice, bob] = ['a11ce000-0000-4000-8000-00000000000a', 'b0b00000-0000-4000-8000-00000000000b']
const aliceAccount = 'a11ce000-0000-4000-8000-0000000000aa'
const bobAccount = 'b0b00000-0000-4000-8000-0000000000bb'
const person = { email: '', phone: '', birthDate: '', roles: ['customer'] as const, note: '', familyName: 'Example' }
const address = { street: '', postalCode: '', city: '', country: 'DE' }

const seed: Seed = {
  people: [
    {
      ...person,
      address,
      sub: alice,
      username: 'alice',
      givenName: 'Alice',
      accounts: [
        {
          id: aliceAccount,
          iban: 'DE89370400440532013000',
          name: 'Current account',
          kind: 'current',
          currency: 'EUR',
          balance: '500000',
        },
      ],
    },
    {
      ...person,
      address,
      sub: bob,
      username: 'bob',
      givenName: 'Bob',
      accounts: [
        {
          id: bobAccount,
          iban: 'DE75512108001245126199',
          name: 'Current account',
          kind: 'current',
          currency: 'EUR',
          balance: '70000',
        },
      ],
    },
  ],
  payments: [
    {
      id: '5eed0000-0000-4000-8000-000000000001',
      daysAgo: 20,
      creditorAccountId: aliceAccount,
      counterparty: 'Employer',
      amount: '300000',
      reference: 'Salary',
    },
    {
      id: '5eed0000-0000-4000-8000-000000000002',
      daysAgo: 9,
      debtorAccountId: aliceAccount,
      counterparty: 'Market',
      amount: '4321',
      reference: 'Groceries',
    },
    {
      id: '5eed0000-0000-4000-8000-000000000003',
      daysAgo: 2,
      debtorAccountId: aliceAccount,
      creditorAccountId: bobAccount,
      amount: '2500',
      reference: 'Lunch',
    },
  ],
}

t.test('tells the seeded story to the cent, and tells it once', async t => {
  const { app, as, database, count, audit } = await bank(t)
  const folder = await mkdtemp(join(tmpdir(), 'seed-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const file = join(folder, 'seed.json')
  await writeFile(file, JSON.stringify(seed))
  const env = { ...process.env, DATABASE_URL: database.ownerUrl, SEED_FILE: file }
  const tell = () => run(process.execPath, [join(import.meta.dirname, '../src/seed.ts')], { env })

  await tell()
  const before = await count('posting')
  await tell()
  t.equal(await count('posting'), before, 'the second run adds nothing')
  t.equal(await count('outbox'), 0, 'history is not news')
  await audit(570_000n)

  const accounts = await app.inject({ url: '/api/payments/accounts', headers: await as(alice) })
  t.match(accounts.json(), {
    items: [{ id: aliceAccount, posted: { amount: '500000', currency: 'EUR' }, available: { amount: '500000' } }],
  })
  const postings = await app.inject({
    url: `/api/payments/accounts/${aliceAccount}/postings`,
    headers: await as(alice),
  })
  t.match(postings.json().items, [
    { seq: 4, amount: { amount: '-2500' }, balanceAfter: { amount: '500000' }, counterparty: { name: 'Bob Example' } },
    { seq: 3, amount: { amount: '-4321' }, counterparty: { name: 'Market' }, kind: 'external', reference: 'Groceries' },
    { seq: 2, amount: { amount: '300000' }, counterparty: { name: 'Employer' } },
    { seq: 1, amount: { amount: '206821' }, kind: 'opening' },
  ])
  const [latest] = postings.json().items
  t.equal(
    (await app.inject({ url: `/api/payments/${latest.paymentId}`, headers: await as(alice) })).json().state,
    'posted',
    'a seeded payment can be looked at like any other',
  )
})
