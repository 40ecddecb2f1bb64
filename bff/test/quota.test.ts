import { randomUUID } from 'node:crypto'
import { createMetrics } from '@banking/telemetry'
import { parts, testLogger } from '@banking/testkit'
import t, { type Test } from 'tap'
import { createQuota, type Quota, type Rate } from '../src/admission/quota.ts'
import { connectRedis, type Redis } from '../src/redis.ts'
import { answers } from './tracked.ts'

async function redis(t: Test, url = parts(t, 'redis').redis): Promise<Redis & { asked: number; lost: boolean }> {
  const connection = connectRedis({ url, logger: testLogger().logger, metrics: createMetrics('bff') })
  t.teardown(() => connection.close())
  await answers(connection)
  const counted = {
    ...connection,
    asked: 0,
    lost: false,
    script: async (...args: Parameters<Redis['script']>) => {
      counted.asked++
      if (counted.lost) throw new Error('away')
      return connection.script(...args)
    },
  }
  return counted
}

/** Replicas that share one Redis and one name of buckets, with a clock of their own for what is local. */
async function replicas(t: Test, rate: Rate) {
  const store = await redis(t)
  const name = randomUUID()
  let time = 0
  const make = () => createQuota({ name, rate, redis: store, clock: () => time })
  const quotas: [Quota, Quota, Quota] = [make(), make(), make()]
  return {
    store,
    quotas,
    advance: (ms: number) => {
      time += ms
    },
  }
}

/** So many at once. @returns how many may go on */
async function ask(quota: Quota, times: number, subject = 'a'): Promise<number> {
  const waits = await Promise.all(Array.from({ length: times }, () => quota.take(subject)))
  return waits.filter(wait => wait === 0).length
}

// One request in 1,000 s: what Redis adds while a test runs is nothing.
const still = { perSecond: 0.001, burst: 400 }

t.test('lets exactly the burst through, however many ask at once', async t => {
  const { quotas, store } = await replicas(t, still)
  t.equal(await ask(quotas[0], 1_000), 400)
  t.equal(await ask(quotas[0], 100), 0)
  t.ok(store.asked <= 4, `${store.asked} round trips for 1,100 requests`)
  const wait = quotas[0].take('a')
  t.ok(typeof wait === 'number' && wait > 1_000, 'and says how long to wait, without asking again')
})

t.test('three replicas together let the burst through, and what they lend before they ask', async t => {
  const { quotas } = await replicas(t, still)
  const passed = (await Promise.all(quotas.map(quota => ask(quota, 500)))).reduce((sum, n) => sum + n)
  t.ok(passed >= 400 && passed <= 400 + 2 * 50, `${passed} passed`)
})

t.test('one replica after the other gets what the others left', async t => {
  const { quotas } = await replicas(t, still)
  t.equal(await ask(quotas[0], 100), 100)
  const second = await ask(quotas[1], 1_000)
  t.ok(second >= 400 - 100 - 50 && second <= 300, `${second} passed at the second`)
  const third = await ask(quotas[2], 1_000)
  t.ok(third <= 50, `${third} passed at the third: what it lends, no more`)
})

t.test('costs no round trip while little is asked for', async t => {
  const { quotas, store } = await replicas(t, still)
  for (let times = 0; times < 24; times++) t.equal(quotas[0].take('a'), 0)
  t.equal(store.asked, 0)
  for (let times = 0; times < 300; times++) {
    t.equal(await quotas[0].take('a'), 0)
    // A request is slower than this; the lease runs meanwhile.
    if (times % 10 === 0) await store.check()
  }
  t.ok(store.asked <= 14, `${store.asked} round trips for 324 requests`)
})

t.test('counts each subject for itself', async t => {
  const { quotas } = await replicas(t, { perSecond: 0.001, burst: 8 })
  t.equal(await ask(quotas[0], 20, 'a'), 8)
  t.equal(await ask(quotas[0], 20, 'b'), 8)
  t.equal(await ask(quotas[0], 20, 'a'), 0)
})

t.test('fills again with time', async t => {
  const { quotas, advance } = await replicas(t, { perSecond: 1_000, burst: 16 })
  t.ok((await ask(quotas[0], 1_000)) >= 16)
  // Redis goes by its own clock.
  await new Promise(resolve => setTimeout(resolve, 30))
  advance(30)
  const passed = await ask(quotas[0], 1_000)
  t.ok(passed >= 10, `${passed} passed after a while`)
})

t.test('goes on with a share of its own while Redis is away: never without a limit, never an error', async t => {
  const { quotas, store, advance } = await replicas(t, { perSecond: 100, burst: 400 })
  store.lost = true
  const [quota] = quotas
  t.equal(await ask(quota, 1_000), 50, 'one block')
  const asked = store.asked
  let passed = 0
  for (let tick = 0; tick < 100; tick++) {
    advance(100)
    passed += await ask(quota, 100)
  }
  t.ok(passed >= 950 && passed <= 1_000, `${passed} passed in ten seconds at 100 a second`)
  t.ok(store.asked - asked <= 11, 'and Redis is asked once a second at most')
  advance(3_600_000)
  t.equal(await ask(quota, 1_000), 50, 'an hour of silence saves up no more than a block')
  store.lost = false
  advance(2_000)
  // Redis goes by its own clock, and fills the bucket while it is emptied.
  const back = await ask(quota, 1_000)
  t.ok(back >= 350 && back < 400, `with Redis back the bucket is one again, less what was lent: ${back}`)
})

t.test('a connection that is not there is no error either', async t => {
  const nowhere = connectRedis({
    url: 'redis://127.0.0.1:1',
    logger: testLogger().logger,
    metrics: createMetrics('bff'),
  })
  t.teardown(() => nowhere.close())
  const quota = createQuota({ name: randomUUID(), rate: still, redis: nowhere })
  t.equal(await ask(quota, 200), 50)
})

t.test('gives back what was somebody else’s to pay', async t => {
  const { quotas } = await replicas(t, { perSecond: 0.001, burst: 8 })
  for (let times = 0; times < 50; times++) {
    t.equal(await quotas[0].take('a'), 0)
    quotas[0].giveBack('a')
  }
  quotas[0].giveBack('nobody')
})

t.test('forgets a subject once two generations of others have come: its memory is bounded', async t => {
  const [quota] = (await replicas(t, still)).quotas
  t.equal(await ask(quota, 500), 400)
  for (let other = 0; other < 49_000; other++) void quota.take(`one-${other}`)
  t.not(quota.take('a'), 0, 'not before')
  for (let other = 0; other < 110_000; other++) void quota.take(`two-${other}`)
  t.equal(quota.take('a'), 0, 'it begins with what is lent')
  t.not(await ask(quota, 60), 60, 'and Redis still knows that there is nothing left')
})
