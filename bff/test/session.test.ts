import { createMetrics } from '@banking/telemetry'
import { eventually, parts, testLogger, testProxy } from '@banking/testkit'
import t, { type Test } from 'tap'
import { readClientAuthentication } from '../src/provider/client-authentication.ts'
import { createProvider } from '../src/provider/oidc.ts'
import { identityOf } from '../src/sessions/seal.ts'
import { createSessionStore, type SessionStore } from '../src/sessions/session-store.ts'
import { createSessions } from '../src/sessions/sessions.ts'
import { type Browser, type Cookie, type Edge, edge, origin, testUpstream } from './edge.ts'
import { alice, bob, type TestProvider } from './provider.ts'

const minute = 60_000

/** An edge whose Redis can be taken away without touching the real one. */
async function edgeBehindProxy(t: Test): Promise<Edge & { link: Awaited<ReturnType<typeof testProxy>> }> {
  const url = new URL(parts(t, 'redis').redis)
  const link = await testProxy(t, { host: url.hostname, port: Number(url.port) })
  return { ...(await edge(t, { redisUrl: `redis://127.0.0.1:${link.port}` })), link }
}

const payments = (person: Browser, headers: Record<string, string> = {}) =>
  person.fetch('/api/payments/accounts', { headers })

t.test('answers 401 with a reason to scripts, never a redirect', async t => {
  const { browser } = await edge(t)
  const person = browser()
  for (const url of ['/oauth2/userinfo', '/api/payments/accounts']) {
    const response = await person.fetch(url)
    t.equal(response.statusCode, 401)
    t.match(response.json(), { code: 'login_required', reason: 'none' })
    t.equal(response.headers.location, undefined)
    t.equal(response.headers['content-type'], 'application/problem+json')
    t.ok(response.headers['www-authenticate'])
  }
})

t.test('answers a page that asks who is there without an error when nobody is, and for nothing else', async t => {
  const { browser, app } = await edge(t)
  const person = browser()
  const ask = (query: string) => person.fetch(`/oauth2/userinfo${query}`)
  const nobody = await ask('?anonymous=1')
  t.equal(nobody.statusCode, 200)
  t.same(nobody.json(), { reason: 'none' })
  t.equal(nobody.headers['cache-control'], 'no-store')
  t.equal((await ask('?anonymous=0')).statusCode, 401)
  t.equal((await app.inject('/oauth2/userinfo?anonymous=1')).statusCode, 403, 'only to our own script')
  t.equal((await person.fetch('/api/payments/accounts?anonymous=1')).statusCode, 401)
  await person.login(alice)
  t.match((await ask('?anonymous=1')).json(), { sub: alice.sub, session: {} })
  t.equal((await ask('?anonymous=2')).statusCode, 400)
})

t.test('takes nothing for a session but the cookie it has set', async t => {
  const { app, browser, redis } = await edge(t)
  const person = browser()
  await person.login()
  const cookie = person.cookie() as string
  const id = identityOf(cookie)?.id as string
  const ask = (cookies: string) =>
    app.inject({ url: '/oauth2/userinfo', headers: { cookie: cookies, 'x-csrf': '1' } }).then(r => r.statusCode)
  t.equal(await ask(`__Host-session=${cookie}`), 200)
  for (const wrong of [
    `__Host-session=${id}`,
    `__Host-session=s:{${id}}`,
    `__Host-session=${cookie}x`,
    `__Host-session=${cookie.slice(0, -1)}`,
    `__Host-session=${cookie.slice(0, -1)}${cookie.endsWith('A') ? 'B' : 'A'}`,
    `__Host-session=${cookie}=`,
    `__Host-session=${cookie}%00`,
    `__host-session=${cookie}`,
    `session=${cookie}`,
    `__Host-session=${'A'.repeat(43)}; __Host-session=${cookie}`,
    `__Host-session=${cookie}; __Host-session=${cookie}`,
    `__Host-session\t=evil;__Host-session=${cookie}`,
    '__Host-session=',
    `__Host-session=${'x'.repeat(8000)}`,
  ])
    t.equal(await ask(wrong), 401, wrong.slice(0, 60))
  // A neighbouring site can set these beside ours: neither may take ours away from its owner.
  for (const beside of [
    'x__Host-session=evil',
    'theme=__Host-session=evil',
    '__Host-sessions=evil',
    // A space to JavaScript, and to a browser a name without our prefix.
    '\u00a0__Host-session=evil',
  ])
    t.equal(await ask(`${beside}; __Host-session=${cookie}`), 200, beside)
  // The other spelling of the last character: the same bytes, another text.
  const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const twin = `${cookie.slice(0, -1)}${last[last.indexOf(cookie.at(-1) as string) + 1]}`
  t.equal(await ask(`__Host-session=${twin}`), 401, 'only the canonical spelling')
  t.equal(await ask(`__Host-session=${cookie}`), 200, 'and none of that ended the session')
  t.ok(redis)
})

t.test('keeps in Redis nothing that could be read, replayed or moved to another session', async t => {
  const { browser, redis, provider } = await edge(t)
  const [one, two] = [browser(), browser()]
  await one.login(alice)
  await two.login(bob)
  await payments(one)
  const idOf = (person: Browser) => identityOf(person.cookie())?.id as string
  const stored: Buffer[] = []
  for (const space of ['s', 'x']) {
    const values = (await redis.run('HVALS', `${space}:{${idOf(one)}}`)) as Buffer[]
    stored.push(...values)
  }
  const bytes = Buffer.concat(stored).toString('latin1')
  t.ok(bytes.length > 500)
  for (const secret of [...provider.issued, one.cookie() as string, alice.email, alice.sub])
    t.notOk(bytes.includes(secret))
  const sealed = (await redis.run('HGET', `s:{${idOf(two)}}`, 'd')) as Buffer
  await redis.run('HSET', `s:{${idOf(one)}}`, 'd', sealed)
  // The edge hears of the change and looks again.
  await eventually(async () => (await one.fetch('/oauth2/userinfo')).statusCode !== 200)
  t.match(
    (await one.fetch('/oauth2/userinfo')).json(),
    { code: 'login_required' },
    'bob’s record is not alice’s session',
  )
})

t.test('opens records of an older server key and seals with the current one', async t => {
  const first = await edge(t)
  const person = first.browser()
  await person.login()
  const old = first.config.sessionKeys
  const keys = new Map([...old.keys, ['k2', Buffer.from(old.keys.get('k1') as Buffer).reverse()]])
  const shared = { provider: first.provider, clientKeyFile: first.keyFile }
  const second = await edge(t, { ...shared, sessionKeys: { current: 'k2', keys } })
  const moved = second.browser()
  moved.jar.set('__Host-session', person.jar.get('__Host-session') as Cookie)
  t.equal((await moved.fetch('/oauth2/userinfo')).statusCode, 200)
  const fresh = second.browser()
  await fresh.login()
  const third = await edge(t, { ...shared, sessionKeys: { current: 'k1', keys: old.keys } })
  const lost = third.browser()
  lost.jar.set('__Host-session', fresh.jar.get('__Host-session') as Cookie)
  t.equal((await lost.fetch('/oauth2/userinfo')).statusCode, 401)
})

t.test('ends a session that nobody used for 15 minutes, and its refresh token with it', async t => {
  const { browser, advance, provider } = await edge(t)
  const person = browser()
  await person.login()
  advance(14 * minute)
  t.equal((await payments(person)).statusCode, 200)
  advance(14 * minute)
  t.equal((await payments(person)).statusCode, 200, 'each request of a person begins it anew')
  advance(15 * minute)
  const cookie = person.jar.get('__Host-session')
  const response = await payments(person)
  t.equal(response.statusCode, 401)
  t.match(response.json(), { reason: 'idle' })
  t.match(response.headers['set-cookie'], '__Host-session=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Strict')
  await eventually(() => provider.revoked.length !== 0)
  t.match(provider.revoked[0], /^refresh-/)
  person.jar.set('__Host-session', cookie as Cookie)
  t.match((await payments(person)).json(), { reason: 'idle' }, 'another tab hears the same reason')
})

t.test('is kept alive by a person only', async t => {
  const { browser, advance } = await edge(t)
  for (const ask of [
    (person: Browser) => person.fetch('/oauth2/userinfo'),
    (person: Browser) => payments(person, { 'x-background': '1' }),
    (person: Browser) => payments(person, { accept: 'text/event-stream' }),
  ]) {
    const person = browser()
    await person.login()
    advance(10 * minute)
    t.equal((await ask(person)).statusCode, 200)
    advance(6 * minute)
    t.match((await payments(person)).json(), { reason: 'idle' }, ask.toString())
  }
})

t.test('tells when the session will end, and asking moves nothing', async t => {
  const { browser, advance } = await edge(t)
  const person = browser()
  await person.login()
  const before = (await person.fetch('/oauth2/userinfo')).json().session
  advance(5 * minute)
  t.same((await person.fetch('/oauth2/userinfo')).json().session, before)
  t.equal(Date.parse(before.idleTimeoutAt) - Date.parse(before.lastSeenAt), 15 * minute)
  t.equal(Date.parse(before.absoluteTimeoutAt) - Date.parse(before.authTime), 8 * 60 * minute)
})

t.test('writes the idle time at most once a minute', async t => {
  const { browser, advance, redis } = await edge(t)
  const person = browser()
  await person.login()
  const seen = async () => Number(await redis.run('GET', `i:{${identityOf(person.cookie())?.id}}`))
  const first = await seen()
  await payments(person)
  advance(50_000)
  await payments(person)
  t.equal(await seen(), first)
  advance(15_000)
  await payments(person)
  t.ok((await seen()) >= first + 65_000)
})

t.test('answers the request that writes the idle time like every other', async t => {
  const upstream = await testUpstream(t)
  const { browser, advance } = await edge(t, { upstreams: { payment: upstream.origin } })
  const person = browser()
  await person.login()
  const whole = await payments(person)
  t.not(whole.body, '')
  for (let minutes = 0; minutes < 3; minutes++) {
    advance(minute + 1)
    const answers = await Promise.all([payments(person), payments(person), payments(person)])
    for (const { statusCode, body } of answers) t.same([statusCode, body], [200, whole.body])
    t.equal((await person.fetch('/api/payments/accounts', { method: 'DELETE' })).body, whole.body)
  }
  upstream.server.closeAllConnections()
  upstream.server.close()
  advance(minute + 1)
  const refused = await payments(person)
  t.equal(refused.statusCode, 503)
  t.match(refused.json(), { code: 'upstream_unavailable' })
})

t.test('ends eight hours after the person proved who they are, however busy they are', async t => {
  const { browser, advance, provider } = await edge(t)
  const person = browser()
  await person.login({ ...alice, auth_time: Math.floor(Date.now() / 1000) - 3600 })
  for (let spent = 60; spent < 8 * 60 - 10; spent += 10) {
    advance(10 * minute)
    if ((await payments(person)).statusCode !== 200) return t.fail(`ended after ${spent} minutes`)
  }
  advance(11 * minute)
  t.match((await payments(person)).json(), { code: 'login_required', reason: 'absolute' })
  await eventually(() => provider.revoked.length !== 0)
})

t.test('refreshes once for 50 requests at the end of the token, and exchanges once per service', async t => {
  const { browser, advance, provider } = await edge(t)
  for (const rotate of [false, true]) {
    provider.settings.rotate = rotate
    const person = browser()
    await person.login()
    await payments(person)
    const before = { ...provider.calls }
    advance(6 * minute)
    const responses = await Promise.all(
      Array.from({ length: 50 }, (_, i) => person.fetch(i % 2 === 0 ? '/api/payments/accounts' : '/api/customers/me')),
    )
    t.same(new Set(responses.map(response => response.statusCode)), new Set([200]))
    t.equal((provider.calls['refresh_token'] ?? 0) - (before['refresh_token'] ?? 0), 1)
    t.equal((provider.calls['exchange'] ?? 0) - (before['exchange'] ?? 0), 2)
    advance(6 * minute)
    t.equal((await payments(person)).statusCode, 200, 'the refreshed session was kept')
  }
})

t.test(
  'a process that stops waits for a refresh that nobody waits for: its token has been replaced by then',
  async t => {
    const { app, browser, advance, provider, redis } = await edge(t)
    provider.settings.rotate = true
    const person = browser()
    await person.login()
    await payments(person)
    const reached = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    provider.hooks.token = async (grant, honest) => {
      const answer = await honest()
      if (grant === 'refresh_token') {
        reached.resolve()
        await gate.promise
      }
      return answer
    }
    advance(241_000)
    t.equal((await payments(person)).statusCode, 200)
    await reached.promise
    let isClosed = false
    const closed = app.close().then(() => {
      isClosed = true
    })
    await new Promise(resolve => setTimeout(resolve, 100))
    t.equal(isClosed, false)
    gate.resolve()
    await closed
    const id = identityOf(person.cookie())?.id
    t.equal(String(await redis.run('HGET', `s:{${id}}`, 'v')), '2')
  },
)

t.test('renews before the end, while the old token still answers', async t => {
  const { browser, advance, stopClock, provider, seen } = await edge(t)
  const person = browser()
  stopClock()
  await person.login()
  await payments(person)
  const first = seen.at(-1)?.headers.authorization
  advance(239_999)
  await payments(person)
  t.equal(provider.calls['exchange'], 1)
  advance(1)
  t.equal((await payments(person)).statusCode, 200)
  t.equal(seen.at(-1)?.headers.authorization, first, 'nobody waits for the new token')
  await eventually(() => provider.calls['exchange'] === 2)
  while (seen.at(-1)?.headers.authorization === first) await payments(person)
  t.equal(provider.calls['refresh_token'], 1)
})

t.test('a provider that is away or slow goes unnoticed while the old token is valid', async t => {
  const { browser, advance, provider } = await edge(t)
  const person = browser()
  await person.login()
  await payments(person)
  advance(250_000)
  for (const trouble of [
    async () => ({ status: 503, body: '' }),
    async () => ({ status: 401, body: { error: 'invalid_client' } }),
    async () => ({ status: 200, body: '<html>', type: 'text/html' }),
    () => new Promise<never>(() => undefined),
  ]) {
    provider.hooks.token = trouble
    t.equal((await payments(person)).statusCode, 200)
    advance(5_000)
  }
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200)
})

t.test('says 503, not logged out, once no token is left and the provider is away', async t => {
  const { browser, advance, provider } = await edge(t)
  const person = browser()
  await person.login()
  await payments(person)
  advance(6 * minute)
  for (const trouble of [
    { status: 500, body: '' },
    { status: 401, body: { error: 'invalid_client' } },
    { status: 400, body: { error: 'invalid_scope' } },
    { status: 200, body: {} },
  ]) {
    provider.hooks.token = async () => trouble
    const response = await payments(person)
    t.equal(response.statusCode, 503, JSON.stringify(trouble))
    t.match(response.json(), { code: 'provider_unavailable' })
    t.ok(response.headers['retry-after'])
    t.equal(response.headers['set-cookie'], undefined)
    // What it refuses it is asked again after a pause.
    advance(minute)
  }
  delete provider.hooks.token
  t.equal((await payments(person)).statusCode, 200, 'and the session lived on')
})

t.test('ends a session whose refresh token is no longer good, and only then', async t => {
  const { browser, advance, provider } = await edge(t)
  const person = browser()
  await person.login()
  advance(6 * minute)
  provider.forgetGrants()
  const refused = await payments(person)
  t.match(refused.json(), { code: 'login_required', reason: 'ended' })
  t.ok(refused.headers['www-authenticate'], 'a 401 with its challenge, as every other')
  t.match((await person.fetch('/oauth2/userinfo')).json(), { code: 'login_required' })
  t.equal(provider.calls['refresh_token'], 1)
})

t.test('ends a session whose refreshed ID token is about somebody else, and takes no wrong one', async t => {
  const cases: [string, (claims: Record<string, unknown>) => Record<string, unknown>, number][] = [
    ['another person', claims => ({ ...claims, sub: bob.sub }), 401],
    ['another issuer', claims => ({ ...claims, iss: 'https://evil.example' }), 503],
    ['another audience', claims => ({ ...claims, aud: 'somebody-else' }), 503],
    ['another access token', claims => ({ ...claims, at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' }), 503],
  ]
  for (const [name, idToken, status] of cases) {
    const { browser, advance, provider, seen } = await edge(t)
    const person = browser()
    await person.login()
    advance(6 * minute)
    provider.hooks.idToken = (claims, grant) => (grant === 'refresh_token' ? idToken(claims) : claims)
    t.equal((await payments(person)).statusCode, status, name)
    t.equal(seen.length, 0, 'no token of that answer was used')
  }
})

t.test('shows what a refreshed ID token says of a person, and no role that it leaves out', async t => {
  const { browser, advance, provider } = await edge(t)
  const person = browser()
  await person.login()
  const shown = async () => (await person.fetch('/oauth2/userinfo')).json()
  t.match(await shown(), { sub: alice.sub, name: alice.name, roles: ['customer'] })
  const refreshed = async (claims: Record<string, unknown>) => {
    provider.hooks.idToken = ({ name: _, given_name: __, email: ___, realm_access: ____, ...rest }) => ({
      ...rest,
      ...claims,
    })
    advance(6 * minute)
    t.equal((await payments(person)).statusCode, 200)
    return shown()
  }
  const renamed = { name: 'Alice Married', given_name: 'Alice', email: 'new@example.com' }
  const changed = await refreshed({ ...renamed, realm_access: { roles: ['teller'] }, sid: 'another', auth_time: 1 })
  t.match(changed, { sub: alice.sub, name: 'Alice Married', email: 'new@example.com', roles: ['teller'] })
  const { session } = changed
  t.not(Date.parse(session.authTime), 1_000, 'when they proved who they are is the login’s to say')
  const fewer = await refreshed({})
  t.match(fewer, { name: 'Alice Married', givenName: 'Alice', email: 'new@example.com', roles: [] })
  t.equal((await browser().fetch('/oauth2/userinfo')).statusCode, 401)
  await person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 401, 'and a sign-out finds it by its own sid')
})

t.test('keeps the roles that the userinfo endpoint gave, where ID tokens say nothing of a person', async t => {
  const { browser, advance, provider } = await edge(t, { providerConfig: { userinfo: true, rolesClaim: 'groups' } })
  const bare = ({ name: _, given_name: __, email: ___, ...claims }: Record<string, unknown>) => claims
  provider.hooks.idToken = bare
  provider.hooks.userinfo = claims => ({ ...claims, groups: ['customer'] })
  const person = browser()
  await person.login()
  advance(6 * minute)
  t.equal((await payments(person)).statusCode, 200)
  const shown = async () => (await person.fetch('/oauth2/userinfo')).json()
  t.match(await shown(), { name: alice.name, roles: ['customer'] })
  provider.hooks.idToken = claims => ({ ...bare(claims), groups: [] })
  advance(6 * minute)
  t.equal((await payments(person)).statusCode, 200)
  t.match(await shown(), { name: alice.name, roles: [] }, 'what they do say counts')
})

t.test(
  'a refreshed ID token that does not fit costs no call for each request, one alert, and looks the same everywhere',
  async t => {
    const cases: [string, (claims: Record<string, unknown>) => Record<string, unknown>][] = [
      ['issuer', claims => ({ ...claims, iss: 'https://evil.example' })],
      ['audience', claims => ({ ...claims, aud: 'somebody-else' })],
      ['end', claims => ({ ...claims, exp: Math.floor(Date.now() / 1000) - 3_600 })],
      ['access token', claims => ({ ...claims, at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' })],
    ]
    for (const [name, idToken] of cases) {
      const { browser, advance, stopClock, provider, seen, lines } = await edge(t)
      const [one, two] = [browser(), browser()]
      await one.login()
      await two.login(bob)
      stopClock()
      advance(6 * minute)
      provider.hooks.idToken = (claims, grant) => (grant === 'refresh_token' ? idToken(claims) : claims)
      const before = provider.calls['refresh_token'] ?? 0
      const ask = async (person: Browser) => {
        for (let request = 0; request < 10; request++) {
          t.match((await payments(person)).json(), { status: 503, code: 'provider_unavailable' }, name)
          t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 503)
        }
      }
      await ask(one)
      await ask(two)
      const calls = () => (provider.calls['refresh_token'] ?? 0) - before
      t.equal(calls(), 2, 'one for each session')
      // 3, 6, 12, 24, 48 and 60 s after the one before.
      for (let second = 0; second < 160; second++) {
        advance(1_000)
        await payments(one)
      }
      t.equal(calls(), 2 + 6)
      const alerts = lines().filter(line => line['alert'] === 'refresh_untrusted')
      t.match(alerts, [{ level: 'error' }])
      t.equal(alerts.length, 1)
      t.equal(seen.length, 0, 'no token of those answers was used')
      delete provider.hooks.idToken
      advance(60_000)
      t.equal(
        (await one.fetch('/oauth2/userinfo')).statusCode,
        200,
        'a page that only asks who it is finds the way back',
      )
      t.equal((await payments(one)).statusCode, 200)
      provider.hooks.idToken = (claims, grant) => (grant === 'refresh_token' ? idToken(claims) : claims)
      advance(6 * minute)
      await payments(one)
      t.equal(lines().filter(line => line['alert'] === 'refresh_untrusted').length, 2, 'the next time is told again')
    }
  },
)

t.test('a logout while a refresh is under way wins', async t => {
  const { browser, advance, provider } = await edge(t)
  const person = browser()
  await person.login()
  await payments(person)
  advance(6 * minute)
  const gate = held(provider)
  const cookie = person.jar.get('__Host-session')
  const refreshing = payments(person)
  await gate.reached
  await person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  gate.open()
  t.match((await refreshing).json(), { code: 'login_required', reason: 'ended' })
  person.jar.set('__Host-session', cookie as Cookie)
  t.match((await payments(person)).json(), { code: 'login_required', reason: 'ended' })
})

t.test('uses what another replica has refreshed', async t => {
  const first = await edge(t)
  const { provider, config, keyFile } = first
  provider.settings.rotate = true
  const second = await edge(t, {
    provider,
    clientKeyFile: keyFile,
    sessionKeys: config.sessionKeys,
    upstreams: { payment: config.upstreams[0]?.origin ?? '', customer: config.upstreams[0]?.origin ?? '' },
  })
  const one = first.browser()
  await one.login()
  const two = second.browser()
  two.jar.set('__Host-session', one.jar.get('__Host-session') as Cookie)
  for (const each of [first, second]) each.advance(6 * minute)
  t.equal((await payments(one)).statusCode, 200)
  t.equal((await payments(two)).statusCode, 200)
  t.same([provider.calls['refresh_token'], provider.calls['exchange']], [1, 1])
  t.equal((await two.fetch('/api/customers/me')).statusCode, 200, 'also for a service it has no token for yet')
  t.same([provider.calls['refresh_token'], provider.calls['exchange']], [1, 2])
})

t.test('a request that read the session before it was refreshed does not refresh it again', async t => {
  const { browser, provider, redis, config } = await edge(t)
  const { logger } = testLogger()
  const authentication = await readClientAuthentication(config.provider.credential, logger)
  const now = () => Date.now() + 6 * minute
  const sessions = createSessions({
    store: createSessionStore(redis, config.session.absolute),
    keys: config.sessionKeys,
    provider: createProvider({ ...config.provider, authentication, publicOrigin: origin, logger, now }),
    times: config.session,
    perUser: config.session.perUser,
    logger,
    metrics: createMetrics('bff'),
    now,
  })
  const person = browser()
  await person.login()
  const found = await sessions.find(person.cookie())
  if (!('session' in found)) return t.fail('there is a session')
  const first = await sessions.fresh(found.session)
  const second = await sessions.fresh(found.session)
  t.equal(provider.calls['refresh_token'], 1)
  t.equal(second.tokens.accessToken, first.tokens.accessToken)
  t.equal(second.version, 2)
})

/** The sessions of an edge by a store that is not quite that of the edge. */
async function sessionsBy({ redis, config }: Edge, change: (store: SessionStore) => Partial<SessionStore>) {
  const { logger } = testLogger()
  const authentication = await readClientAuthentication(config.provider.credential, logger)
  const store = createSessionStore(redis, config.session.absolute)
  return createSessions({
    store: { ...store, ...change(store) },
    keys: config.sessionKeys,
    provider: createProvider({ ...config.provider, authentication, publicOrigin: origin, logger }),
    times: config.session,
    perUser: config.session.perUser,
    logger,
    metrics: createMetrics('bff'),
    now: Date.now,
  })
}

t.test('a sign-out does not fail for what can be tidied up later', async t => {
  const each = await edge(t)
  const sessions = await sessionsBy(each, () => ({ strike: () => Promise.reject(new Error('no answer')) }))
  const person = each.browser()
  await person.login()
  const found = await sessions.find(person.cookie())
  if (!('session' in found)) return t.fail('there is a session')
  await sessions.end(found.session, 'ended')
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 401)
})

t.test('a sign-out waits for a replica of Redis also where the provider names no session of its own', async t => {
  const each = await edge(t)
  let settles = 0
  const sessions = await sessionsBy(each, () => ({ settle: async () => void settles++ }))
  const person = each.browser()
  await person.login()
  const found = await sessions.find(person.cookie())
  if (!('session' in found)) return t.fail('there is a session')
  const { sid: _, ...nameless } = found.session.person
  await sessions.end({ ...found.session, person: nameless }, 'ended')
  t.equal(settles, 1)
})

t.test('who logs in again and again by one session at the provider leaves no growing list behind', async t => {
  const each = await edge(t)
  const entered = new Map<string, number>()
  const sessions = await sessionsBy(each, store => ({
    async enter(group, id) {
      const entries = await store.enter(group, id)
      entered.set(Object.keys(group)[0] as string, entries.length)
      return entries
    },
  }))
  const sub = `again-and-again-${process.pid}`
  const person = { sub, sid: `sid-${sub}`, name: '', givenName: '', roles: [], authTime: Date.now() }
  const tokens = { accessToken: 'a', expiresAt: Date.now() + minute }
  for (let i = 0; i < 30; i++) {
    const begun = await sessions.begin({ tokens, person, device: '' }, undefined)
    if (begun === 'again') return t.fail('nobody was logged out')
    await each.redis.run('DEL', `s:{${identityOf(begun.cookie)?.id}}`)
  }
  for (const [group, count] of entered) t.ok(count <= each.config.session.perUser + 1, `${group}: ${count}`)
})

t.test('never gives one person the token of another, however many ask at once', async t => {
  const { browser, advance, provider, seen } = await edge(t)
  const people = [alice, bob, { ...alice, sub: 'third' }, { ...bob, sub: 'fourth' }]
  const browsers = await Promise.all(
    people.map(async person => {
      const each = browser()
      await each.login(person)
      return each
    }),
  )
  for (let round = 0; round < 3; round++) {
    await Promise.all(
      Array.from({ length: 40 }, (_, i) => {
        const who = i % people.length
        return browsers[who]?.fetch(`/api/payments/accounts?who=${people[who]?.sub}`)
      }),
    )
    advance(6 * minute)
  }
  t.equal(seen.length, 120)
  for (const { url, headers } of seen) {
    const token = String(headers.authorization).slice('Bearer '.length)
    t.equal(provider.exchanged.get(token)?.sub, new URL(url, origin).searchParams.get('who'))
    t.equal(provider.exchanged.get(token)?.audience, 'payment-service')
  }
})

t.test('does without expires_in, and without a refresh token until the access token ends', async t => {
  const { browser, advance, provider } = await edge(t)
  provider.settings.expiresIn = false
  const person = browser()
  await person.login()
  t.equal((await payments(person)).statusCode, 200)
  provider.settings.expiresIn = true
  provider.hooks.token = async (grant, honest) => {
    const answer = await honest()
    if (grant === 'authorization_code') delete (answer.body as Record<string, unknown>)['refresh_token']
    return answer
  }
  const other = browser()
  await other.login()
  t.equal((await payments(other)).statusCode, 200)
  advance(6 * minute)
  t.match((await payments(other)).json(), { reason: 'ended' })
})

t.test('signs out: here first, then at the provider, then in the browser', async t => {
  const { browser, provider } = await edge(t)
  const person = browser()
  await person.login()
  const cookie = person.jar.get('__Host-session')
  const response = await person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  t.equal(response.statusCode, 200)
  const location = new URL(response.json().location)
  t.equal(`${location.origin}${location.pathname}`, `${provider.issuer}/logout`)
  t.equal(location.searchParams.get('post_logout_redirect_uri'), `${origin}/oauth2/signed_out`)
  const state = location.searchParams.get('state')
  t.ok(provider.issued.includes(location.searchParams.get('id_token_hint') ?? ''))
  t.same(response.headers['set-cookie'], [
    '__Host-session=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Strict',
    `__Host-edge-signing-out=${state}; Max-Age=600; Path=/; HttpOnly; Secure; SameSite=Lax`,
  ])
  t.equal(response.headers['clear-site-data'], '"storage"')
  t.equal(response.headers['cache-control'], 'no-store')
  await eventually(() => provider.revoked.length === 1)
  person.jar.set('__Host-session', cookie as Cookie)
  t.match((await payments(person)).json(), { code: 'login_required', reason: 'ended' })
  const twice = await person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  t.same(twice.json(), { location: '/' })
})

t.test('answers a form of our own page with 303', async t => {
  const { browser, provider } = await edge(t)
  const person = browser()
  await person.login()
  const response = await person.open('/oauth2/sign_out', {
    method: 'POST',
    payload: 'anything=1',
    headers: { origin, 'content-type': 'application/x-www-form-urlencoded' },
  })
  t.equal(response.statusCode, 303)
  t.match(response.headers.location, `${provider.issuer}/logout?`)
  t.equal(person.cookie(), undefined)
})

t.test('signs out although the provider is away', async t => {
  const { browser, provider } = await edge(t)
  const person = browser()
  await person.login()
  provider.hooks.revocation = async () => ({ status: 500, body: '' })
  const cookie = person.jar.get('__Host-session')
  t.equal((await person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })).statusCode, 200)
  person.jar.set('__Host-session', cookie as Cookie)
  t.equal((await payments(person)).statusCode, 401)
})

t.test('waits for no revocation, and stops with none under way', async t => {
  const { app, browser, provider, lines } = await edge(t)
  const { promise: answered, resolve: answer } = Promise.withResolvers<void>()
  let asked = 0
  provider.hooks.revocation = async () => {
    asked++
    await answered
    return { status: 200, body: '' }
  }
  const most = 100
  for (let n = 0; n < most + 5; n++) {
    const person = browser()
    await person.login({ ...alice, sub: `leaving-${process.pid}-${n}` })
    t.equal((await person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })).statusCode, 200)
  }
  await eventually(() => asked === most)
  t.equal(
    lines().filter(({ msg }) => String(msg).includes('too many wait')).length,
    5,
    'the provider is spared the rest',
  )
  let isClosed = false
  const closing = app.close().then(() => {
    isClosed = true
  })
  await new Promise(resolve => setTimeout(resolve, 200))
  t.equal(isClosed, false)
  answer()
  await closing
  t.equal(asked, most)
})

t.test('a look into the store knows from the second on whose tombstones to ask for, and finds them', async t => {
  const each = await edge(t)
  const asked: string[] = []
  const sessions = await sessionsBy(each, store => ({
    find(id, groups) {
      asked.push(`find ${groups?.length ?? 0}`)
      return store.find(id, groups)
    },
    buriedAt(groups) {
      asked.push(`buriedAt ${groups.length}`)
      return store.buriedAt(groups)
    },
    watch: () => () => false,
  }))
  const person = each.browser()
  await person.login({ ...alice, sub: `looked-up-${process.pid}` })
  const look = async () => {
    const found = await sessions.find(person.cookie())
    return 'session' in found ? found.session : found
  }
  const session = await look()
  if ('over' in session) return t.fail('there is a session')
  t.match(await look(), { id: session.id })
  t.match(await look(), { id: session.id })
  t.same(asked, ['find 0', 'buriedAt 2', 'find 2', 'find 2'])
  const { redis, config } = each
  await createSessionStore(redis, config.session.absolute).bury({ sid: session.person.sid as string })
  t.same(await look(), { over: 'revoked' }, 'although its record is there')
  t.equal(await redis.run('EXISTS', `s:{${session.id}}`), 0, 'from then on it is not')
})

t.test('does nothing on a sign-out that another site sends, or by GET', async t => {
  const { browser } = await edge(t)
  const person = browser()
  await person.login()
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const attempts: [string, Promise<{ statusCode: number }>, number][] = [
    ['GET', person.open('/oauth2/sign_out'), 405],
    ['HEAD', person.send('/oauth2/sign_out', { method: 'HEAD' }), 405],
    [
      'a form of another site',
      person.send('/oauth2/sign_out', {
        method: 'POST',
        payload: '',
        headers: { ...form, origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
      }),
      403,
    ],
    [
      'a form of a sister site',
      person.send('/oauth2/sign_out', {
        method: 'POST',
        payload: '',
        headers: { ...form, origin: 'http://evil.localhost:3000', 'sec-fetch-site': 'same-site' },
      }),
      403,
    ],
    [
      'Origin null',
      person.send('/oauth2/sign_out', { method: 'POST', payload: '', headers: { ...form, origin: 'null' } }),
      403,
    ],
    ['no Origin at all', person.send('/oauth2/sign_out', { method: 'POST', payload: '', headers: form }), 403],
    [
      'the header without an origin',
      person.send('/oauth2/sign_out', { method: 'POST', payload: '', headers: { 'x-csrf': '1' } }),
      403,
    ],
  ]
  for (const [name, attempt, status] of attempts) t.equal((await attempt).statusCode, status, name)
  t.equal((await person.open('/oauth2/sign_out')).headers.allow, 'POST')
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200, 'the session lives')
})

t.test('Redis away is 503 with the cookie untouched, and the session lives on', async t => {
  const { browser, link, app } = await edgeBehindProxy(t)
  const person = browser()
  await person.login()
  link.cut()
  for (const response of [
    await payments(person),
    await person.fetch('/oauth2/userinfo'),
    await person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } }),
  ]) {
    t.equal(response.statusCode, 503)
    t.match(response.json(), { code: 'sessions_unavailable' })
    t.ok(response.headers['retry-after'])
    t.equal(response.headers['set-cookie'], undefined)
    t.equal(response.headers.location, undefined)
  }
  const page = await person.open('/oauth2/start')
  t.equal(page.statusCode, 503)
  t.match(page.body, 'If you were signed in, you still are.')
  t.equal((await app.inject('/oauth2/jwks')).statusCode, 200, 'what needs no session goes on')
  await link.mend()
  await eventually(async () => (await person.fetch('/oauth2/userinfo')).statusCode !== 503)
  t.equal((await payments(person)).statusCode, 200)
})

t.test('Redis that hangs is 503 as well, for each of many requests at once', async t => {
  const { browser, link, lines } = await edgeBehindProxy(t)
  const person = browser()
  await person.login()
  link.stall()
  const responses = await Promise.all(Array.from({ length: 50 }, () => payments(person)))
  t.same(new Set(responses.map(({ statusCode }) => statusCode)), new Set([503]))
  const waits = lines().flatMap(line =>
    line['msg'] === 'request' && line['status'] === 503 ? [Number(line['ms'])] : [],
  )
  t.equal(waits.length, 50)
  await link.mend()
  await eventually(async () => (await payments(person)).statusCode !== 503)
  t.equal((await payments(person)).statusCode, 200)
})

t.test('a refresh that cannot be written is written as soon as Redis is back', async t => {
  const { browser, link, advance, provider } = await edgeBehindProxy(t)
  provider.settings.rotate = true
  const person = browser()
  await person.login()
  await payments(person)
  advance(6 * minute)
  const gate = held(provider)
  const refreshing = payments(person)
  await gate.reached
  link.cut()
  gate.open()
  await new Promise(resolve => setTimeout(resolve, 300))
  await link.mend()
  t.equal((await refreshing).statusCode, 200)
  advance(6 * minute)
  t.equal((await payments(person)).statusCode, 200, 'the rotated token was not lost')
})

t.test('takes an error of Redis for a failure, not for an answer', async t => {
  const { redis } = await edge(t)
  await t.rejects(redis.run('HGET', 'too', 'many', 'arguments'), { code: 'sessions_unavailable' })
})

/** Holds the next refresh at the provider until it is let go. */
function held(provider: TestProvider) {
  const reached = Promise.withResolvers<void>()
  const open = Promise.withResolvers<void>()
  provider.hooks.token = async (grant, honest) => {
    if (grant === 'refresh_token') {
      reached.resolve()
      await open.promise
    }
    return honest()
  }
  return { reached: reached.promise, open: () => open.resolve() }
}
