import { eventually } from '@banking/testkit'
import t, { type Test } from 'tap'
import { upstreamDefaults } from '../src/config/options.ts'
import type { ExchangeTarget } from '../src/provider/oidc.ts'
import type { Upstream } from '../src/proxy/upstreams.ts'
import { identityOf, seal } from '../src/sessions/seal.ts'
import { type Browser, type Cookie, type Edge, edge, testUpstream } from './edge.ts'
import { alice, type TestProvider } from './provider.ts'

/** Upstreams of these names at one service, each with the target of its tokens. */
const table = (origin: string, targets: Readonly<Record<string, ExchangeTarget>>): Upstream[] =>
  Object.entries(targets).map(([name, target]) => ({
    ...upstreamDefaults,
    name,
    prefix: `/api/${name}`,
    origin,
    token: 'exchange',
    ...target,
  }))

/** An edge with these upstreams, and one person logged in. */
async function exchanging(
  t: Test,
  targets: Readonly<Record<string, ExchangeTarget>>,
  prepare: (provider: TestProvider) => void = () => undefined,
) {
  const upstream = await testUpstream(t)
  const under = await edge(t, { upstreams: table(upstream.origin, targets) })
  prepare(under.provider)
  const person = under.browser()
  await person.login()
  return { ...under, upstream, person }
}

/** Another replica, with an empty memory of its own. */
const replicaOf = (t: Test, { provider, config, keyFile }: Edge) =>
  edge(t, { provider, clientKeyFile: keyFile, sessionKeys: config.sessionKeys, upstreams: config.upstreams })

/** The same browser at another replica. */
function movedTo(replica: Edge, person: Browser): Browser {
  const moved = replica.browser()
  moved.jar.set('__Host-session', person.jar.get('__Host-session') as Cookie)
  return moved
}

/** Whether each request that reached a service had a token for the audience and scope of its upstream. */
function assertOwnTokens(
  t: Test,
  { upstream, provider }: Awaited<ReturnType<typeof exchanging>>,
  targets: Readonly<Record<string, ExchangeTarget>>,
): void {
  for (const { url, headers } of upstream.seen) {
    const token = provider.exchanged.get(String(headers.authorization).slice('Bearer '.length))
    const { audience, scope = null } = targets[url.split('/')[2] ?? ''] as ExchangeTarget
    t.match(token, { audience, scope, sub: alice.sub }, url)
  }
}

const scopes = {
  read: { audience: 'orders', scope: 'orders:read' },
  write: { audience: 'orders', scope: 'orders:write' },
  all: { audience: 'orders' },
}

t.test('two upstreams with one audience and different scopes never get each other’s token', async t => {
  for (const order of [
    ['read', 'write', 'all'],
    ['all', 'write', 'read'],
  ]) {
    const under = await exchanging(t, scopes)
    for (const name of order) t.equal((await under.person.fetch(`/api/${name}`)).statusCode, 200)
    for (const name of order) t.equal((await under.person.fetch(`/api/${name}`)).statusCode, 200)
    t.equal(under.provider.calls['exchange'], 3, 'one exchange for each')
    assertOwnTokens(t, under, scopes)
  }
})

t.test('nor when they ask at the same moment', async t => {
  const under = await exchanging(t, scopes)
  const names = Array.from({ length: 30 }, (_, n) => Object.keys(scopes)[n % 3])
  const answers = await Promise.all(names.map(name => under.person.fetch(`/api/${name}`)))
  t.same(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]))
  t.equal(under.provider.calls['exchange'], 3)
  assertOwnTokens(t, under, scopes)
})

t.test('nor by way of the store: another replica finds for each what was got for it', async t => {
  const under = await exchanging(t, scopes)
  await under.person.fetch('/api/read')
  await under.person.fetch('/api/all')
  const there = movedTo(await replicaOf(t, under), under.person)
  for (const name of ['write', 'all', 'read']) t.equal((await there.fetch(`/api/${name}`)).statusCode, 200)
  t.equal(under.provider.calls['exchange'], 3, 'one exchange for `write`, which nobody had asked for')
  assertOwnTokens(t, under, scopes)
})

t.test('audiences and scopes that read alike one after the other are different targets', async t => {
  const alike = {
    one: { audience: 'a b' },
    two: { audience: 'a', scope: 'b' },
    three: { audience: 'a b', scope: 'c' },
    four: { audience: 'a', scope: 'b c' },
    five: { audience: '["a","b"]' },
    six: { audience: 'a,b' },
    seven: { audience: 'a', scope: 'null' },
    eight: { audience: 'a' },
  }
  const under = await exchanging(t, alike)
  const there = movedTo(await replicaOf(t, under), under.person)
  for (const browser of [under.person, there])
    for (const name of Object.keys(alike)) t.equal((await browser.fetch(`/api/${name}`)).statusCode, 200)
  t.equal(under.provider.calls['exchange'], 8)
  assertOwnTokens(t, under, alike)
})

t.test('upstreams with the same audience and scope share one token', async t => {
  const { person, provider } = await exchanging(t, { one: scopes.read, two: { ...scopes.read } })
  await Promise.all(['one', 'two', 'one', 'two'].map(name => person.fetch(`/api/${name}`)))
  t.equal(provider.calls['exchange'], 1)
})

t.test('a stored token opens for the audience and scope that it was stored for, wherever it is put', async t => {
  const under = await exchanging(t, scopes)
  for (const name of Object.keys(scopes)) await under.person.fetch(`/api/${name}`)
  const key = `x:{${identityOf(under.person.cookie())?.id}}`
  const fields = ((await under.redis.run('HKEYS', key)) as Buffer[]).map(String)
  t.equal(fields.length, 3)
  const [first = '', ...others] = fields
  for (const field of others)
    await under.redis.run('HSET', key, first, (await under.redis.run('HGET', key, field)) as Buffer)
  for (const field of others)
    await under.redis.run('HSET', key, field, (await under.redis.run('HGET', key, first)) as Buffer)
  const there = movedTo(await replicaOf(t, under), under.person)
  for (const name of Object.keys(scopes)) t.equal((await there.fetch(`/api/${name}`)).statusCode, 200)
  assertOwnTokens(t, under, scopes)
})

t.test('what an earlier version stored by the audience alone is not found', async t => {
  const under = await exchanging(t, { all: scopes.all, read: scopes.read })
  const identity = identityOf(under.person.cookie()) as NonNullable<ReturnType<typeof identityOf>>
  const now = Date.now()
  const old = JSON.stringify({ token: 'of-an-earlier-version', issuedAt: now, expiresAt: now + 300_000 })
  const { sessionKeys } = under.config
  const sealed = seal(old, identity.secret, sessionKeys, ['token', identity.id, 'orders'])
  const key = `x:{${identity.id}}`
  await under.redis.run('HSET', key, 'orders', sealed)
  for (const name of ['all', 'read']) t.equal((await under.person.fetch(`/api/${name}`)).statusCode, 200)
  // Nor is it one when somebody who can write to the store moves it to where this version looks.
  for (const field of (await under.redis.run('HKEYS', key)) as Buffer[])
    await under.redis.run('HSET', key, String(field), sealed)
  const there = movedTo(await replicaOf(t, under), under.person)
  for (const name of ['all', 'read']) t.equal((await there.fetch(`/api/${name}`)).statusCode, 200)
  t.notOk(under.upstream.seen.some(({ headers }) => headers.authorization?.includes('of-an-earlier-version')))
  assertOwnTokens(t, under, { all: scopes.all, read: scopes.read })
})

// Refusals.

const orders = { orders: { audience: 'orders-service', scope: 'orders' } }
const refusing =
  (word: string, status = 400) =>
  (provider: TestProvider) => {
    provider.hooks.token = async (grant, honest) =>
      grant === 'exchange' ? { status, body: { error: word, error_description: 'a word of the provider’s' } } : honest()
  }
const alerts = ({ lines }: Pick<Edge, 'lines'>) => lines().filter(line => line['alert'] !== undefined)

for (const [word, hint] of Object.entries({
  invalid_target: /audience/,
  invalid_scope: /scope/,
  unauthorized_client: /client/,
  unsupported_grant_type: /exchange/,
  invalid_client: /client.*audience/,
}))
  t.test(`${word}: ends nothing, is asked once, told once, and says what to look at`, async t => {
    for (const refreshTokens of [true, false]) {
      const under = await exchanging(t, orders, provider => {
        provider.settings.refreshTokens = refreshTokens
        refusing(word, word === 'invalid_client' ? 401 : 400)(provider)
      })
      const { person, provider } = under
      for (let n = 0; n < 50; n++) {
        const answer = await person.fetch('/api/orders')
        t.equal(answer.statusCode, 502)
        t.match(answer.json(), { code: 'exchange_refused', error: word, detail: hint })
        t.notMatch(answer.body, /orders|a word of the provider/, 'the browser learns no name')
        t.equal(answer.headers['set-cookie'], undefined)
      }
      t.match(provider.calls, { exchange: 1, refresh_token: undefined })
      t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200, 'and the session lives')
      t.equal(alerts(under).length, 1)
      t.match(alerts(under)[0], { alert: 'exchange_refused', audience: 'orders-service', scope: 'orders', error: word })
    }
  })

t.test(
  'a refusal that is the configuration’s is remembered for everybody, and given up at the first token',
  async t => {
    const under = await exchanging(t, orders, refusing('invalid_target'))
    const { browser, provider, advance, stopClock } = under
    stopClock()
    const people = await Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        const one = browser()
        await one.login({ ...alice, sub: `person-${n}` })
        return one
      }),
    )
    for (const one of people) t.match((await one.fetch('/api/orders')).json(), { code: 'exchange_refused' })
    t.equal(provider.calls['exchange'], 1, 'twenty people, one call')
    advance(1_000)
    for (const one of people) t.match((await one.fetch('/api/orders')).json(), { code: 'exchange_refused' })
    t.equal(provider.calls['exchange'], 2, 'one more second, one more call')
    t.equal(alerts(under).length, 1)
    delete provider.hooks.token
    advance(1_000)
    const third = people[2] as Browser
    t.equal((await third.fetch('/api/orders')).statusCode, 200)
    t.equal((await (people[3] as Browser).fetch('/api/orders')).statusCode, 200, 'nobody is held back any more')
  },
)

t.test('a person who is refused holds nobody back at a target that others get tokens for', async t => {
  const under = await exchanging(t, orders)
  const { browser, provider, person } = under
  const refused = browser()
  await refused.login({ ...alice, sub: 'refused' })
  t.equal((await person.fetch('/api/orders')).statusCode, 200)
  refusing('invalid_target')(provider)
  for (let n = 0; n < 10; n++) t.match((await refused.fetch('/api/orders')).json(), { code: 'exchange_refused' })
  t.equal(provider.calls['exchange'], 2)
  delete provider.hooks.token
  const other = browser()
  await other.login({ ...alice, sub: 'other' })
  t.equal((await other.fetch('/api/orders')).statusCode, 200)
  t.same(alerts(under), [], 'and nobody is woken')
})

t.test('nor does one who came first', async t => {
  const { browser, provider, person, advance, stopClock } = await exchanging(t, orders)
  stopClock()
  provider.hooks.token = async (grant, honest, parameters) =>
    grant === 'exchange' && parameters.get('subject_token') === mine
      ? { status: 400, body: { error: 'invalid_target' } }
      : honest()
  const mine = provider.issued.findLast(token => token.startsWith('access-'))
  const other = browser()
  await other.login({ ...alice, sub: 'other' })
  t.match((await person.fetch('/api/orders')).json(), { code: 'exchange_refused' })
  advance(1_000)
  t.match((await person.fetch('/api/orders')).json(), { code: 'exchange_refused' })
  t.equal((await other.fetch('/api/orders')).statusCode, 200)
  t.equal(provider.calls['exchange'], 2, 'who was refused is not asked for again')
})

for (const word of ['invalid_request', 'invalid_grant', 'invalid_token'])
  t.test(`${word}: the session’s token is renewed once; refused again, it is the configuration`, async t => {
    const under = await exchanging(t, orders, refusing(word))
    const { person, provider } = under
    for (let n = 0; n < 50; n++) {
      const answer = await person.fetch('/api/orders')
      t.equal(answer.statusCode, 502)
      t.match(answer.json(), { code: 'exchange_refused', error: word, detail: /audience.*scope/ })
    }
    t.match(provider.calls, { exchange: 2, refresh_token: 1 })
    t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200)
    t.equal(alerts(under).length, 1)
    t.match(alerts(under)[0], { alert: 'exchange_refused', audience: 'orders-service', error: word })
    const other = under.browser()
    await other.login({ ...alice, sub: 'other' })
    t.match((await other.fetch('/api/orders')).json(), { code: 'exchange_refused' })
    t.ok((provider.calls['exchange'] ?? 0) <= 3, 'and costs nobody else a refresh')
    t.equal(provider.calls['refresh_token'], 1)
  })

t.test('a session without a refresh token whose token is refused lives on, and is asked for once', async t => {
  for (const word of ['invalid_request', 'invalid_grant', 'invalid_token']) {
    const under = await exchanging(t, orders, provider => {
      provider.settings.refreshTokens = false
    })
    const { person, provider, browser, advance } = under
    const other = browser()
    await other.login({ ...alice, sub: 'other' })
    const mine = provider.issued.findLast(token => token.startsWith('access-'))
    provider.hooks.token = async (grant, honest, parameters) =>
      grant === 'exchange' && parameters.get('subject_token') === mine
        ? { status: 400, body: { error: word } }
        : honest()
    for (let n = 0; n < 50; n++) {
      const answer = await other.fetch('/api/orders')
      t.equal(answer.statusCode, 502)
      t.match(answer.json(), { code: 'exchange_refused', error: word })
    }
    t.equal(provider.calls['exchange'], 1)
    t.equal((await other.fetch('/oauth2/userinfo')).statusCode, 200)
    t.equal((await person.fetch('/api/orders')).statusCode, 200, 'and nobody else is concerned')
    delete provider.hooks.token
    advance(30_000)
    t.equal((await other.fetch('/api/orders')).statusCode, 200, 'it is asked again after half a minute')
  }
})

t.test('a refusal is remembered for each target by itself', async t => {
  const { person, provider } = await exchanging(t, scopes)
  provider.hooks.token = async (grant, honest, parameters) =>
    grant === 'exchange' && parameters.get('scope') === 'orders:write'
      ? { status: 400, body: { error: 'invalid_scope' } }
      : honest()
  t.match((await person.fetch('/api/write')).json(), { code: 'exchange_refused', error: 'invalid_scope' })
  t.equal((await person.fetch('/api/read')).statusCode, 200)
  t.equal((await person.fetch('/api/all')).statusCode, 200)
})

t.test('a token that is still good is used on while its renewal is refused, at no call for each request', async t => {
  const { person, provider, advance, lines } = await exchanging(t, orders)
  t.equal((await person.fetch('/api/orders')).statusCode, 200)
  refusing('invalid_scope')(provider)
  advance(245_000)
  for (let n = 0; n < 20; n++) t.equal((await person.fetch('/api/orders')).statusCode, 200)
  await eventually(() => lines().some(line => line['msg'] === 'token exchange failed while the token is still valid'))
  advance(10_000)
  for (let n = 0; n < 20; n++) t.equal((await person.fetch('/api/orders')).statusCode, 200)
  // The refresh of the session, which is due at the same time, lets it try once more.
  t.ok([2, 3].includes(provider.calls['exchange'] ?? 0))
})

t.test('a replica that does not know a token yet waits for no renewal while the stored one is good', async t => {
  const under = await exchanging(t, orders)
  t.equal((await under.person.fetch('/api/orders')).statusCode, 200)
  const replica = await replicaOf(t, under)
  const there = movedTo(replica, under.person)
  replica.advance(245_000)
  under.provider.hooks.token = () => new Promise<never>(() => undefined)
  for (let n = 0; n < 5; n++) t.equal((await there.fetch('/api/orders')).statusCode, 200)
  assertOwnTokens(t, under, orders)
})

t.test('a token that an upstream refuses too is not asked for again while the exchange is refused', async t => {
  const upstream = await testUpstream(t, (_request, response) => {
    response.statusCode = 401
    response.end('{}')
  })
  const { browser, provider } = await edge(t, { upstreams: table(upstream.origin, orders) })
  const person = browser()
  await person.login()
  let exchanges = 0
  provider.hooks.token = async (grant, honest) =>
    grant === 'exchange' && exchanges++ > 0 ? { status: 400, body: { error: 'invalid_scope' } } : honest()
  for (let n = 0; n < 20; n++) t.equal((await person.fetch('/api/orders')).statusCode, 502)
  t.equal(provider.calls['exchange'], 2)
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200)
})

t.test('a word of the provider’s that is no error code is not passed on', async t => {
  const { person, provider } = await exchanging(t, orders)
  for (const word of ['<script>', 'x'.repeat(200), 'it is Alice Adams', 'access_denied_to_alice']) {
    refusing(word)(provider)
    const answer = await person.fetch('/api/orders')
    t.notMatch(answer.body, /script|xxx|[Aa]lice/)
    t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200)
  }
})

t.test('a provider that is away is no refusal: it is asked again at once', async t => {
  const { person, provider } = await exchanging(t, orders)
  for (const answer of [
    { status: 503, body: '' },
    { status: 429, body: '' },
  ]) {
    provider.hooks.token = async () => answer
    t.match((await person.fetch('/api/orders')).json(), { code: 'provider_unavailable' })
  }
  delete provider.hooks.token
  t.equal((await person.fetch('/api/orders')).statusCode, 200)
})

t.test('an answer that cannot be used is remembered for a moment', async t => {
  const { person, provider, advance } = await exchanging(t, orders)
  provider.hooks.token = async (grant, honest) => {
    const answer = await honest()
    return grant === 'exchange' ? { ...answer, body: { ...(answer.body as object), issued_token_type: 'x' } } : answer
  }
  for (let n = 0; n < 20; n++) t.match((await person.fetch('/api/orders')).json(), { code: 'provider_unavailable' })
  t.equal(provider.calls['exchange'], 1)
  delete provider.hooks.token
  advance(3_000)
  t.equal((await person.fetch('/api/orders')).statusCode, 200)
})
