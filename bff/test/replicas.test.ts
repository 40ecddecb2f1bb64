import { once } from 'node:events'
import { IncomingMessage, request, ServerResponse } from 'node:http'
import { type AddressInfo, Socket } from 'node:net'
import { createMetrics } from '@banking/telemetry'
import { eventually, parts, testLogger } from '@banking/testkit'
import t, { type Test } from 'tap'
import { identityOf } from '../src/sessions/seal.ts'
import { createSessionStore } from '../src/sessions/session-store.ts'
import type { Session } from '../src/sessions/sessions.ts'
import { createStreams } from '../src/sessions/streams.ts'
import { type Browser, type Cookie, type Edge, edge, origin, testUpstream } from './edge.ts'
import { alice, type Person, type TestProvider } from './provider.ts'

parts(t, 'redis')
const minute = 60_000
t.setTimeout(120_000)

/** Three edges on one Redis, one provider and the same keys, as three replicas of one deployment. */
async function replicas(t: Test, upstreamAnswer?: Parameters<typeof testUpstream>[1]) {
  const upstream = await testUpstream(t, upstreamAnswer)
  const upstreams = { payment: upstream.origin, customer: upstream.origin }
  const first = await edge(t, { upstreams })
  const shared = { upstreams, provider: first.provider, clientKeyFile: first.keyFile }
  const others = [await edge(t, { ...shared, sessionKeys: first.config.sessionKeys })]
  others.push(await edge(t, { ...shared, sessionKeys: first.config.sessionKeys }))
  const all = [first, ...others]
  return {
    all,
    provider: first.provider,
    redis: first.redis,
    upstream,
    advance: (ms: number) => {
      for (const each of all) each.advance(ms)
    },
    /** One person, whose requests may go to any replica. */
    async person(who: Person = alice): Promise<Browser[]> {
      const [home, ...away] = all.map(each => each.browser()) as [Browser, ...Browser[]]
      await home.login(who)
      for (const each of away) each.jar.set('__Host-session', home.jar.get('__Host-session') as Cookie)
      return [home, ...away]
    },
  }
}

const payments = (person: Browser | undefined) => (person as Browser).fetch('/api/payments/accounts')
const idOf = (person: Browser | undefined) => identityOf(person?.cookie())?.id as string
async function sessionOf(each: Edge | undefined, person: Browser | undefined): Promise<Session> {
  const found = await (each as Edge).sessions.find(person?.cookie())
  if ('over' in found) throw new Error(`the session is over: ${found.over}`)
  return found.session
}
const statuses = (responses: { statusCode: number }[]) => [...new Set(responses.map(({ statusCode }) => statusCode))]
const metric = async (each: Edge, name: string): Promise<number> =>
  Number(new RegExp(`^${name}\\S* (\\d+)`, 'm').exec(await each.metrics.text())?.[1] ?? 0)

/** A lease as an owner leaves it that was killed while it asked the provider. */
async function leaseOfTheDead(redis: Edge['redis'], id: string): Promise<void> {
  const version = (await redis.run('HGET', `s:{${id}}`, 'v')) as Buffer
  await redis.run('SET', `l:{${id}}`, 'the dead', 'PX', '300')
  await redis.run('HSET', `c:{${id}}`, 'v', version, 'n', '1', 'o', 'the dead')
  await redis.run('PEXPIRE', `c:{${id}}`, '132000')
}

/** Holds the provider's answer to a refresh back until it is let go; the token is redeemed by then. */
function held(provider: TestProvider) {
  const reached = Promise.withResolvers<void>()
  const open = Promise.withResolvers<void>()
  provider.hooks.token = async (grant, honest) => {
    const answer = await honest()
    if (grant === 'refresh_token') {
      reached.resolve()
      await open.promise
    }
    return answer
  }
  return { reached: reached.promise, open: () => open.resolve() }
}

for (const rotate of [false, true])
  t.test(`three replicas refresh once for 200 requests at the end of the token, rotation ${rotate}`, async t => {
    const { provider, advance, person, all } = await replicas(t)
    provider.settings.rotate = rotate
    const browsers = await person()
    await payments(browsers[0])
    const before = { ...provider.calls }
    advance(6 * minute)
    const responses = await Promise.all(Array.from({ length: 200 }, (_, i) => payments(browsers[i % 3])))
    t.same(statuses(responses), [200])
    t.equal((provider.calls['refresh_token'] ?? 0) - (before['refresh_token'] ?? 0), 1)
    t.ok((provider.calls['exchange'] ?? 0) - (before['exchange'] ?? 0) <= all.length)
    advance(6 * minute)
    t.equal((await payments(browsers[2])).statusCode, 200, 'the refreshed session was kept')
  })

t.test('a token endpoint that takes four seconds is asked once: the lease is renewed as long as it runs', async t => {
  const { provider, advance, person, redis } = await replicas(t)
  provider.settings.rotate = true
  const browsers = await person()
  advance(6 * minute)
  provider.hooks.token = async (grant, honest) => {
    if (grant === 'refresh_token') await new Promise(resolve => setTimeout(resolve, 4_000))
    return honest()
  }
  const responses = await Promise.all(Array.from({ length: 60 }, (_, i) => payments(browsers[i % 3])))
  t.same(statuses(responses), [200])
  t.equal(provider.calls['refresh_token'], 1)
  t.equal(await redis.run('EXISTS', `l:{${idOf(browsers[0])}}`), 0, 'and given back')
})

t.test('an owner that was killed before its call left is taken over, and everybody gets an answer', async t => {
  const { provider, advance, person, redis } = await replicas(t)
  const browsers = await person()
  advance(6 * minute)
  await leaseOfTheDead(redis, idOf(browsers[0]))
  const responses = await Promise.all(Array.from({ length: 60 }, (_, i) => payments(browsers[i % 3])))
  t.same(statuses(responses), [200])
  t.equal(provider.calls['refresh_token'], 1)
})

t.test('an owner that was killed after the provider rotated costs one try and a clean 401', async t => {
  const { provider, advance, person, redis } = await replicas(t)
  const browsers = await person()
  advance(6 * minute)
  provider.forgetGrants()
  await leaseOfTheDead(redis, idOf(browsers[0]))
  const responses = await Promise.all(Array.from({ length: 60 }, (_, i) => payments(browsers[i % 3])))
  t.same(statuses(responses), [401])
  for (const response of responses) t.match(response.json(), { code: 'login_required', reason: 'ended' })
  t.equal(provider.calls['refresh_token'], 1)
})

t.test('a token whose owners vanished twice is not asked for again while their calls may run', async t => {
  const { provider, advance, person, redis } = await replicas(t)
  const browsers = await person()
  advance(6 * minute)
  const id = idOf(browsers[0])
  await leaseOfTheDead(redis, id)
  await redis.run('HSET', `c:{${id}}`, 'n', '2')
  await redis.run('DEL', `l:{${id}}`)
  const waiting = payments(browsers[1])
  await new Promise(resolve => setTimeout(resolve, 1_000))
  t.equal(provider.calls['refresh_token'], undefined)
  await redis.run('DEL', `c:{${id}}`)
  t.equal((await waiting).statusCode, 200)
})

t.test('a lease that Redis has lost stops its owner, whose answer is never written', async t => {
  const { provider, advance, person, redis } = await replicas(t)
  const browsers = await person()
  advance(6 * minute)
  const gate = held(provider)
  const refreshing = payments(browsers[0])
  await gate.reached
  const id = idOf(browsers[0])
  await redis.run('SET', `l:{${id}}`, 'another', 'PX', '3000')
  await eventually(() => provider.calls['refresh_token'] === 2)
  gate.open()
  t.equal((await refreshing).statusCode, 200)
  t.equal(String(await redis.run('HGET', `s:{${id}}`, 'v')), '2', 'one of the two calls was written')
})

t.test('a refresh token that was refused ends no session that another replica is at, or has refreshed', async t => {
  const { provider, advance, person, redis } = await replicas(t)
  const browsers = await person()
  const id = idOf(browsers[0])
  const meanwhile: (() => Promise<unknown>)[] = [
    () => redis.run('SET', `l:{${id}}`, 'another', 'PX', '600'),
    // Its sealed content stays: what came of the other's call is still to be renewed here.
    () => redis.run('HINCRBY', `s:{${id}}`, 'v', '1'),
  ]
  for (const happens of meanwhile) {
    advance(6 * minute)
    provider.hooks.token = async (grant, honest) => {
      if (grant !== 'refresh_token') return honest()
      delete provider.hooks.token
      await happens()
      return { status: 400, body: { error: 'invalid_grant' } }
    }
    t.equal((await payments(browsers[0])).statusCode, 200)
    t.equal(provider.hooks.token, undefined, 'it was asked')
  }
  t.equal(await redis.run('EXISTS', `s:{${id}}`), 1)
})

t.test('a sign-out on one replica wins over a refresh on another', async t => {
  const { provider, advance, person } = await replicas(t)
  provider.settings.rotate = true
  const browsers = await person()
  const cookie = browsers[0]?.jar.get('__Host-session') as Cookie
  advance(6 * minute)
  const gate = held(provider)
  const refreshing = payments(browsers[0])
  await gate.reached
  const out = await browsers[1]?.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  t.equal(out?.statusCode, 200)
  gate.open()
  t.match((await refreshing).json(), { code: 'login_required', reason: 'ended' })
  for (const each of browsers) {
    each.jar.set('__Host-session', cookie)
    t.equal((await payments(each)).statusCode, 401)
  }
  await eventually(() => provider.revoked.length === 2)
})

t.test('a logout of a person covers a login that began before it, which is then done anew, once', async t => {
  const { browser, provider, redis, config } = await edge(t)
  const covered = { ...alice, sub: `covered-${process.pid}` }
  const person = browser()
  const callback = await person.start('/', covered)
  await createSessionStore(redis, config.session.absolute).bury({ sub: covered.sub })
  const again = await person.comeBack(callback)
  t.match(again.headers.location, `${provider.issuer}/auth`)
  t.equal(person.cookie(), undefined)
  const later = { ...covered, auth_time: Math.floor(Date.now() / 1000) + 2 }
  const finished = await person.comeBack(provider.login(String(again.headers.location), later))
  t.equal(finished.headers.location, '/', 'who proved it after the logout is let in')
  const old = browser()
  const stale = await old.comeBack(await old.start('/', { ...covered, auth_time: later.auth_time - 60 }))
  const refused = await old.comeBack(
    provider.login(String(stale.headers.location), { ...covered, auth_time: later.auth_time - 60 }),
  )
  t.equal(refused.statusCode, 400, 'but not a second time')
  t.equal(old.cookie(), undefined)
})

t.test('a page load costs one look into Redis, and a change by another replica is heard', async t => {
  const { all, person } = await replicas(t)
  const browsers = await person()
  const [, second] = all as [Edge, Edge, Edge]
  const looks = () => metric(second, 'bff_session_lookups_total')
  const before = await looks()
  await Promise.all(Array.from({ length: 50 }, () => payments(browsers[1])))
  t.equal((await looks()) - before, 1)
  await payments(browsers[1])
  t.equal((await looks()) - before, 1)
  const cookie = browsers[0]?.jar.get('__Host-session') as Cookie
  await browsers[0]?.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  browsers[1]?.jar.set('__Host-session', cookie)
  const started = performance.now()
  await eventually(async () => (await payments(browsers[1])).statusCode === 401)
  t.ok(performance.now() - started < 1_000)
})

t.test('what is remembered is forgotten when Redis cannot be heard, and answers stay right', async t => {
  const { all, person, redis } = await replicas(t)
  const browsers = await person()
  const [, second] = all as [Edge, Edge, Edge]
  const looks = () => metric(second, 'bff_session_lookups_total')
  await payments(browsers[1])
  for (const line of String(await redis.run('CLIENT', 'LIST')).split('\n')) {
    const id = /^id=(\d+).* flags=[A-Za-z]*t/.exec(line)?.[1]
    if (id !== undefined) await redis.run('CLIENT', 'KILL', 'ID', id)
  }
  const before = await looks()
  await eventually(async () => {
    t.equal((await payments(browsers[1])).statusCode, 200)
    return (await looks()) > before
  })
  const cookie = browsers[0]?.jar.get('__Host-session') as Cookie
  await browsers[0]?.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  browsers[1]?.jar.set('__Host-session', cookie)
  await eventually(async () => (await payments(browsers[1])).statusCode === 401)
})

/** A stream on a real socket. @returns its answer once that begins */
async function openStream(t: Test, { app }: Edge, person: Browser | undefined): Promise<IncomingMessage> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const headers = {
    host: 'localhost:3000',
    cookie: `__Host-session=${person?.cookie()}`,
    'x-csrf': '1',
    accept: 'text/event-stream',
  }
  const asked = request({ host: '127.0.0.1', port, path: '/api/payments/stream', headers })
  asked.end()
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  t.equal(response.statusCode, 200)
  response.on('error', () => undefined).resume()
  return response
}

t.test('a stream closes within a second of a sign-out on another replica', async t => {
  const { all, person } = await replicas(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.flushHeaders()
  })
  const [, second, third] = all as [Edge, Edge, Edge]
  const browsers = await person()
  const streams = await Promise.all([second, third].map(each => openStream(t, each, browsers[0])))
  const ends = Promise.all(streams.map(stream => once(stream, 'close')))
  const started = performance.now()
  await browsers[0]?.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  await ends
  t.ok(performance.now() - started < 1_000)
})

t.test('a stream whose session ends before its upstream has answered closes as it opens', async t => {
  const asked = Promise.withResolvers<void>()
  const gate = Promise.withResolvers<void>()
  const { all, person } = await replicas(t, async (_request, response) => {
    asked.resolve()
    await gate.promise
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.flushHeaders()
  })
  const browsers = await person()
  const opening = openStream(t, all[1] as Edge, browsers[1])
  await asked.promise
  const session = await sessionOf(all[0], browsers[0])
  await browsers[0]?.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  // Heard by then: nothing is told of it any more.
  await eventually(async () => !(await all[1]?.sessions.isAlive(session)))
  await new Promise(resolve => setTimeout(resolve, 100))
  const started = performance.now()
  gate.resolve()
  await once(await opening, 'close')
  t.ok(performance.now() - started < 1_000)
})

t.test(
  'a stream that could not be looked after as its session ended is looked after at once, not at the next round',
  async t => {
    const { all, person } = await replicas(t)
    const [first] = all as [Edge]
    const browsers = await person()
    const session = await sessionOf(first, browsers[0])
    const failed = Promise.withResolvers<void>()
    let failures = 1
    const streams = createStreams({
      sessions: {
        ...first.sessions,
        async isAlive(...asked) {
          const isAlive = await first.sessions.isAlive(...asked)
          if (isAlive || failures-- <= 0) return isAlive
          failed.resolve()
          throw new Error('no answer')
        },
      },
      logger: testLogger().logger,
      metrics: createMetrics('bff'),
    })
    t.teardown(() => streams.closeAll())
    const response = new ServerResponse(new IncomingMessage(new Socket()))
    streams.open(session, response)
    await browsers[1]?.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
    await failed.promise
    const started = performance.now()
    await eventually(() => response.writableEnded)
    t.ok(performance.now() - started < 3_000)
  },
)

t.test('a failover that lost a deletion and kept its tombstone brings nobody back', async t => {
  const { person, redis, provider } = await replicas(t)
  const browsers = await person()
  const cookie = browsers[0]?.jar.get('__Host-session') as Cookie
  const keys = ['s', 'i'].map(space => `${space}:{${idOf(browsers[0])}}`)
  // Of a binary answer no byte may be taken for text.
  const kept = await Promise.all(keys.map(key => redis.run('DUMP', key)))
  await browsers[0]?.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  const revoked = provider.revoked.length
  for (const [at, key] of keys.entries()) await redis.run('RESTORE', key, '0', kept[at] as Buffer)
  for (const each of browsers) {
    each.jar.set('__Host-session', cookie)
    const answer = await payments(each)
    t.equal(answer.statusCode, 401)
    t.match(answer.json(), { code: 'login_required', reason: 'revoked' })
  }
  t.equal(await redis.run('EXISTS', ...keys), 0)
  await eventually(() => provider.revoked.length > revoked)
})

t.test('a stream whose session only a tombstone covers closes at the next look', async t => {
  const { all, person, redis } = await replicas(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.flushHeaders()
  })
  const [first, second] = all as [Edge, Edge, Edge]
  const browsers = await person()
  const stream = await openStream(t, second, browsers[0])
  const ended = once(stream, 'close')
  const { sid = '' } = (await sessionOf(first, browsers[0])).person
  await createSessionStore(redis, first.config.session.absolute).bury({ sid })
  await second.streams.sweep()
  await ended
})

t.test('what is held for a session is forgotten as its record changes elsewhere', async t => {
  const { provider, person, redis } = await replicas(t)
  const browsers = await person()
  await payments(browsers[1])
  const id = idOf(browsers[0])
  await redis.run('DEL', `x:{${id}}`)
  await payments(browsers[1])
  t.equal(provider.calls['exchange'], 1, 'held')
  await redis.run('HSET', `s:{${id}}`, 'v', (await redis.run('HGET', `s:{${id}}`, 'v')) as Buffer)
  await eventually(async () => (await payments(browsers[1])).statusCode === 200 && provider.calls['exchange'] === 2)
})
