import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { testProxy } from '@banking/testkit'
import t from 'tap'
import { type Bank, bank, type Test, type TestAccount } from './app.ts'

const people = Array.from({ length: 6 }, (_, n) => `person-${n}`)

/** A generator that repeats itself for the same seed, so that a failure can be run again. */
function random(seed: number) {
  let state = seed
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const pick = <T>(list: readonly T[], below: (n: number) => number): T => {
  const item = list[below(list.length)]
  if (item === undefined) throw new Error('nothing to pick from')
  return item
}

async function crowd(t: Test, balance: bigint) {
  const it = await bank(t)
  const accounts: TestAccount[] = []
  for (const person of people) accounts.push(await it.open(person, balance))
  return { it, accounts, total: balance * BigInt(people.length) }
}

function someOrder(accounts: readonly TestAccount[], below: (n: number) => number, most: number) {
  const from = pick(accounts, below)
  const to = pick(
    accounts.filter(account => account !== from),
    below,
  )
  return { from, to, amount: BigInt(1 + below(most)) }
}

t.test('lets exactly one of 100 parallel payments of the whole balance through', async t => {
  const it = await bank(t)
  const second = await it.start()
  const from = await it.open('alice', 5_000n)
  const targets = await Promise.all(people.map(person => it.open(person, 0n)))
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, n) =>
      it.pay(
        { from, to: targets[n % targets.length] as TestAccount, amount: 5_000n },
        { on: n % 2 === 0 ? it.app : second.app },
      ),
    ),
  )
  t.equal(answers.filter(({ statusCode }) => statusCode === 201).length, 1)
  const refused = answers.filter(({ statusCode }) => statusCode !== 201)
  t.same([...new Set(refused.map(answer => answer.json().code))], ['insufficient_funds'])
  t.match(await it.account(from.id), { posted: 0n })
  await it.audit(5_000n)
})

t.test('keeps the sum of all money through many concurrent transfers from two replicas', async t => {
  const { it, accounts, total } = await crowd(t, 20_000n)
  const second = await it.start()
  const below = random(20261124)
  const keys = new Map<string, string[]>()
  const jobs = Array.from({ length: 400 }, (_, n) => {
    const order = someOrder(accounts, below, 9_000)
    const key = `key-${n}`
    // Every eighth request is sent twice, to different replicas.
    const on = n % 2 === 0 ? [it.app, second.app] : [second.app, it.app]
    return (n % 8 === 0 ? on : on.slice(0, 1)).map(app => async () => {
      const answer = await it.pay(order, { key, on: app })
      t.ok([201, 409].includes(answer.statusCode), `${answer.statusCode} ${answer.body}`)
      if (answer.statusCode === 201) keys.set(key, [...(keys.get(key) ?? []), answer.body])
    })
  }).flat()
  // While money moves, every look at the books adds up.
  let moving = true
  const looking = (async () => {
    while (moving) {
      const books = (await it.get('/trial-balance', 'carl', { roles: ['compliance-officer'] })).json()
      t.match(books, { balanced: true, currencies: [{ sum: '0' }] })
      await delay(20)
    }
  })()
  await Promise.all(jobs.map(job => job()))
  moving = false
  await looking

  const [paid] = await it.owner.sql<{ n: number }[]>`SELECT count(*)::int AS n FROM payment WHERE state = 'posted'`
  t.equal(paid?.n, keys.size, 'one payment per key that succeeded')
  for (const bodies of keys.values()) t.equal(new Set(bodies).size, 1)
  t.equal(await it.count('outbox'), await it.count('payment'), 'one event per payment')
  await it.audit(total)
  await ordered(t, it)
})

/** Events of one account come in the order of its versions. */
async function ordered(t: Test, it: Bank) {
  const last = new Map<string, number>()
  for (const { event, key } of await it.events()) {
    t.ok(event.seq > (last.get(key) ?? 0), `event ${event.seq} of ${key} follows ${last.get(key)}`)
    last.set(key, event.seq)
  }
}

t.test('finishes every transfer of a storm in both directions', async t => {
  const it = await bank(t)
  const second = await it.start()
  const [a, b] = [await it.open('a', 10_000n), await it.open('b', 10_000n)]
  const answers = await Promise.all(
    Array.from({ length: 120 }, (_, n) => {
      const [from, to] = n % 2 === 0 ? [a, b] : [b, a]
      return it.pay({ from, to, amount: 1n }, { on: n % 3 === 0 ? second.app : it.app })
    }),
  )
  t.ok(answers.every(({ statusCode }) => statusCode === 201))
  t.match(await it.account(a.id), { posted: 10_000n })
  await it.audit(20_000n)
})

/** Sends each order until it is answered, always with its own key. */
async function insist(it: Bank, apps: Bank['app'][], orders: ReturnType<typeof someOrder>[]) {
  const seen: number[] = []
  const bodies = await Promise.all(
    orders.map(async (order, n) => {
      const key = randomUUID()
      for (let attempt = 0; attempt < 200; attempt += 1) {
        const answer = await it.pay(order, { key, on: apps[n % apps.length] as Bank['app'] })
        seen.push(answer.statusCode)
        if (answer.statusCode < 500 && answer.json().code !== 'key_in_flight') return answer.body
        await delay(20)
      }
      throw new Error('a payment was never answered')
    }),
  )
  return { seen, bodies }
}

t.test('loses and doubles nothing when the database’s connections are killed', async t => {
  const { it, accounts, total } = await crowd(t, 50_000n)
  const below = random(7)
  const orders = Array.from({ length: 200 }, () => someOrder(accounts, below, 500))
  // A role may end its own sessions.
  const { sql } = it.database.open()
  let kills = 0
  const killing = (async () => {
    for (let round = 0; round < 12; round += 1) {
      const rows = await sql`
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND usename = 'payment' AND pid <> pg_backend_pid()`
      kills += rows.length
      await delay(15)
    }
  })()
  const { seen, bodies } = await insist(it, [it.app], orders)
  await killing
  t.ok(kills > 0)
  t.ok(
    seen.every(status => [201, 503].includes(status)),
    `only success or 503, not ${[...new Set(seen)]}`,
  )
  t.equal(new Set(bodies).size, orders.length)
  t.equal(await it.count('payment'), orders.length, 'each was paid once')
  await it.audit(total)
})

t.test('answers 503 when the connection breaks, and tells the truth when asked again', async t => {
  const { it, accounts, total } = await crowd(t, 50_000n)
  const address = new URL(it.database.url)
  const proxy = await testProxy(t, { host: address.hostname, port: Number(address.port) })
  address.host = `${proxy.host}:${proxy.port}`
  const { app } = await it.start(address.href)
  const below = random(11)
  const orders = Array.from({ length: 60 }, () => someOrder(accounts, below, 500))
  const cutting = (async () => {
    for (let round = 0; round < 5; round += 1) {
      await delay(10)
      proxy.cut()
      await delay(10)
      await proxy.mend()
    }
  })()
  const { seen, bodies } = await insist(it, [app], orders)
  await cutting
  t.ok(
    seen.every(status => [201, 503].includes(status)),
    `only success or 503, not ${[...new Set(seen)]}`,
  )
  t.equal(new Set(bodies).size, orders.length)
  t.equal(await it.count('payment'), orders.length)
  await it.audit(total)
})

t.test('gives up on a locked account after two seconds, while others are served', async t => {
  const { it, accounts, total } = await crowd(t, 1_000n)
  const [locked, target, other, third] = accounts as [TestAccount, TestAccount, TestAccount, TestAccount]
  const stuck = await it.owner.sql.reserve()
  await stuck`BEGIN`
  await stuck`SELECT 1 FROM account WHERE id = ${locked.id} FOR UPDATE`
  const key = randomUUID()
  const waiting = it.pay({ from: locked, to: target, amount: 1n }, { key })
  t.equal((await it.pay({ from: other, to: third, amount: 1n })).statusCode, 201)
  const refused = await waiting
  t.equal(refused.statusCode, 503)
  t.ok(refused.headers['retry-after'])
  await stuck`ROLLBACK`
  stuck.release()
  t.equal((await it.pay({ from: locked, to: target, amount: 1n }, { key })).statusCode, 201)
  await it.audit(total)
})
