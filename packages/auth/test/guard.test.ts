import type { ServerResponse } from 'node:http'
import { createServer as createSocketServer } from 'node:net'
import { createServer } from '@banking/http'
import { createLogger, createMetrics } from '@banking/telemetry'
import t from 'tap'
import { createTokenCache } from '../src/cache.ts'
import auth, { type Access, routeAccess } from '../src/index.ts'
import { ecPair, guardedApp, type HostileIssuer, hostileIssuer, json, mint, publicJwk } from './hostile-issuer.ts'

type App = Awaited<ReturnType<typeof guardedApp>>['app']

const call = async (app: App, token: string, url = '/accounts', headers: Record<string, string> = {}) =>
  app.inject({ url, headers: { authorization: `Bearer ${token}`, ...headers } })
const statusOf = async (app: App, token: string): Promise<number> => (await call(app, token)).statusCode

/** A clock that only the test moves. */
function stoppedClock() {
  let at = Date.now()
  return {
    now: () => at,
    pass: (seconds: number) => {
      at += seconds * 1000
    },
  }
}

/** An app on a stopped clock, with tokens of the clock's time. */
async function clockedApp(t: Parameters<typeof hostileIssuer>[0]) {
  const issuer = await hostileIssuer(t)
  const clock = stoppedClock()
  const guarded = await guardedApp(t, issuer, { now: clock.now })
  const token = (kid = 'good', pair = issuer.pair) =>
    mint(issuer.header({ kid }), issuer.claims({}, clock.now()), pair.privateKey)
  return { issuer, clock, token, ...guarded }
}

const outage = (issuer: HostileIssuer) => issuer.answers((_request, response) => response.writeHead(500).end())
const recovery = (issuer: HostileIssuer) =>
  issuer.answers((_request, response) => json(response, { keys: issuer.keys }))

t.test('a person is who the token says', async t => {
  const { app, issuer } = await clockedApp(t)
  const claims = {
    sub: 'alice',
    sid: 's',
    acr: '1',
    auth_time: 7,
    scope: 'payment-api openid',
    iat: undefined,
    exp: undefined,
  }
  const now = Math.floor(Date.now() / 1000)
  const response = await call(app, issuer.token({ ...claims, iat: now, exp: now + 60 }))
  t.same(response.json(), {
    user: {
      kind: 'person',
      sub: 'alice',
      client: 'banking-web-app',
      roles: ['customer'],
      scopes: ['payment-api', 'openid'],
      sid: 's',
      acr: '1',
      authTime: 7,
      expiresAt: now + 60,
    },
  })
})

t.test('a service that acts for itself has no session and no roles', async t => {
  const { app, issuer } = await clockedApp(t)
  const { user } = (await call(app, issuer.serviceToken('loan-service'), '/internal')).json()
  t.match(user, { kind: 'service', client: 'loan-service', roles: [] })
  t.notOk('sid' in user)
})

t.test('role, scope and kind decide together', async t => {
  const { app, issuer } = await clockedApp(t)
  const person = (...roles: string[]) => issuer.token({ realm_access: { roles } })
  const tokens = {
    customer: person('customer'),
    'loan officer': person('loan-officer'),
    administrator: person('banking-admin'),
    'risk analyst': person('risk-analyst'),
    'compliance officer': person('compliance-officer'),
    'customer and compliance officer': person('customer', 'compliance-officer'),
    'nobody in particular': person(),
    'loan service': issuer.serviceToken('loan-service'),
    'audit service': issuer.serviceToken('audit-service'),
    'other service': issuer.serviceToken('customer-service'),
    'service with a person’s role': issuer.serviceToken('loan-service', { realm_access: { roles: ['customer'] } }),
    'customer without the scope': issuer.token({ scope: 'openid' }),
    'loan service without the scope': issuer.serviceToken('loan-service', { scope: 'risk-api' }),
  }
  const matrix: Record<string, Record<string, string>> = {}
  for (const [who, token] of Object.entries(tokens)) {
    const row: Record<string, string> = {}
    for (const url of ['/accounts', '/staff', '/internal', '/balance', '/open']) {
      const response = await call(app, token, url, { 'x-purpose': 'application 12' })
      row[url] = response.statusCode === 200 ? 'yes' : `${response.statusCode} ${response.json().code}`
    }
    matrix[who] = row
  }
  const no = '403 role_missing'
  const narrow = '403 scope_insufficient'
  const row = (accounts: string, staff: string, internal: string, balance: string) => ({
    '/accounts': accounts,
    '/staff': staff,
    '/internal': internal,
    '/balance': balance,
    '/open': 'yes',
  })
  t.same(matrix, {
    customer: row('yes', no, no, no),
    'loan officer': row(no, 'yes', no, no),
    administrator: row(no, 'yes', no, no),
    'risk analyst': row(no, no, no, no),
    'compliance officer': row(no, no, no, 'yes'),
    'customer and compliance officer': row('yes', no, no, 'yes'),
    'nobody in particular': row(no, no, no, no),
    'loan service': row(no, no, 'yes', no),
    'audit service': row(no, no, no, 'yes'),
    'other service': row(no, no, no, no),
    'service with a person’s role': row(no, no, 'yes', no),
    'customer without the scope': row(narrow, narrow, narrow, narrow),
    'loan service without the scope': row(narrow, narrow, narrow, narrow),
  })
})

t.test('a read that needs a purpose is refused without one', async t => {
  const { app, issuer } = await clockedApp(t)
  const officer = issuer.token({ realm_access: { roles: ['loan-officer'] } })
  for (const headers of [
    {},
    { 'x-purpose': '' },
    { 'x-purpose': '   ' },
    { 'x-purpose': 'x'.repeat(201) },
    { 'x-purpose': 'a\u00e9' },
  ]) {
    const response = await call(app, officer, '/staff', headers)
    t.same([response.statusCode, response.json().code], [403, 'purpose_missing'])
  }
  t.equal((await call(app, officer, '/staff', { 'x-purpose': 'application 12' })).statusCode, 200)
})

t.test('a service may name the clients that call on a person’s behalf', async t => {
  const issuer = await hostileIssuer(t)
  const { app } = await guardedApp(t, issuer, { clients: ['banking-web-app', 'loan-service'] })
  t.equal(await statusOf(app, issuer.token({ azp: 'loan-service', client_id: 'loan-service' })), 200)
  t.equal(await statusOf(app, issuer.token({ azp: 'risk-service', client_id: 'risk-service' })), 401)
})

t.test('what does not exist needs no token and says no more', async t => {
  const { app, issuer } = await clockedApp(t)
  const nothing = await app.inject('/nothing')
  t.same([nothing.statusCode, nothing.json().code], [404, 'not_found'])
  t.notOk(nothing.headers['www-authenticate'])
  const method = await app.inject({ method: 'DELETE', url: '/accounts' })
  t.same([method.statusCode, method.json().code], [405, 'method_not_allowed'])
  t.equal(issuer.fetches(), 0)
})

t.test('HEAD needs what GET needs', async t => {
  const { app, issuer } = await clockedApp(t)
  t.equal((await app.inject({ method: 'HEAD', url: '/accounts' })).statusCode, 401)
  const headers = { authorization: `Bearer ${issuer.token()}` }
  t.equal((await app.inject({ method: 'HEAD', url: '/accounts', headers })).statusCode, 200)
  t.equal((await app.inject({ method: 'OPTIONS', url: '/accounts' })).statusCode, 405)
})

t.test('a public route asks for nothing and knows nobody', async t => {
  const { app, issuer } = await clockedApp(t)
  t.same((await call(app, issuer.token(), '/open')).json(), { user: null })
  t.same((await app.inject('/open')).json(), { user: null })
  t.equal(issuer.fetches(), 0)
})

t.test('the server refuses to start with a route that does not say who may call it', async t => {
  const issuer = await hostileIssuer(t)
  const { app } = await guardedApp(t, issuer)
  const handler = async () => ({})
  const scope = 'payment-api'
  t.throws(() => app.get('/silent', handler), /Route GET \/silent states no config.access/)
  t.throws(() => app.route({ method: ['PUT', 'OPTIONS'], url: '/silent', handler }), /Route PUT,OPTIONS \/silent/)
  await t.rejects(
    async () => app.register(async scoped => scoped.get('/silent', handler), { prefix: '/nested' }),
    /Route GET \/nested\/silent states no config.access/,
  )
  const flawed: [unknown, RegExp][] = [
    ['private', /neither `public` nor an object/],
    [null, /neither `public` nor an object/],
    [{ roles: ['customer'] }, /states no scope/],
    [{ roles: ['customer'], scope: '' }, /states no scope/],
    [{ roles: ['customer'], scope: 'a b' }, /states no scope/],
    [{ scope }, /neither roles nor services/],
    [{ scope, roles: [] }, /unknown role/],
    [{ scope, roles: 'customer' }, /unknown role/],
    [{ scope, roles: ['customers'] }, /unknown role/],
    [{ scope, services: ['Loan Service'] }, /malformed client id/],
    [{ scope, role: ['customer'], services: ['loan-service'] }, /unknown member of access: role/],
    [{ scope, roles: ['customer'], owner: true }, /ownership rule/],
    [{ scope, roles: ['customer'], purpose: 'yes' }, /purpose/],
  ]
  for (const [access, message] of flawed)
    t.throws(() => app.get('/flawed', { config: { access: access as Access } }, handler), message)
})

t.test('a route from before the guard stays closed', async t => {
  const issuer = await hostileIssuer(t)
  const logger = createLogger({ name: 'payment', level: 'silent' })
  const metrics = createMetrics('payment')
  const app = await createServer({ title: 'x', description: 'x', logger, metrics })
  app.get('/early', async () => ({ secret: 1 }))
  await app.register(auth, { issuer: issuer.url, audience: 'payment-service', logger, metrics })
  t.teardown(() => app.close())
  t.equal((await call(app as App, issuer.token(), '/early')).statusCode, 500)
})

t.test('the statements of all routes can be listed', async t => {
  const { app } = await clockedApp(t)
  const scope = 'payment-api'
  t.same(routeAccess(app), [
    { method: 'GET', path: '/accounts', access: { roles: ['customer'], scope } },
    { method: 'POST', path: '/accounts', access: { roles: ['customer'], scope } },
    { method: 'GET', path: '/balance', access: { roles: ['compliance-officer'], services: ['audit-service'], scope } },
    { method: 'GET', path: '/internal', access: { services: ['loan-service'], scope } },
    { method: 'GET', path: '/open', access: 'public' },
    { method: 'GET', path: '/staff', access: { roles: ['loan-officer', 'banking-admin'], scope, purpose: true } },
  ])
  const logger = createLogger({ name: 'x', level: 'silent' })
  const bare = await createServer({ title: 'x', description: 'x', logger, metrics: createMetrics('x') })
  t.throws(() => routeAccess(bare), /not registered/)
})

t.test('the API document says of each operation which token it takes', async t => {
  const { app } = await clockedApp(t)
  await app.ready()
  const { paths, components } = app.swagger() as {
    paths: Record<string, Record<string, { security?: unknown }>>
    components: { securitySchemes: Record<string, unknown> }
  }
  t.same(paths['/staff']?.get?.security, [{ bearer: ['payment-api'] }])
  t.equal(paths['/open']?.get?.security, undefined)
  t.same(Object.keys(components.securitySchemes), ['bearer'])
})

t.test('a token is verified once a minute and never believed beyond its end', async t => {
  const { app, issuer, clock, metrics } = await clockedApp(t)
  const outcomes = async () =>
    Object.fromEntries(
      [...(await metrics()).matchAll(/^auth_tokens_total\{outcome="(\w+)".*\} (\d+)$/gm)].map(([, outcome, n]) => [
        outcome,
        Number(n),
      ]),
    )
  const now = Math.floor(clock.now() / 1000)
  const token = mint(issuer.header(), issuer.claims({ iat: now, exp: now + 100 }), issuer.pair.privateKey)
  const times = async (seconds: number): Promise<number> => {
    clock.pass(seconds)
    return statusOf(app, token)
  }
  t.equal(await times(0), 200)
  t.equal(await times(30), 200)
  t.equal(await times(29), 200)
  t.same(await outcomes(), { verified: 1, cached: 2 }, 'one signature in the first minute')
  t.equal(await times(1), 200)
  t.same(await outcomes(), { verified: 2, cached: 2 }, 'another in the second')
  t.equal(await times(45), 200, 'past its end within the skew')
  t.equal(await times(5), 401, 'past the skew')
  t.equal((await outcomes()).token_invalid, 1)
})

t.test('a token with one character changed does not hit the cache', async t => {
  const { app, token } = await clockedApp(t)
  const good = token()
  t.equal(await statusOf(app, good), 200)
  t.equal(await statusOf(app, `${good.slice(0, -20)}${good.at(-20) === 'A' ? 'B' : 'A'}${good.slice(-19)}`), 401)
})

t.test('what the guard keeps of tokens is bounded and frozen', async t => {
  const cache = createTokenCache(10)
  const principal = Object.freeze({
    kind: 'person' as const,
    sub: 's',
    client: 'c',
    roles: [],
    scopes: [],
    expiresAt: 0,
  })
  for (let index = 0; index < 1000; index += 1) cache.set(`t${index}`, { principal, until: 10, generation: 0 })
  const kept = Array.from({ length: 1000 }, (_, index) => cache.get(`t${index}`, 0, 0)).filter(Boolean)
  t.ok(kept.length <= 20, `${kept.length} of 1000`)
  const { app, issuer } = await clockedApp(t)
  app.get('/vandal', { config: { access: { roles: ['customer'], scope: 'payment-api' } } }, async request => {
    t.throws(() => Object.assign(request.user, { sub: 'x' }))
    t.throws(() => (request.user.roles as string[]).push('banking-admin'))
    t.throws(() => (request.user.scopes as string[]).push('admin-api'))
    return {}
  })
  t.equal((await call(app, issuer.token(), '/vandal')).statusCode, 200)
})

t.test('fifty first requests share one fetch', async t => {
  const { app, issuer, token } = await clockedApp(t)
  const good = token()
  t.same(new Set(await Promise.all(Array.from({ length: 50 }, () => statusOf(app, good)))), new Set([200]))
  t.equal(issuer.fetches(), 1)
})

t.test('a flood of unknown key ids costs one fetch per 30 seconds, and good tokens go on', async t => {
  const { app, issuer, clock, token } = await clockedApp(t)
  const good = token()
  t.equal(await statusOf(app, good), 200)
  const flood = () => Promise.all(Array.from({ length: 60 }, (_, index) => statusOf(app, token(`k${index}`))))
  t.same(new Set(await flood()), new Set([401]))
  t.equal(issuer.fetches(), 1, 'none within the cool-down of the first fetch')
  clock.pass(30)
  t.same(new Set(await flood()), new Set([401]))
  t.same(new Set(await flood()), new Set([401]))
  t.equal(issuer.fetches(), 2)
  clock.pass(29)
  await flood()
  t.equal(issuer.fetches(), 2)
  clock.pass(1)
  await flood()
  t.equal(issuer.fetches(), 3)
  t.equal(await statusOf(app, good), 200)
})

t.test('what cannot be a good token costs no fetch, however long ago the last one was', async t => {
  const { app, issuer, clock, token } = await clockedApp(t)
  t.equal(await statusOf(app, token()), 200)
  const stranger = ecPair()
  const kid = 'unknown'
  const hopeless: [object, object][] = [
    [{ alg: 'HS256', kid }, {}],
    [{ kid: '../keys' }, {}],
    [{ kid: 'k'.repeat(65) }, {}],
    [{ typ: 'JWT', kid }, {}],
    [{ jku: issuer.origin, kid }, {}],
    [{ kid }, { iss: `${issuer.url}/` }],
    [{ kid }, { aud: 'loan-service' }],
    [{ kid }, { exp: 1 }],
    [{ kid }, { typ: 'ID' }],
  ]
  for (const [header, claims] of hopeless) {
    clock.pass(31)
    const forged = mint(issuer.header({ ...header }), issuer.claims({ ...claims }, clock.now()), stranger.privateKey)
    t.equal(await statusOf(app, forged), 401)
  }
  t.equal(issuer.fetches(), 1)
})

t.test('a new key works at once when the last fetch is older than the cool-down', async t => {
  const { app, issuer, clock, token } = await clockedApp(t)
  const next = ecPair()
  t.equal(await statusOf(app, token()), 200)
  issuer.keys.push(publicJwk(next, { kid: 'next', alg: 'ES256' }))
  t.equal(await statusOf(app, token('next', next)), 401, 'unknown within the cool-down')
  clock.pass(30)
  t.equal(await statusOf(app, token('next', next)), 200)
  t.equal(await statusOf(app, token()), 200, 'the old key works on')
  t.equal(issuer.fetches(), 2)
})

t.test('a removed key stops working at the next refresh, in the cache too', async t => {
  const { app, issuer, clock } = await clockedApp(t)
  const next = ecPair()
  const old = issuer.token({}, {}, clock.now())
  t.equal(await statusOf(app, old), 200)
  issuer.keys = [publicJwk(next, { kid: 'next', alg: 'ES256' })]
  clock.pass(31)
  t.equal(await statusOf(app, old), 200, 'still believed')
  t.equal(
    await statusOf(app, mint(issuer.header({ kid: 'next' }), issuer.claims({}, clock.now()), next.privateKey)),
    200,
  )
  t.equal(await statusOf(app, old), 401, 'the refresh for the new key ended it')
  t.equal(issuer.fetches(), 2)
})

t.test('a removed key stops working within five minutes of steady traffic', async t => {
  const { app, issuer, clock } = await clockedApp(t)
  const now = Math.floor(clock.now() / 1000)
  const long = mint(issuer.header(), issuer.claims({ iat: now, exp: now + 3600 }), issuer.pair.privateKey)
  t.equal(await statusOf(app, long), 200)
  issuer.keys = [publicJwk(ecPair(), { kid: 'next', alg: 'ES256' })]
  const statuses: number[] = []
  for (let second = 10; second <= 310; second += 10) {
    clock.pass(10)
    statuses.push(await statusOf(app, long))
  }
  t.ok(statuses.indexOf(401) > 0, 'believed at first')
  t.same(new Set(statuses.slice(statuses.indexOf(401))), new Set([401]), 'and never again after')
})

t.test('a key that was replaced under its id is a new key', async t => {
  const { app, issuer, clock } = await clockedApp(t)
  const old = issuer.token({}, {}, clock.now())
  t.equal(await statusOf(app, old), 200)
  issuer.keys = [publicJwk(ecPair(), { kid: 'good', alg: 'ES256' })]
  clock.pass(31)
  await statusOf(app, issuer.token({}, { kid: 'unknown' }, clock.now()))
  t.equal(await statusOf(app, old), 401)
})

t.test('keys are refreshed beside the requests before they are too old', async t => {
  const { app, issuer, clock, token } = await clockedApp(t)
  await statusOf(app, token())
  clock.pass(250)
  const refreshed = new Promise<void>(resolve => {
    issuer.answers((_request, response) => {
      json(response, { keys: issuer.keys })
      response.on('finish', resolve)
    })
  })
  t.equal(await statusOf(app, token()), 200)
  await refreshed
  t.equal(issuer.fetches(), 2)
})

t.test('in an outage of the provider keys are believed for 15 minutes, then the answer is 503', async t => {
  const { app, issuer, clock, token, log } = await clockedApp(t)
  t.equal(await statusOf(app, token()), 200)
  outage(issuer)
  clock.pass(6 * 60)
  t.equal(await statusOf(app, token()), 200)
  const unknown = await call(app, token('unknown'))
  t.same([unknown.statusCode, unknown.json().code], [503, 'keys_unavailable'], 'an unknown key may be a new one')
  clock.pass(8 * 60)
  t.equal(await statusOf(app, token()), 200)
  clock.pass(2 * 60)
  const response = await call(app, token())
  t.same([response.statusCode, response.json().code], [503, 'keys_unavailable'])
  t.equal(response.headers['retry-after'], '5')
  t.match(log(), 'could not be fetched')
  recovery(issuer)
  clock.pass(30)
  t.equal(await statusOf(app, token()), 200, 'and the bank is open again')
})

t.test('in an outage the provider is asked less and less often', async t => {
  const { app, issuer, clock, token } = await clockedApp(t)
  outage(issuer)
  for (let second = 0; second < 120; second += 1) {
    t.equal(await statusOf(app, token()), 503)
    clock.pass(1)
  }
  t.ok(issuer.fetches() >= 5 && issuer.fetches() <= 9, `${issuer.fetches()} fetches in two minutes`)
})

t.test('a provider that starts later than the service is found', async t => {
  const { app, issuer, clock, token } = await clockedApp(t)
  outage(issuer)
  t.equal(await statusOf(app, token()), 503)
  recovery(issuer)
  clock.pass(1)
  t.equal(await statusOf(app, token()), 200)
})

t.test('a provider that hangs holds no request', async t => {
  const silent = createSocketServer(() => {})
  await new Promise<void>(resolve => silent.listen(0, '127.0.0.1', resolve))
  t.teardown(() => silent.close())
  const { port } = silent.address() as { port: number }
  const dripping = (_request: unknown, response: ServerResponse) => {
    const drip = setInterval(() => response.write(' '), 100)
    response.on('close', () => clearInterval(drip))
  }
  const kinds: { name: string; answer: Parameters<HostileIssuer['answers']>[0]; jwksUrl?: string }[] = [
    { name: 'no answer', answer: () => {} },
    { name: 'no end of the headers', answer: request => request.socket.write('HTTP/1.1 200 OK\r\n') },
    { name: 'a slow drip', answer: dripping },
    { name: 'a port that accepts and says nothing', answer: () => {}, jwksUrl: `http://127.0.0.1:${port}/keys` },
  ]
  await Promise.all(
    kinds.map(async ({ name, answer, jwksUrl }) => {
      const issuer = await hostileIssuer(t)
      issuer.answers(answer)
      const { app } = await guardedApp(t, issuer, jwksUrl === undefined ? {} : { jwksUrl })
      // A guard that waits for the provider waits here until the runner ends the file.
      t.equal(await statusOf(app, issuer.token()), 503, name)
      await app.close()
    }),
  )
})

t.test('closing ends a fetch under way and leaves nothing behind', async t => {
  const issuer = await hostileIssuer(t)
  const asked = new Promise<void>(resolve => issuer.answers(() => resolve()))
  const { app, log } = await guardedApp(t, issuer)
  const pending = call(app, issuer.token())
  await asked
  await app.close()
  t.equal((await pending).statusCode, 503)
  t.notMatch(log(), 'could not be fetched', 'it was not left to time out')
  t.same(
    process.getActiveResourcesInfo().filter(resource => resource === 'Timeout'),
    [],
  )
})

t.test('the log says why a token was refused and nothing of what was in it', async t => {
  const { app, issuer, log } = await clockedApp(t)
  const token = issuer.token({ aud: 'loan-service', sub: 'somebody-secret' })
  await call(app, token)
  t.match(log(), /"reason":"audience"/)
  t.notMatch(log(), 'somebody-secret')
  t.notMatch(log(), token.split('.')[1] ?? '')
})

t.test('fetch and the place of the keys can be given', async t => {
  const issuer = await hostileIssuer(t)
  const asked: string[] = []
  const { app } = await guardedApp(t, issuer, {
    jwksUrl: 'https://elsewhere.example/keys',
    fetch: async (url, init) => {
      asked.push(`${url} ${init.redirect}`)
      const body = (async function* () {
        yield Buffer.from(JSON.stringify({ keys: issuer.keys }))
      })()
      return { status: 200, body }
    },
  })
  t.equal(await statusOf(app, issuer.token()), 200)
  t.same(asked, ['https://elsewhere.example/keys error'])
})
