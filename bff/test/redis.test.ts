import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { eventually, testProxy } from '@banking/testkit'
import t from 'tap'
import { edge, origin } from './edge.ts'
import { commandClient, type RedisServer, redisServer, trackingClient } from './redis-server.ts'
import { answers, tracked } from './tracked.ts'

t.jobs = 1

const clients = async (server: RedisServer): Promise<number> =>
  String(await server.ask('CLIENT', 'LIST', 'TYPE', 'normal'))
    .trim()
    .split('\n').length

t.test('tells a change of a key by another client, its end and its expiry, and nothing of other keys', async t => {
  const server = await redisServer(t)
  const { next, isCurrent } = await tracked(t, server)
  t.equal(isCurrent(), true)
  await server.ask('SET', 'x:1', 'other')
  await server.ask('SET', 's:{1}', 'one')
  t.same(await next('key s:{1}'), [])
  await server.ask('PEXPIRE', 's:{1}', '50')
  t.same(await next('key s:{1}'), [])
  t.same(await next('key s:{1}'), [], 'the expiry itself')
  await server.ask('HSET', 's:{2}', 'field', 'value')
  t.same(await next('key s:{2}'), [])
  await server.ask('DEL', 's:{2}')
  t.same(await next('key s:{2}'), [])
})

t.test('a change by the connection that commands go through is told, too', async t => {
  const server = await redisServer(t)
  const { redis, next } = await tracked(t, server)
  await answers(redis)
  await redis.run('SET', 's:{own}', 'value')
  t.same(await next('key s:{own}'), [])
})

t.test('puts its prefix before each key, and tells changes below it alone, without it', async t => {
  const server = await redisServer(t)
  const { redis, next } = await tracked(t, { ...server, prefix: 'staff:' })
  await answers(redis)
  await redis.run('SET', 's:{1}', 'one')
  t.same(await next('key s:{1}'), [])
  await server.ask('SET', 's:{2}', 'another edge’s')
  await server.ask('SET', 'public:s:{3}', 'another edge’s')
  const bump = "return redis.call('INCR', KEYS[1])"
  t.equal(await redis.script(bump, ['s:{4}'], []), 1)
  t.same(await next('key s:{4}'), [], 'and of nothing else')
  t.same(((await server.ask('KEYS', 'staff:*')) as string[]).sort(), ['staff:s:{1}', 'staff:s:{4}'])
  await redis.remove(['s:{1}', 's:{4}', 's:{2}'])
  t.same(((await server.ask('KEYS', '*')) as string[]).sort(), ['public:s:{3}', 's:{2}'])
  t.same(await next('key s:{4}'), ['key s:{1}'], 'of three that were named the two of its own')
})

t.test('sends a script as a whole once to each server, and by its hash from then on', async t => {
  const server = await redisServer(t)
  const { redis } = await tracked(t, server)
  await answers(redis)
  const script = "return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}"
  const count = async (command: string) =>
    Number(
      new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(String(await server.ask('INFO', 'commandstats')))?.[1] ?? 0,
    )
  const run = async () => ((await redis.script(script, ['n:{1}'], ['\0\xff'])) as Buffer[]).map(String)
  for (let n = 1; n <= 5; n++) t.same(await run(), ['n:{1}', '\0\xff', String(n)])
  t.equal(await count('eval'), 1)
  t.equal(await count('evalsha'), 5)
  // As a server that was started again, or a replica that became the master, has none.
  await server.ask('SCRIPT', 'FLUSH')
  const answered = await Promise.all(Array.from({ length: 10 }, run))
  t.same(
    answered.map(([, , n]) => Number(n)).sort((a, b) => a - b),
    [6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  )
  t.same(await run(), ['n:{1}', '\0\xff', '16'])
  await t.rejects(redis.script('return redis.call("NO")', ['n:{1}'], []), { code: 'sessions_unavailable' })
})

t.test('when everything is deleted at once, everything is forgotten', async t => {
  const server = await redisServer(t)
  const { next, isCurrent } = await tracked(t, server)
  await server.ask('FLUSHALL')
  t.same(await next('lost'), [])
  t.same(await next('ready'), [])
  t.equal(isCurrent(), true)
})

t.test('a connection that is killed is lost at once, and found again', async t => {
  const server = await redisServer(t)
  const { next, metrics } = await tracked(t, server)
  for (let round = 0; round < 3; round++) {
    await server.ask('CLIENT', 'KILL', 'ID', await trackingClient(server))
    t.same(await next('lost'), [])
    t.same(await next('ready'), [])
    await server.ask('SET', 's:{again}', String(round))
    t.same(await next('key s:{again}'), [])
  }
  t.match(await metrics.text(), /redis_tracking_losses_total\{app="bff"\} 3/)
})

t.test('a Redis that hangs is lost within a second, although its connections stay open', async t => {
  const server = await redisServer(t)
  const { next, isCurrent, told } = await tracked(t, server)
  server.process.kill('SIGSTOP')
  const stopped = performance.now()
  t.same(await next('lost'), [])
  t.equal(isCurrent(), false)
  const took = performance.now() - stopped
  t.ok(took < 2_000, `${took} ms`)
  // A connection that is accepted by the kernel alone is not one that tells.
  await new Promise(resolve => setTimeout(resolve, 1_500))
  t.same(told, [])
  t.equal(isCurrent(), false)
  server.process.kill('SIGCONT')
  t.same(await next('ready'), [])
  await server.ask('SET', 's:{1}', 'one')
  await next('key s:{1}')
})

t.test('a network that swallows everything is lost within a second; no connection is left behind', async t => {
  const server = await redisServer(t)
  const link = await testProxy(t, server)
  const { redis, next, isCurrent } = await tracked(t, { url: `redis://127.0.0.1:${link.port}` })
  await answers(redis)
  link.stall()
  t.same(await next('lost'), [])
  t.equal(isCurrent(), false)
  await link.mend()
  t.same(await next('ready'), [])
  await answers(redis)
  await server.ask('SET', 's:{1}', 'one')
  await next('key s:{1}')
  // One for commands, one that is told, and the one that counts.
  await eventually(async () => (await clients(server)) <= 3)
})

t.test('a connection without answers is given up, however much is written to it', async t => {
  const server = await redisServer(t)
  const link = await testProxy(t, server)
  const { redis, lines } = await tracked(t, { url: `redis://127.0.0.1:${link.port}` })
  await answers(redis)
  link.stall()
  // What is written is no sign of life; TCP itself would try for a quarter of an hour.
  await eventually(async () => {
    await t.rejects(redis.run('GET', 's:{1}'), { code: 'sessions_unavailable' })
    return lines().some(({ msg }) => msg === 'no connection to redis')
  })
  t.match(
    lines().filter(({ msg }) => msg === 'no connection to redis'),
    [{ err: { message: 'redis answered no ping for 3000 ms' } }],
  )
  await link.mend()
  await answers(redis)
})

t.test('nothing is current while commands go to another server than changes come from', async t => {
  const [old, young] = [await redisServer(t), await redisServer(t)]
  for (const [server, name] of [
    [old, 'old'],
    [young, 'young'],
  ] as const)
    await server.ask('SET', 'name', name)
  // An address behind which another server takes over.
  const link = await testProxy(t, old)
  const { redis, next, told, isCurrent } = await tracked(t, { url: `redis://127.0.0.1:${link.port}` })
  await answers(redis)
  link.lead(young)
  await old.ask('CLIENT', 'KILL', 'ID', await trackingClient(old))
  await next('lost')
  await eventually(async () => (await trackingClient(young)) !== 'none')
  for (let asked = 0; asked < 20; asked++) {
    t.equal(String(await redis.run('GET', 'name')), 'old')
    t.equal(isCurrent(), false)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  t.notOk(told.includes('ready'))
  await old.kill()
  await next('ready')
  t.equal(String(await redis.run('GET', 'name')), 'young')
  await young.ask('SET', 's:{1}', 'one')
  await next('key s:{1}')
})

t.test('nothing is current either when commands are the first to reach the other server', async t => {
  const [old, young] = [await redisServer(t), await redisServer(t)]
  const link = await testProxy(t, old)
  const { redis, next, isCurrent } = await tracked(t, { url: `redis://127.0.0.1:${link.port}` })
  await answers(redis)
  link.lead(young)
  await old.ask('CLIENT', 'KILL', 'ID', await commandClient(old))
  await next('lost')
  t.equal(isCurrent(), false)
  await next('ready')
  await young.ask('SET', 's:{1}', 'one')
  await next('key s:{1}')
})

t.test('what is remembered may not be used once this process was paused, before any timer has run', async t => {
  const server = await redisServer(t)
  const { isCurrent, next, told } = await tracked(t, server)
  const until = performance.now() + 700
  while (performance.now() < until);
  t.same(told, [])
  t.equal(isCurrent(), false)
  await next('lost')
  await next('ready')
  t.equal(isCurrent(), true)
})

t.test('nothing is told any more after the end', async t => {
  const server = await redisServer(t)
  const { redis, told, isCurrent } = await tracked(t, server)
  await redis.close()
  t.same(told, ['lost'])
  t.equal(isCurrent(), false)
  await eventually(async () => (await clients(server)) <= 1)
  t.same(told, ['lost'])
})

t.test('a server that may not be written to, or is not ready yet, gives no answers', async t => {
  const server = await redisServer(t)
  const { redis, lines } = await tracked(t, server)
  await answers(redis)
  await server.ask('REPLICAOF', '127.0.0.1', '1')
  await t.rejects(redis.run('SET', 's:{1}', 'one'), { code: 'sessions_unavailable' })
  t.match(
    lines().filter(({ msg }) => msg === 'no connection to redis'),
    [{ err: { message: /^READONLY/ } }],
    'and its connection is given up',
  )
  await server.ask('REPLICAOF', 'NO', 'ONE')
  await answers(redis)
  await redis.run('SET', 's:{1}', 'one')
  t.equal(String(await redis.run('GET', 's:{1}')), 'one')
})

t.test('more commands than may wait are refused, and cost nobody the connection', async t => {
  const server = await redisServer(t)
  const { redis, lines } = await tracked(t, server)
  await answers(redis)
  server.process.kill('SIGSTOP')
  const sent = Promise.allSettled(Array.from({ length: 10_100 }, () => redis.run('GET', 's:{1}')))
  // Longer than between two pings of the connection, shorter than it may be silent.
  await new Promise(resolve => setTimeout(resolve, 1_500))
  server.process.kill('SIGCONT')
  const outcomes = new Set((await sent).map(({ status }) => status))
  t.same([...outcomes], ['rejected'])
  await answers(redis)
  t.same(
    lines().filter(({ msg }) => msg === 'no connection to redis'),
    [],
  )
})

t.test('without Sentinel there is no replica to wait for', async t => {
  const server = await redisServer(t)
  const { redis, metrics } = await tracked(t, server)
  await redis.settle()
  t.notMatch(await metrics.text(), /redis_settles_total\{/)
})

t.test('an edge needs no command that docs/running-the-edge.md does not list for its user', async t => {
  const server = await redisServer(t)
  const document = readFileSync(resolve(import.meta.dirname, '../../docs/running-the-edge.md'), 'utf8')
  const [, rules = ''] = /`user <name> (on [^`]+)`/.exec(document) ?? []
  const words = rules.replaceAll('\\|', '|').replace('<password>', 'secret').replace('<redis.prefix>', '').split(' ')
  await server.ask('ACL', 'SETUSER', 'edge', ...words)
  const { browser } = await edge(t, { redisUrl: server.url.replace('redis://', 'redis://edge:secret@') })
  const person = browser()
  const another = browser()
  for (const one of [person, another]) {
    await one.login()
    t.equal((await one.fetch('/oauth2/userinfo')).statusCode, 200)
    t.equal((await one.fetch('/api/customers')).statusCode, 200)
  }
  t.equal((await person.fetch('/oauth2/sessions')).statusCode, 200)
  t.equal((await person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })).statusCode, 200)
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 401)
  t.same(await server.ask('ACL', 'LOG'), [], 'nothing was refused')
})
