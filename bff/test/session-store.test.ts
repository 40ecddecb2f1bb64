import { problem } from '@banking/contracts'
import { createMetrics } from '@banking/telemetry'
import { eventually, parts, sessionStoreConformance, testLogger, testProxy } from '@banking/testkit'
import t, { type Test } from 'tap'
import { connectRedis, type Redis } from '../src/redis.ts'
import { createSessionStore, type SessionStore } from '../src/sessions/session-store.ts'
import { redisServer } from './redis-server.ts'
import { SimulatedStore, sessionStoreOf } from './simulated-store.ts'
import { answers } from './tracked.ts'

const { redis: url } = parts(t, 'redis')

async function connected(t: Test, address = url): Promise<Redis> {
  const redis = connectRedis({ url: address, logger: testLogger().logger, metrics: createMetrics('bff') })
  t.teardown(redis.close)
  if (address === url) await answers(redis)
  return redis
}

const absolute = 8 * 60 * 60_000

const isThere = (redis: Redis): Promise<boolean> =>
  redis.check().then(
    () => true,
    () => false,
  )

/** Redis has no clock that could be moved, but every key that may pass away has its time left. */
async function advance(redis: Redis, id: string, ms: number): Promise<void> {
  for (const space of ['s', 'i', 'x', 'e', 'r', 'l', 'c']) {
    const key = `${space}:{${id}}`
    const left = Number(await redis.run('PTTL', key))
    if (left === -1) throw new Error(`${key} never passes away`)
    if (left > ms) await redis.run('PEXPIRE', key, String(left - ms))
    else if (left >= 0) await redis.run('DEL', key)
  }
}

void t.test('in Redis', t => sessionStoreConformance(t, inRedis))
void t.test('as the simulation of the protocol has it', t => sessionStoreConformance(t, async () => simulated()))

async function inRedis(t: Test) {
  const redis = await connected(t)
  return {
    store: createSessionStore(redis, absolute),
    other: createSessionStore(await connected(t), absolute),
    unreachable: createSessionStore(await connected(t, 'redis://127.0.0.1:1'), absolute),
    advance: (id: string, ms: number) => advance(redis, id, ms),
  }
}

/** What the stories of protocol.property.test.ts are played on must be what Redis is. */
function simulated() {
  let offset = 0
  const listeners: Parameters<SessionStore['watch']>[0][] = []
  const simulated = new SimulatedStore(
    () => Date.now() + offset,
    id => {
      for (const { changed } of listeners) changed(id)
    },
  )
  const watch: SessionStore['watch'] = listener => {
    listeners.push(listener)
    listener.ready()
    return () => true
  }
  const at = (ask: <T>(work: () => T) => Promise<T>) => sessionStoreOf(simulated, ask, watch)
  return {
    store: at(async work => work()),
    other: at(async work => work()),
    unreachable: at(async () => {
      throw problem('sessions_unavailable')
    }),
    async advance(_id: string, ms: number) {
      offset += ms
    },
  }
}

t.test('queues nothing while there is no connection: a write that failed never happens later', async t => {
  const { hostname, port } = new URL(url)
  const link = await testProxy(t, { host: hostname, port: Number(port) })
  const redis = await connected(t, `redis://127.0.0.1:${link.port}`)
  const key = `test:${process.pid}`
  await answers(redis)
  link.cut()
  await eventually(async () => !(await isThere(redis)))
  // The connection is seen to be lost; now there is none.
  await new Promise(resolve => setTimeout(resolve, 100))
  await t.rejects(redis.run('SET', key, 'late'), { code: 'sessions_unavailable' })
  await link.mend()
  await answers(redis)
  await new Promise(resolve => setTimeout(resolve, 500))
  t.equal(await redis.run('GET', key), null)
})

t.test('says once that it cannot reach Redis, also when it never could', async t => {
  const { logger, lines } = testLogger()
  const redis = connectRedis({ url: 'redis://127.0.0.1:1', logger, metrics: createMetrics('bff') })
  t.teardown(redis.close)
  const said = () => lines().filter(({ msg }) => msg === 'no connection to redis')
  await eventually(() => said().length !== 0)
  // Long enough for some more tries.
  await new Promise(resolve => setTimeout(resolve, 300))
  t.match(said(), [{ level: 'error', err: { code: 'ECONNREFUSED' } }])
  t.equal(said().length, 1)
})

t.test('says it again when the reason is another one: Redis is back, and refuses the password', async t => {
  const link = await testProxy(t, { host: '127.0.0.1', port: 1 })
  const { logger, lines } = testLogger()
  const redis = connectRedis({ url: `redis://127.0.0.1:${link.port}`, logger, metrics: createMetrics('bff') })
  t.teardown(redis.close)
  const said = () => lines().filter(({ msg }) => msg === 'no connection to redis')
  await eventually(() => said().length === 1)
  link.lead(await redisServer(t, { password: 'another' }))
  await eventually(() => said().length === 2)
  t.match(said()[1], { err: { message: /^NOAUTH/ } })
  // Long enough for some more tries.
  await new Promise(resolve => setTimeout(resolve, 1_000))
  t.equal(said().length, 2)
})

const keepBusy = (ms: number): void => {
  const until = performance.now() + ms
  while (performance.now() < until);
}

t.test('does not blame Redis while this process is too busy to hear it', async t => {
  const redis = await connected(t)
  const answers = Array.from({ length: 20 }, () => redis.run('PING'))
  keepBusy(300)
  t.same(new Set((await Promise.all(answers)).map(String)), new Set(['PONG']))
})

t.test('does not blame Redis while this process works on what it has answered', async t => {
  const redis = await connected(t)
  const key = `test:large:${process.pid}`
  t.teardown(() => redis.run('DEL', key))
  await redis.run('SET', key, Buffer.alloc(16 * 1024), 'PX', '60000')
  // More than one turn of the event loop reads from a socket, and each turn takes long.
  const answers = Array.from({ length: 220 }, () => redis.run('GET', key).then(() => keepBusy(1.5)))
  t.equal((await Promise.all(answers)).length, 220)
})
