import { createMetrics } from '@banking/telemetry'
import { eventually, testLogger, testProxy } from '@banking/testkit'
import t, { type Test } from 'tap'
import { connectRedis } from '../src/redis.ts'
import { identityOf } from '../src/sessions/seal.ts'
import { edge } from './edge.ts'
import { clientThatSaid, type RedisServer, redisServer, sentinelCluster, trackingClient } from './redis-server.ts'
import { answers, tracked } from './tracked.ts'

t.jobs = 1

/** A sentinel alone, which can be told who the master is. */
const lonely = (t: Test, { port }: RedisServer, epoch = 0) =>
  redisServer(t, { sentinel: [`sentinel monitor bank 127.0.0.1 ${port} 1`, `sentinel config-epoch bank ${epoch}`] })
const behind = (...sentinels: RedisServer[]) => ({
  sentinel: { name: 'bank', nodes: sentinels.map(({ port }) => `127.0.0.1:${port}`) },
})

t.test('leaves a master that still answers as soon as Sentinel names another', async t => {
  const [old, young] = [await redisServer(t), await redisServer(t)]
  const sentinel = await lonely(t, old)
  const { redis, next } = await tracked(t, behind(sentinel))
  await answers(redis)
  await redis.run('SET', 's:{1}', 'old')
  await next('key s:{1}')
  await sentinel.ask('SENTINEL', 'REMOVE', 'bank')
  await sentinel.ask('SENTINEL', 'MONITOR', 'bank', '127.0.0.1', String(young.port), '1')
  await next('lost')
  await next('ready')
  await answers(redis)
  await redis.run('SET', 's:{1}', 'young')
  t.same(await next('key s:{1}'), [])
  t.equal(await young.ask('GET', 's:{1}'), 'young')
  t.equal(await old.ask('GET', 's:{1}'), 'old')
})

t.test('believes the sentinel that knows of the latest failover, not the one that was cut off', async t => {
  const [old, young] = [await redisServer(t), await redisServer(t)]
  const [cutOff, informed, dead] = [await lonely(t, old, 3), await lonely(t, young, 4), await lonely(t, old)]
  await dead.kill()
  for (const sentinels of [
    [cutOff, informed, dead],
    [dead, informed, cutOff],
  ]) {
    const { redis } = await tracked(t, behind(...sentinels))
    await answers(redis)
    await redis.run('SET', 's:{1}', 'one')
    t.equal(await young.ask('GET', 's:{1}'), 'one')
    await young.ask('DEL', 's:{1}')
  }
})

t.test('says of each sentinel why it does not name the master', async t => {
  const sentinel = await lonely(t, await redisServer(t))
  const { logger, text } = testLogger()
  const sentinels = [`127.0.0.1:${sentinel.port}`, '127.0.0.1:1']
  const config = { name: 'shop', nodes: sentinels, password: 'not-for-the-log' }
  const redis = connectRedis({ sentinel: config, logger, metrics: createMetrics('bff') })
  t.teardown(redis.close)
  await eventually(() => text().includes('no connection to redis'))
  t.match(text(), /no sentinel names the master: 127\.0\.0\.1:\d+ [^;]+; 127\.0\.0\.1:1 [^;]*ECONNREFUSED/)
  t.notMatch(text(), 'not-for-the-log')
})

t.test('takes no replica for the master, whatever Sentinel says', async t => {
  const [master, replica] = [await redisServer(t), await redisServer(t)]
  await replica.ask('REPLICAOF', '127.0.0.1', String(master.port))
  const { logger, lines } = testLogger()
  const redis = connectRedis({ ...behind(await lonely(t, replica)), logger, metrics: createMetrics('bff') })
  t.teardown(redis.close)
  const said = () => lines().filter(({ msg }) => msg === 'no connection to redis')
  await eventually(() => said().length !== 0)
  await t.rejects(redis.run('GET', 's:{1}'), { code: 'sessions_unavailable' })
  await replica.ask('REPLICAOF', 'NO', 'ONE')
  await answers(redis)
})

t.test('a session that the new master has deleted is not remembered from the old one', async t => {
  const [old, young] = [await redisServer(t), await redisServer(t)]
  await young.ask('REPLICAOF', old.host, String(old.port))
  const link = await testProxy(t, old)
  const { browser, redis } = await edge(t, { redisUrl: `redis://127.0.0.1:${link.port}` })
  await answers(redis)
  const alice = browser()
  await alice.login()
  const key = `s:{${identityOf(alice.cookie())?.id}}`
  await eventually(async () => (await young.ask('EXISTS', key)) === 1)
  await young.ask('REPLICAOF', 'NO', 'ONE')
  // The connection that hears of changes is the first to reach the new master, commands go on to the old one.
  link.lead(young)
  await old.ask('CLIENT', 'KILL', 'ID', await trackingClient(old))
  await eventually(async () => (await trackingClient(young)) !== 'none')
  await young.ask('DEL', key)
  await new Promise(resolve => setTimeout(resolve, 100))
  t.equal((await alice.fetch('/oauth2/userinfo')).statusCode, 200, 'as the old master has it')
  await old.kill()
  let last = 503
  while (last === 503) {
    await new Promise(resolve => setTimeout(resolve, 20))
    last = (await alice.fetch('/oauth2/userinfo')).statusCode
  }
  t.equal(last, 401)
})

t.test('what one master has is not told to be on a replica because another one said so', async t => {
  const [old, young] = [await redisServer(t), await redisServer(t)]
  await old.ask('SET', 'name', 'old')
  const sentinel = await lonely(t, old)
  const { redis, metrics } = await tracked(t, behind(sentinel))
  await answers(redis)
  const failed = async () =>
    Number(/redis_settles_total\{outcome="failed".*\} (\d+)/.exec(await metrics.text())?.[1] ?? 0)
  const fails = async () => {
    const before = await failed()
    await redis.settle()
    return (await failed()) > before
  }
  const name = () => redis.run('GET', 'name').then(String, () => 'nowhere')
  for (;;) {
    await eventually(async () => (await name()) === 'old')
    await eventually(async () => !(await fails()))
    await sentinel.ask('SENTINEL', 'REMOVE', 'bank')
    await sentinel.ask('SENTINEL', 'MONITOR', 'bank', young.host, String(young.port), '1')
    // The connection that waits for replicas is the first to reach the new master.
    await old.ask('CLIENT', 'KILL', 'ID', await clientThatSaid(old, 'wait'))
    await eventually(async () => (await clientThatSaid(young, 'info')) !== 'none')
    await new Promise(resolve => setTimeout(resolve, 20))
    const hasFailed = await fails()
    // Commands may have come after it meanwhile: then both were on one server, or were not.
    if ((await name()) === 'old') {
      t.ok(hasFailed)
      break
    }
    await sentinel.ask('SENTINEL', 'REMOVE', 'bank')
    await sentinel.ask('SENTINEL', 'MONITOR', 'bank', old.host, String(old.port), '1')
  }
})

const cluster = await sentinelCluster(t)
const [first, second] = cluster.servers as [RedisServer, RedisServer]

t.test('a write can be told once a replica has it', async t => {
  const { redis, metrics } = await tracked(t, cluster.config)
  await answers(redis)
  await redis.run('SET', 's:{1}', 'one')
  await redis.settle()
  t.equal(await second.ask('GET', 's:{1}'), 'one')
  t.match(await metrics.text(), /redis_settles_total\{outcome="replicated",app="bff"\} 1/)
})

t.test('a replica that hangs holds up nobody for long, least of all other requests', async t => {
  const { redis, metrics } = await tracked(t, cluster.config)
  await answers(redis)
  second.process.kill('SIGSTOP')
  await redis.run('SET', 's:{1}', 'two')
  let isSettled = false
  const settled = Promise.all([redis.settle(), redis.settle(), redis.settle()]).then(() => {
    isSettled = true
  })
  await new Promise(resolve => setImmediate(resolve))
  t.equal(String(await redis.run('GET', 's:{1}')), 'two')
  await new Promise(resolve => setImmediate(resolve))
  t.equal(isSettled, false)
  await settled
  second.process.kill('SIGCONT')
  t.match(await metrics.text(), /redis_settles_total\{outcome="alone",app="bff"\} [12]/)
})

t.test('sessions and invalidations follow the master; nobody is told to be logged out', async t => {
  const { redis, browser } = await edge(t, { config: { redis: cluster.config } })
  const { next, told } = await tracked(t, cluster.config)
  await answers(redis)
  const alice = browser()
  await alice.login()
  await redis.settle()
  /** Asks on while one server is away, until the other has answered some times. */
  const failover = async (successor: RedisServer, take: () => unknown) => {
    const statuses: number[] = []
    await take()
    while ((await cluster.master()) !== successor || statuses.slice(-5).some(status => status !== 200)) {
      statuses.push((await alice.fetch('/oauth2/userinfo')).statusCode)
      await new Promise(resolve => setTimeout(resolve, 20))
    }
    t.same(new Set(statuses), new Set([200, 503]))
    await next('lost')
    // On a busy machine it may be lost more than once before it stays.
    const key = `s:{after ${successor.port}}`
    await eventually(async () => {
      await successor.ask('SET', key, 'value')
      return told.includes(`key ${key}`)
    })
  }

  await failover(second, () => first.process.kill('SIGSTOP'))
  // It still believes that it is the master, and so it will for a while.
  first.process.kill('SIGCONT')
  t.match(await first.ask('ROLE'), ['master'])
  const statuses = new Set<number>()
  for (let asked = 0; asked < 20; asked++) {
    statuses.add((await alice.fetch('/oauth2/userinfo')).statusCode)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  t.same([...statuses], [200])
  // Sentinel would do the same some seconds later.
  await first.ask('REPLICAOF', second.host, String(second.port))
  await eventually(async () => String(await first.ask('INFO', 'replication')).includes('master_link_status:up'))
  await failover(first, () => second.kill())
})
