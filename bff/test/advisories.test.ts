import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import { eventually } from '@banking/testkit'
import t, { type Test } from 'tap'
import { upstreamDefaults } from '../src/config/options.ts'
import type { ExchangeTarget } from '../src/provider/oidc.ts'
import type { Upstream } from '../src/proxy/upstreams.ts'
import { identityOf, seal, unseal } from '../src/sessions/seal.ts'
import { selfSigned } from './certificate.ts'
import { type Cookie, edge, origin, testUpstream } from './edge.ts'
import { alice, bob } from './provider.ts'

t.setTimeout(120_000)

// Each test does to this edge what broke another one, and is named by the advisory. docs/advisories.md has them all.

const evil = 'evil.example'
const own = { 'x-csrf': '1', 'sec-fetch-site': 'same-origin' }

/** An edge on a real socket, a person who is logged in, and what any attack must leave as it is. */
async function attacked(t: Test, options: Parameters<typeof edge>[1] = {}) {
  const upstream = await testUpstream(t)
  const under = await edge(t, { upstreams: { payment: upstream.origin, customer: upstream.origin }, ...options })
  await under.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = under.app.server.address() as AddressInfo
  const person = under.browser()
  await person.login()
  const { provider } = under
  const count = () => ({
    upstream: upstream.seen.length,
    tokens:
      (provider.calls['authorization_code'] ?? 0) +
      (provider.calls['refresh_token'] ?? 0) +
      (provider.calls['exchange'] ?? 0),
    sessions: under.told.filter(({ type }) => type === 'session.started').length,
  })
  const before = count()
  return {
    ...under,
    upstream,
    port,
    person,
    session: `__Host-session=${person.cookie()}`,
    /** Nothing reached a service, no token was asked for, no session began; and the person is still logged in. */
    async hadNoEffect(t: Test, why?: string) {
      t.same(count(), before, why ?? 'nothing came of it')
      t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200, 'the person is still there')
    },
    /** Exactly these bytes. @returns everything that comes back */
    raw: (bytes: string) => speak(t, port, bytes),
  }
}

async function speak(t: Test, port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  let received = ''
  socket.on('data', chunk => {
    received += chunk.toString('latin1')
  })
  socket.on('error', () => undefined)
  socket.write(bytes, 'latin1')
  await once(socket, 'close')
  return received
}

const head = (method: string, target: string, fields: readonly string[] = []) =>
  `${[`${method} ${target} HTTP/1.1`, 'host: localhost:3000', 'connection: close', ...fields].join('\r\n')}\r\n\r\n`

const flipped = (bytes: Buffer, at: number): Buffer => {
  const changed = Buffer.from(bytes)
  changed[at] = (changed[at] ?? 0) ^ 1
  return changed
}

/** Where a browser is sent that believes what stands in Location. */
const leadsTo = (location: unknown): string => new URL(String(location), origin).origin

// Where a login leads back to.

const addresses: Record<string, readonly string[]> = {
  'CVE-2017-1000070': [`//${evil}`, `https://${evil}`, `http://${evil}/oauth2`],
  'CVE-2020-5233': [`/\\${evil}`, `\\\\${evil}`, `\\/${evil}`],
  'CVE-2020-11053': [
    `/\t/${evil}`,
    `/\n/${evil}`,
    `/\u000b/${evil}`,
    `/%09/${evil}`,
    `/%0a/${evil}`,
    `/%0b/${evil}`,
    `/\r\n/${evil}`,
  ],
  'CVE-2020-4037': [`/./\\${evil}`, `/./../../\\${evil}`, `/.\\${evil}`, `/x/..//${evil}`],
  'CVE-2021-21291': [
    `https://evillocalhost:3000/`,
    `https://localhost:3000.${evil}/`,
    `https://localhost:3000@${evil}/`,
  ],
  'CVE-2026-83589': [`/\\\t${evil}`, `/\t\\${evil}`, `\t//${evil}`],
  'CVE-2019-14857': [`//${evil}/%2f..`, `///${evil}`, `////${evil}`],
  'CVE-2019-20479': [`/\\/${evil}`, `/\\\\${evil}`],
  'CVE-2021-32786': [`/\\${evil}/..`, `https:\\\\${evil}`],
  'CVE-2021-39191': [`https:${evil}`, `https:/${evil}`, `HTTPS:///${evil}`],
  'CVE-2022-23527': [`/\t/${evil}`, `/\t\\${evil}`, `/ /${evil}`],
  'CVE-2021-43812': [`//${evil}?returnTo=/`, `/..//${evil}`],
  'CVE-2022-24858': [`https://localhost:3000.${evil}`, 'javascript:alert(1)', `data:text/html,<script>`],
  'CVE-2022-29214': [`${origin}@${evil}`, `${origin}.${evil}`],
  'CVE-2022-31093': ['', ' ', '%', '/%', 'http://', '\u0000'],
  'CVE-2021-29651': [`/.pomerium/../..//${evil}`, `//${evil}/?pomerium_jwt=`],
}

for (const [id, payloads] of Object.entries(addresses))
  t.test(`${id}: a login leads to no other site, however its address is written`, async t => {
    const { browser } = await edge(t)
    for (const payload of payloads)
      for (const written of [payload, encodeURIComponent(payload), encodeURIComponent(encodeURIComponent(payload))]) {
        const person = browser()
        // Each name under which somebody's proxy takes such an address, beside ours.
        const others = [
          'rd',
          'redirect_uri',
          'returnTo',
          'callbackUrl',
          'target_link_uri',
          'state',
          'post_logout_redirect_uri',
        ]
        const more = others.map(name => `&${name}=${encodeURIComponent(written)}`).join('')
        const began = await person.open(`/oauth2/start?return_to=${encodeURIComponent(written)}${more}`)
        t.equal(began.statusCode, 302, JSON.stringify(written))
        const { origin: provider } = new URL(String(began.headers.location))
        t.not(provider, `https://${evil}`)
        const signIn = await person.open(`/oauth2/sign_in?return_to=${encodeURIComponent(written)}`)
        t.notMatch(signIn.body, new RegExp(`(?:href|action|url)="?[^"]*//[^"]*${evil}`))
        const back = await person.login(alice, written)
        t.equal(leadsTo(back.headers.location), origin)
        const again = await person.open(`/oauth2/sign_in?return_to=${encodeURIComponent(written)}`)
        t.equal(leadsTo(again.headers.location), origin)
        const restarted = await person.open(`/oauth2/start?again=1&return_to=${encodeURIComponent(written)}`)
        t.equal(leadsTo(restarted.headers.location), origin)
        const left = await person.fetch(`/oauth2/sign_out?return_to=${encodeURIComponent(written)}${more}`, {
          method: 'POST',
          headers: { origin },
        })
        t.notMatch(decodeURIComponent(left.json().location), evil)
      }
  })

// Who is let in.

t.test('CVE-2017-1000069: an attacker’s finished login, opened in somebody’s browser, logs nobody in', async t => {
  const { browser, provider, told } = await edge(t)
  const [attacker, victim] = [browser(), browser()]
  const callback = await attacker.start('/', bob)
  const before = provider.calls['authorization_code']
  const response = await victim.comeBack(callback)
  t.equal(victim.cookie(), undefined)
  t.not(response.statusCode, 302)
  t.equal(provider.calls['authorization_code'], before, 'the code was not even redeemed')
  t.notOk(told.some(({ type }) => type === 'session.started'))
})

t.test('CVE-2025-54576: no query makes a path public', async t => {
  const { app, upstream, hadNoEffect } = await attacked(t)
  for (const url of [
    '/api/payments/private?path=/status',
    '/api/payments?/oauth2/jwks',
    '/api/payments?x=/ping',
    '/api/customers/me?redirect=/assets/app.js',
    '/api/payments/oauth2/jwks',
    '/api/payments/favicon.ico',
  ])
    t.match((await app.inject({ url, headers: { host: 'a', ...own } })).json(), { code: 'login_required' }, url)
  t.equal(upstream.seen.length, 0)
  await hadNoEffect(t)
})

t.test('CVE-2025-64484: identity in header fields reaches no service in any spelling', async t => {
  const { raw, session, upstream } = await attacked(t)
  const names = [
    'X_Forwarded_User',
    'X-Forwarded_User',
    'X_Forwarded-User',
    'x-forwarded-user',
    'X-FORWARDED-EMAIL',
    'X-Auth-Request-User',
    'X_Auth_Request_Groups',
    'OIDC_CLAIM_sub',
    'OIDC-CLAIM-sub',
    'REMOTE_USER',
    'Remote-User',
    'X-Remote-User',
    'X-User-Id',
    'X.User.Id',
    'Authorization',
    'Proxy-Authorization',
    'X-Pomerium-Jwt-Assertion',
  ]
  const answer = await raw(
    head('GET', '/api/payments', [`cookie: ${session}`, 'x-csrf: 1', ...names.map(name => `${name}: root`)]),
  )
  t.match(answer, /^HTTP\/1\.1 200 /)
  t.notMatch(JSON.stringify(upstream.seen[0]?.raw), /root|cookie/i)
  t.match(upstream.seen[0]?.headers.authorization, /^Bearer for-payment-service-/)
})

t.test('CVE-2026-34457: no user agent is let in', async t => {
  const { app, upstream, hadNoEffect } = await attacked(t)
  for (const agent of ['GoogleHC/1.0', 'kube-probe/1.33', 'ELB-HealthChecker/2.0', 'Envoy/HC', ''])
    for (const url of ['/api/payments', '/oauth2/userinfo', '/oauth2/auth', '/ping', '/ready', '/metrics']) {
      const { statusCode } = await app.inject({ url, headers: { host: 'a', ...own, 'user-agent': agent } })
      t.ok(statusCode === 401 || statusCode === 404, `${url} for ${agent}: ${statusCode}`)
    }
  t.equal(upstream.seen.length, 0)
  await hadNoEffect(t)
})

/** What says where a request came from, as the service was told it. */
const forwardedTo = ({ seen }: { seen: readonly { headers: NodeJS.Dict<string | string[]> }[] }) =>
  Object.fromEntries(
    Object.entries(seen.at(-1)?.headers ?? {}).filter(([name]) => /forwarded|^x-(?:original|rewrite|real)/.test(name)),
  )
const madeByTheEdge = {
  forwarded: 'for=127.0.0.1;host="localhost:3000";proto=http',
  'x-forwarded-host': 'localhost:3000',
  'x-forwarded-port': '3000',
  'x-forwarded-proto': 'http',
}

for (const [id, fields] of Object.entries({
  'CVE-2026-40575': {
    'x-forwarded-uri': '/oauth2/jwks',
    'x-original-url': '/oauth2/jwks',
    'x-rewrite-url': '/oauth2/jwks',
  },
  'CVE-2026-76835': {
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-uri': '/oauth2/jwks',
    'x-forwarded-host': 'localhost:3000',
    'x-forwarded-method': 'OPTIONS',
  },
  'CVE-2026-33495': {
    'x-forwarded-proto': 'http',
    'x-forwarded-host': 'public.example',
    forwarded: 'proto=http;host=public.example',
  },
}))
  t.test(`${id}: what a request says of another request decides nothing`, async t => {
    const { app, person, upstream, hadNoEffect } = await attacked(t, { config: { trustedProxies: ['127.0.0.1'] } })
    const stranger = await app.inject({ url: '/api/payments', headers: { host: 'a', ...own, ...fields } })
    t.equal(stranger.statusCode, 401)
    const foreign = await app.inject({
      url: '/api/payments',
      headers: { host: 'a', ...fields, cookie: `__Host-session=${person.cookie()}` },
    })
    t.equal(foreign.statusCode, 403, 'nor does it replace the guard against other sites')
    t.equal(upstream.seen.length, 0)
    await hadNoEffect(t)
    await person.fetch('/api/payments/x', { headers: fields })
    t.equal(upstream.seen[0]?.url, '/api/payments/x')
    t.same(forwardedTo(upstream), { ...madeByTheEdge, 'x-forwarded-for': '127.0.0.1' })
    const begun = await app.inject({ url: '/oauth2/start', headers: { host: 'public.example', ...fields } })
    t.notMatch(JSON.stringify(begun.headers), 'public.example')
  })

for (const [id, targets] of Object.entries({
  'CVE-2026-41059': ['/api/payments/x#/bar', '/api/payments/x%23/bar', '/api/payments#', '/api/payments/secret%23'],
  'CVE-2026-33494': ['/assets/../api/payments', '/api/payments/../customers/me', '/oauth2/jwks/../../api/payments'],
  'GHSA-2q7r-29rg-6m5h': ['/api/payments/%2E%2E/admin', '/api/payments/%2e%2e%2fadmin', '/api/payments/.%2E/x'],
  'CVE-2021-21321': [
    '/api/payments/../../internal',
    '/api/payments/..',
    'http://evil.example/api/payments',
    '//evil.example/api/payments',
  ],
  'CVE-2021-21322': [
    '/api/payments/../customers/me',
    '/api/payments//evil.example',
    '/api/payments/http://evil.example',
  ],
  'CVE-2026-16117': ['/%61pi/payments', '/api/%70ayments', '/api/p%61yments/x'],
  'CVE-2026-85124': ['/api/payments\\..\\x', '/api\\payments', '/api/payments/%5c..%5cx'],
  'CVE-2026-120213': ['/api/payments/%2e%2e%2f%2e%2e%2fx', '/api/payments/a%2fb', '/api/payments/%252e%252e'],
  'CVE-2026-127060': ['/api/payments/..;/admin', '/api/payments;x=y/z', '/api/payments/x;/..'],
  'CVE-2026-85184': [
    'http://localhost:3000/api/payments',
    'HTTP://localhost/api/payments',
    'https://localhost:3000/oauth2/jwks',
  ],
}))
  t.test(`${id}: a path that two servers could read differently is refused`, async t => {
    const { raw, session, upstream, hadNoEffect } = await attacked(t)
    for (const target of targets) {
      const answer = await raw(head('GET', target, [`cookie: ${session}`, 'x-csrf: 1']))
      t.match(answer, /^HTTP\/1\.1 400 /, target)
    }
    t.equal(upstream.seen.length, 0)
    await hadNoEffect(t)
  })

t.test('CVE-2022-29226: no bearer token and no parameter stands for a session', async t => {
  const { app, upstream, provider, hadNoEffect } = await attacked(t)
  for (const token of ['x', ...provider.issued])
    for (const [url, headers] of [
      ['/api/payments', { authorization: `Bearer ${token}` }],
      [`/api/payments?token=${token}&access_token=${token}`, {}],
      ['/api/payments', { cookie: `BearerToken=${token}; IdToken=${token}; __Host-session=${token}` }],
      ['/oauth2/userinfo', { authorization: `Bearer ${token}` }],
    ] as const)
      t.equal((await app.inject({ url, headers: { host: 'a', ...own, ...headers } })).statusCode, 401)
  t.equal(upstream.seen.length, 0, 'and nothing is passed on as it came')
  await hadNoEffect(t)
})

t.test('CVE-2023-27496: a callback without state, or with any part missing or odd, is a page', async t => {
  const { app, person, hadNoEffect } = await attacked(t)
  for (const query of [
    '',
    '?',
    '?code=x',
    '?code=x&state=',
    '?state',
    '?error=x',
    '?error=access_denied&state=x.y',
    '?code=x&state=%00',
    `?state=${'a'.repeat(5_000)}`,
    '?&&&=',
    '?state[]=a&state[]=b',
    '?__proto__=x',
  ]) {
    const response = await app.inject({ url: `/oauth2/callback${query}`, headers: { host: 'a' } })
    t.ok(response.statusCode >= 400 && response.statusCode < 500, `${query.slice(0, 40)}: ${response.statusCode}`)
    t.match(response.headers['content-type'], 'text/html')
  }
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200)
  await hadNoEffect(t)
})

/** The cookie with every single character changed, cut and grown. */
function damaged(cookie: string): string[] {
  const changed = [...cookie].map(
    (character, at) => `${cookie.slice(0, at)}${character === 'A' ? 'B' : 'A'}${cookie.slice(at + 1)}`,
  )
  return [
    ...changed,
    cookie.slice(1),
    cookie.slice(0, -1),
    `${cookie}A`,
    `${cookie}=`,
    cookie.toLowerCase(),
    '',
    'A',
    `${cookie}.${cookie}`,
  ]
}

t.test('CVE-2023-35941: no character moves from one sealed field to the next', async t => {
  const keys = { current: 'k1', keys: new Map([['k1', randomBytes(32)]]) }
  const secret = randomBytes(32)
  const text = 'token,session,audience'
  /** The same characters, parted at every two places; a part may be empty, or there may be no third. */
  const contexts = Array.from({ length: text.length + 1 }, (_, first) => [
    [text.slice(0, first), text.slice(first)],
    ...Array.from({ length: text.length + 1 - first }, (_, more) => [
      text.slice(0, first),
      text.slice(first, first + more),
      text.slice(first + more),
    ]),
  ]).flat()
  t.ok(contexts.length > 250)
  const sealedFor = contexts[20] as string[]
  const sealed = seal('1999999999', secret, keys, sealedFor)
  t.same(
    contexts.filter(context => unseal(sealed, secret, keys, context) !== undefined),
    [sealedFor],
  )
  const { app, person, hadNoEffect } = await attacked(t)
  for (const value of damaged(person.cookie() as string).filter(value => value !== person.cookie())) {
    const headers = { host: 'a', ...own, cookie: `__Host-session=${value}` }
    t.equal((await app.inject({ url: '/oauth2/userinfo', headers })).statusCode, 401, value)
  }
  await hadNoEffect(t)
})

t.test('CVE-2026-47775: nobody can tell by the answer why a session does not open', async t => {
  const { app, browser, redis, config } = await edge(t)
  const ways: Record<string, (sealed: Buffer, identity: NonNullable<ReturnType<typeof identityOf>>) => Buffer | null> =
    {
      'no record': () => null,
      'another format': sealed => Buffer.concat([Buffer.from([9]), sealed.subarray(1)]),
      'another key id': sealed => {
        const changed = Buffer.from(sealed)
        changed[3] = 0x39
        return changed
      },
      'another nonce': sealed => flipped(sealed, 5),
      'another tag': sealed => flipped(sealed, 2 + (sealed[1] ?? 0) + 12),
      'another first byte': sealed => flipped(sealed, 2 + (sealed[1] ?? 0) + 28),
      'another last byte': sealed => flipped(sealed, sealed.length - 1),
      'cut in the tag': sealed => sealed.subarray(0, 20),
      'cut in the text': sealed => sealed.subarray(0, -16),
      'no text': sealed => sealed.subarray(0, 2 + (sealed[1] ?? 0) + 28),
      'grown by a block': sealed => Buffer.concat([sealed, Buffer.alloc(16)]),
      'of another secret': (_, { id }) => seal('{}', randomBytes(32), config.sessionKeys, ['session', id]),
      'of another place': (_, { secret }) => seal('{}', secret, config.sessionKeys, ['login', 'x']),
    }
  const answers = new Map<string, string>()
  for (const [way, damage] of Object.entries(ways)) {
    const person = browser()
    await person.login()
    const identity = identityOf(person.cookie()) as NonNullable<ReturnType<typeof identityOf>>
    const key = `s:{${identity.id}}`
    const damaged = damage((await redis.run('HGET', key, 'd')) as Buffer, identity)
    if (damaged === null) await redis.run('DEL', key)
    else await redis.run('HSET', key, 'd', damaged)
    const headers = { host: 'a', ...own, cookie: `__Host-session=${person.cookie()}` }
    const { statusCode, body, headers: sent } = await app.inject({ url: '/oauth2/userinfo', headers })
    t.equal(statusCode, 401, way)
    const { 'x-request-id': _, traceparent: _trace, date: _date, ...rest } = sent
    answers.set(way, `${body.replace(/urn:request:[^"]+/, '')} ${JSON.stringify(rest)}`)
  }
  t.equal(new Set(answers.values()).size, 1, [...answers].join('\n'))
})

t.test('CVE-2025-55162: a cookie is deleted with the attributes it was set with', async t => {
  const { browser, provider } = await edge(t)
  const person = browser()
  const set = new Map<string, string>()
  const lines = async (response: Promise<{ headers: Record<string, unknown> }>) =>
    [(await response).headers['set-cookie'] ?? []].flat().map(String)
  const attributes = (line: string) =>
    line
      .split('; ')
      .slice(1)
      .filter(one => !/^Max-Age=/.test(one))
      .sort()
      .join('; ')
  const began = await person.open('/oauth2/start')
  const back = person.comeBack(provider.login(String(began.headers.location), alice))
  const all = [
    [began.headers['set-cookie'] ?? []].flat().map(String),
    await lines(back),
    await lines(person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })),
  ].flat()
  let deleted = 0
  for (const line of all) {
    const name = line.split('=', 1)[0] as string
    t.match(line, /; Path=\/(?:;|$)/)
    t.match(line, /; Secure/)
    t.match(line, /; HttpOnly/)
    if (!line.includes('Max-Age=0')) set.set(name, attributes(line))
    else {
      deleted++
      t.equal(attributes(line), set.get(name), name)
    }
  }
  t.ok(deleted >= 2, 'the login’s and the session’s')
})

t.test('CVE-2026-34454: a session that is over is taken from the browser, also on the page that says so', async t => {
  const { browser, advance } = await edge(t)
  for (const visit of ['fetch', 'open'] as const) {
    const person = browser()
    await person.login()
    advance(16 * 60_000)
    const answer = await person[visit](visit === 'fetch' ? '/oauth2/userinfo' : '/oauth2/sign_in?return_to=/')
    t.match(
      [answer.headers['set-cookie']].flat().join('\n'),
      /^__Host-session=; Max-Age=0; Path=\/; HttpOnly; Secure; SameSite=Strict$/m,
      visit,
    )
  }
})

t.test('CVE-2026-48090: tokens that come after the browser has left do no harm', async t => {
  const { raw, provider, person, browser, port, told } = await attacked(t)
  const gate = Promise.withResolvers<void>()
  const asked = Promise.withResolvers<void>()
  provider.hooks.token = async (_grant, honest) => {
    asked.resolve()
    await gate.promise
    return honest()
  }
  const other = browser()
  const callback = await other.start()
  const cookies = [...other.jar].map(([name, { value }]) => `${name}=${value}`).join('; ')
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(head('GET', callback.slice(origin.length), [`cookie: ${cookies}`]))
  await asked.promise
  socket.destroy()
  gate.resolve()
  provider.hooks.token = undefined as never
  await eventually(() => told.filter(({ type }) => type === 'session.started').length === 2)
  t.match(await raw(head('GET', '/oauth2/jwks')), /^HTTP\/1\.1 200 /)
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200)
})

t.test('CVE-2026-47774: cookies count towards what header fields may weigh, and how many they are', async t => {
  const { raw, hadNoEffect } = await attacked(t)
  for (const fields of [
    [`cookie: a=${'x'.repeat(17_000)}`],
    Array.from({ length: 40 }, (_, n) => `cookie: c${n}=${'x'.repeat(500)}`),
    Array.from({ length: 200 }, (_, n) => `cookie: c${n}=1`),
    Array.from({ length: 3_000 }, () => 'a:b'),
  ]) {
    const answer = await raw(head('GET', '/oauth2/userinfo', fields))
    t.match(answer, /^HTTP\/1\.1 431 /)
    t.match(answer, 'content-security-policy')
  }
  await hadNoEffect(t)
})

for (const [id, cookies] of Object.entries({
  'CVE-2023-28625': [
    '=',
    ';',
    ';;;=;',
    '=;=;',
    '__Host-session',
    '__Host-session=',
    ' =x',
    '__Host-session==',
    'a=b;__Host-session',
    '"',
    '__Host-session="',
    '%',
    '__Host-session=%',
    '__Host-session=%ff%fe',
    '__proto__=x',
    'constructor=x; __Host-session=x',
    '\t',
    ',',
    'a\u00ff=b',
  ],
  'CVE-2024-24814': [
    '__Host-session_chunks=99999999',
    '__Host-session_chunks=-1',
    '__Host-session.0=x; __Host-session.1=y',
    '__Host-session_0=x',
    '__Host-edge-attempts=99999999.1',
    '__Host-edge-attempts=1e9.1',
    '__Host-login-x=1',
    `__Host-login-${'z'.repeat(5_000)}=1`,
  ],
}))
  t.test(`${id}: no cookie, however odd, is more than a stranger's`, async t => {
    const { raw, hadNoEffect } = await attacked(t)
    for (const cookie of cookies) {
      t.match(
        await raw(head('GET', '/oauth2/userinfo', [`cookie: ${cookie}`, 'x-csrf: 1'])),
        /^HTTP\/1\.1 401 /,
        cookie,
      )
      const start = await raw(head('GET', '/oauth2/start', [`cookie: ${cookie}`]))
      t.match(start, /^HTTP\/1\.1 302 /, cookie)
    }
    await hadNoEffect(t)
  })

t.test('CVE-2025-3891: a POST with nothing in it, of no type or any, crashes nothing', async t => {
  const { raw, browser } = await attacked(t)
  for (const path of [
    '/oauth2/sign_out',
    '/oauth2/backchannel_logout',
    '/oauth2/callback',
    '/oauth2/start',
    '/oauth2/sessions/x/end',
    '/oauth2/sessions/end_others',
    '/api/payments',
    '/',
  ])
    for (const fields of [
      [],
      ['content-length: 0'],
      ['content-length: 0', 'content-type:'],
      ['content-length: 0', 'content-type: application/json'],
      ['transfer-encoding: chunked', 'content-type: application/x-www-form-urlencoded'],
    ]) {
      const end = fields[0]?.startsWith('transfer') ? '0\r\n\r\n' : ''
      t.match(await raw(head('POST', path, fields) + end), /^HTTP\/1\.1 4\d\d /, `${path} ${fields}`)
      // And past every guard, as a page of ours would send it.
      const other = browser()
      await other.login(bob)
      const mine = [`cookie: __Host-session=${other.cookie()}`, 'x-csrf: 1', `origin: ${origin}`]
      t.match(await raw(head('POST', path, [...mine, ...fields]) + end), /^HTTP\/1\.1 [234]\d\d /, `${path} ${fields}`)
    }
  t.match(await raw(head('GET', '/oauth2/jwks')), /^HTTP\/1\.1 200 /)
})

for (const [id, type] of Object.entries({
  'CVE-2026-25223': 'application/json\tx',
  'CVE-2025-32442': 'application/json ;',
  'CVE-2026-3419': 'application/json garbage',
  'CVE-2023-51701': 'application/json ; charset=utf-8',
}))
  t.test(`${id}: a content type in disguise does not get a body past its check`, async t => {
    const { raw, session, upstream, provider, hadNoEffect } = await attacked(t)
    const send = (form: string, written: string) =>
      raw(
        `${head('POST', '/oauth2/backchannel_logout', [`content-type: ${written}`, `content-length: ${form.length}`])}${form}`,
      )
    const good = await provider.logoutToken({ sid: provider.lastSid() })
    const disguised = type.replace('json', 'x-www-form-urlencoded')
    // Each would end the person’s session if nobody looked at the body as a whole.
    for (const form of [
      `logout_token=${good}&logout_token=${good}`,
      `logout_token=${good}&logout_token=x`,
      JSON.stringify({ logout_token: good }),
      `logout_token=${good}&x=${'x'.repeat(100_000)}`,
    ])
      for (const written of [disguised, type]) t.match(await send(form, written), /^HTTP\/1\.1 4(?:00|13|15) /, written)
    await hadNoEffect(t)
    const passed = await raw(
      `${head('POST', '/api/payments', [`cookie: ${session}`, 'x-csrf: 1', `origin: ${origin}`, `content-type: ${type}`, 'content-length: 7'])}{"a":1}`,
    )
    if (upstream.seen.length > 0) t.equal(upstream.seen[0]?.headers['content-type'], type.trim())
    else t.match(passed, /^HTTP\/1\.1 4(?:00|15) /)
    t.match(
      await send(`logout_token=${good}`, 'application/x-www-form-urlencoded'),
      /^HTTP\/1\.1 20[04] /,
      'it was good',
    )
  })

t.test('CVE-2021-32785: what stands in Redis is data, and wrong data is no session and no crash', async t => {
  const { browser, redis, provider, told } = await edge(t)
  for (const garbage of ['', '%s%n%x%p', '{}', '\u0000\u0001', '9'.repeat(10_000), '*3\r\n$3\r\nSET\r\n']) {
    const person = browser()
    await person.login()
    const before = provider.calls['exchange'] ?? 0
    const id = told.findLast(({ type }) => type === 'session.started')?.subject
    const key = `s:{${id}}`
    const isHash = String(await redis.run('TYPE', key)) === 'hash'
    const fields = isHash ? ((await redis.run('HKEYS', key)) as Buffer[]) : []
    for (const field of fields) await redis.run('HSET', key, field, garbage)
    if (!isHash) await redis.run('SET', key, garbage)
    const { statusCode } = await person.fetch('/api/payments')
    t.ok(statusCode === 401 || statusCode === 503, `${JSON.stringify(garbage.slice(0, 10))}: ${statusCode}`)
    t.equal(provider.calls['exchange'] ?? 0, before)
  }
})

t.test('mod_auth_openidc 2026-08: nobody ends a session by its sid alone', async t => {
  const { app, hadNoEffect, provider } = await attacked(t)
  const sid = provider.lastSid()
  for (const url of [
    `/oauth2/frontchannel_logout?sid=${sid}&iss=${provider.issuer}`,
    `/oauth2/callback?logout=${sid}`,
    `/oauth2/sign_out?sid=${sid}`,
    `/oauth2/backchannel_logout?sid=${sid}`,
  ])
    t.ok([400, 404, 405].includes((await app.inject({ url, headers: { host: 'a' } })).statusCode), url)
  t.same(provider.revoked, [])
  await hadNoEffect(t)
})

t.test(
  'mod_auth_openidc 2026-08: a parameter of the callback that comes twice is refused before the code is used',
  async t => {
    const { browser, provider, told } = await edge(t)
    for (const name of ['state', 'code', 'iss']) {
      const person = browser()
      const callback = await person.start()
      const value = new URL(callback).searchParams.get(name) as string
      const before = provider.calls['authorization_code'] ?? 0
      for (const twice of [`${callback}&${name}=${encodeURIComponent(value)}`, `${callback}&${name}=x`]) {
        const response = await person.comeBack(twice)
        t.not(response.statusCode, 302, name)
        t.equal(person.cookie(), undefined)
      }
      t.equal(provider.calls['authorization_code'] ?? 0, before, name)
    }
    t.notOk(told.some(({ type }) => type === 'session.started'))
  },
)

t.test('mod_auth_openidc 2026-08: no parameter of the start overrides one of ours', async t => {
  const { browser, provider } = await edge(t)
  const theirs = {
    client_id: 'evil',
    redirect_uri: `https://${evil}`,
    scope: 'openid admin',
    response_type: 'token',
    response_mode: 'fragment',
    nonce: 'n',
    state: 's',
    code_challenge: 'c',
    code_challenge_method: 'plain',
    request_uri: 'urn:evil',
    prompt: 'none',
    max_age: '999999',
    acr_values: '0',
    login_hint: 'root',
  }
  const began = await browser().open(`/oauth2/start?${new URLSearchParams(theirs)}`)
  const [pushed] = [...provider.requests.values()]
  const sent = `${began.headers.location} ${pushed?.parameters}`
  for (const value of ['evil', 'admin', 'response_mode', 'plain', 'prompt', 'max_age', 'acr_values', 'login_hint'])
    t.notMatch(sent, value)
  t.equal(pushed?.parameters.get('response_type'), 'code')
  t.equal(pushed?.parameters.get('redirect_uri'), `${origin}/oauth2/callback`)
})

t.test('mod_auth_openidc 2026-08: OPTIONS and public paths reach no service', async t => {
  const { app, session, upstream, hadNoEffect } = await attacked(t)
  for (const method of ['OPTIONS', 'TRACE', 'HEAD'] as const)
    for (const cookie of ['a=b', session]) {
      const { statusCode } = await app.inject({
        method: method as 'GET',
        url: '/api/payments',
        headers: { host: 'a', cookie, origin: `https://${evil}`, 'access-control-request-method': 'GET' },
      })
      t.ok(statusCode >= 400, `${method} ${statusCode}`)
    }
  t.equal(upstream.seen.length, 0)
  await hadNoEffect(t)
})

t.test('mod_auth_openidc 2026-08: a lifetime of any size is a time', async t => {
  for (const lifetime of [0, -1, 2 ** 31, 2 ** 53, 1e15, 1e300]) {
    const { browser, provider } = await edge(t)
    provider.settings.lifetime = lifetime
    const person = browser()
    const back = await person.comeBack(await person.start())
    t.ok(back.statusCode < 500, `${lifetime}: ${back.statusCode}`)
    const { statusCode } = await person.fetch('/api/payments')
    t.ok(statusCode === 200 || statusCode === 401 || statusCode === 503, `${lifetime}: ${statusCode}`)
  }
})

t.test('CVE-2024-39315: what a page may know of its user holds no token', async t => {
  const { person, provider } = await attacked(t)
  await person.fetch('/api/payments')
  const said = (await person.fetch('/oauth2/userinfo')).body + (await person.fetch('/oauth2/sessions')).body
  for (const token of provider.issued) t.notOk(said.includes(token))
  t.notMatch(said, /eyJ|access-|refresh-/)
})

t.test('CVE-2021-41230: a refresh that says that somebody is somebody else ends the session', async t => {
  const { browser, provider, advance, seen } = await edge(t)
  const person = browser()
  await person.login()
  provider.hooks.idToken = claims => ({ ...claims, sub: bob.sub })
  advance(301_000)
  t.equal((await person.fetch('/api/payments')).statusCode, 401)
  t.equal(seen.length, 0)
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 401)
  t.equal(person.cookie(), undefined)
})

t.test('CVE-2021-41230: roles that a refresh takes away or gives are what is shown from then on', async t => {
  const { browser, provider, advance } = await edge(t)
  const person = browser()
  await person.login()
  for (const roles of [['teller'], ['teller', 'auditor'], []]) {
    provider.hooks.idToken = claims => ({ ...claims, realm_access: { roles } })
    advance(301_000)
    t.equal((await person.fetch('/api/payments')).statusCode, 200)
    t.same((await person.fetch('/oauth2/userinfo')).json().roles, roles)
  }
})

/** Upstreams at one service that differ in path, audience or scope alone. */
const targets = {
  read: { audience: 'orders', scope: 'orders:read' },
  write: { audience: 'orders', scope: 'orders:write' },
  all: { audience: 'orders' },
  bills: { audience: 'bills', scope: 'orders:read' },
}
const tableOf = (address: string): Upstream[] =>
  Object.entries(targets).map(([name, target]) => ({
    ...upstreamDefaults,
    name,
    prefix: `/api/${name}`,
    origin: address,
    token: 'exchange',
    ...target,
  }))

/** An edge before such upstreams; each request says in its path whose it is, and gets an answer that says what it was. */
async function manyTargets(t: Test) {
  const upstream = await testUpstream(t)
  const under = await edge(t, { upstreams: tableOf(upstream.origin) })
  const { provider, browser } = under
  return {
    ...under,
    async logIn(sub: string) {
      const one = browser()
      await one.login({ ...alice, sub })
      return { one, sub }
    },
    /** Each request had the token of its person, for the audience and scope of its upstream and no other. */
    assertOwnTokens(t: Test) {
      for (const { url, headers } of upstream.seen) {
        const [, , name = '', sub] = url.split(/[/?]/)
        const target: ExchangeTarget = targets[name as keyof typeof targets]
        const { audience, scope = null } = target
        t.match(provider.exchanged.get(String(headers.authorization).slice(7)), { sub, audience, scope }, url)
      }
      return upstream.seen.length
    },
  }
}

for (const id of ['CVE-2024-51987', 'CVE-2025-26620', 'CVE-2025-67490'])
  t.test(`${id}: of many who ask at once, each gets the token of this person for this service and scope`, async t => {
    const { logIn, assertOwnTokens } = await manyTargets(t)
    const people = await Promise.all(Array.from({ length: 6 }, (_, n) => logIn(`person-${n}`)))
    await Promise.all(
      people.flatMap(({ one, sub }) =>
        Object.keys(targets).flatMap(name => [1, 2, 3].map(n => one.fetch(`/api/${name}/${sub}?n=${n}`))),
      ),
    )
    t.equal(assertOwnTokens(t), 72)
  })

for (const id of ['CVE-2026-33496', 'CVE-2021-32701'])
  t.test(`${id}: what is known of a token for one service and scope says nothing for another`, async t => {
    for (const order of [Object.keys(targets), Object.keys(targets).reverse()]) {
      const under = await manyTargets(t)
      const { one, sub } = await under.logIn('person')
      // One after the other, so that each finds what the ones before have left behind; then from memory; then another
      // replica, which finds it all in the store.
      for (const name of [...order, ...order]) t.equal((await one.fetch(`/api/${name}/${sub}`)).statusCode, 200)
      const { provider, config, keyFile } = under
      const shared = { provider, clientKeyFile: keyFile, sessionKeys: config.sessionKeys, upstreams: config.upstreams }
      const elsewhere = (await edge(t, shared)).browser()
      elsewhere.jar.set('__Host-session', one.jar.get('__Host-session') as Cookie)
      for (const name of order) t.equal((await elsewhere.fetch(`/api/${name}/${sub}`)).statusCode, 200)
      t.equal(under.assertOwnTokens(t), 12)
      t.equal(provider.calls['exchange'], 4)
    }
  })

t.test('CVE-2026-16158: addresses that look alike have each their own answer', async t => {
  const { logIn, assertOwnTokens } = await manyTargets(t)
  const { one, sub } = await logIn('person')
  const other = await logIn('other')
  const rest = ['', '?a=1', '?a=1&a=2', '?a=2&a=1', '?A=1', '?a=%31', '/a?b', '/a%3Fb', '/A?b', '/a.?b', '?a=1%26b']
  await Promise.all(
    [one, other.one].flatMap((browser, n) =>
      Object.keys(targets).flatMap(name =>
        rest.map(async end => {
          const url = `/api/${name}/${n === 0 ? sub : other.sub}${end}`
          const answer = await browser.fetch(url)
          if (answer.statusCode === 200) t.equal(answer.json().path, url)
          else t.equal(answer.statusCode, 400, url)
          t.notOk(answer.headers.age)
        }),
      ),
    ),
  )
  t.equal(assertOwnTokens(t), 80)
})

t.test('CVE-2025-41235: of a forwarded field only a trusted proxy’s word on its client reaches a service', async t => {
  const { app, session, upstream } = await attacked(t, { config: { trustedProxies: ['127.0.0.1'] } })
  const fields = {
    forwarded: 'for=1.2.3.4',
    'x-forwarded-for': '1.2.3.4',
    'x-forwarded-host': evil,
    'x-forwarded-proto': 'https',
    'x-forwarded-port': '1',
    'x-forwarded-prefix': '/x',
    'x-real-ip': '1.2.3.4',
  }
  t.equal(
    (await app.inject({ url: '/api/payments', headers: { host: 'a', ...own, cookie: session, ...fields } })).statusCode,
    200,
  )
  t.same(forwardedTo(upstream), {
    ...madeByTheEdge,
    forwarded: 'for=1.2.3.4;host="localhost:3000";proto=http',
    'x-forwarded-for': '1.2.3.4',
  })
})

t.test('CVE-2025-41243: there is nothing to look into or to set at run time', async t => {
  const { app, hadNoEffect } = await attacked(t)
  for (const url of [
    '/actuator',
    '/actuator/gateway/routes',
    '/actuator/env',
    '/metrics',
    '/debug',
    '/debug/pprof',
    '/console',
    '/internal/users/x/sessions',
    '/documentation/json',
    '/.env',
    '/.git/config',
    '/server-status',
  ])
    for (const method of ['GET', 'POST'] as const)
      t.equal((await app.inject({ method, url, headers: { host: 'a' } })).statusCode, 404, url)
  await hadNoEffect(t)
})

t.test('CVE-2026-19349: a login under way is no session, and a session no login under way', async t => {
  const { app, browser, person, provider, hadNoEffect } = await attacked(t)
  const other = browser()
  const callback = await other.start()
  for (const [, { value }] of other.jar) {
    const { statusCode } = await app.inject({
      url: '/oauth2/userinfo',
      headers: { host: 'a', ...own, cookie: `__Host-session=${value}` },
    })
    t.equal(statusCode, 401)
  }
  const [name = ''] = [...other.jar.keys()].filter(each => each.startsWith('__Host-login-'))
  const swapped = await app.inject({
    url: callback.slice(origin.length),
    headers: { host: 'a', cookie: `${name}=${person.cookie()}` },
  })
  t.not(swapped.statusCode, 302)
  t.equal(provider.calls['authorization_code'], 1)
  await hadNoEffect(t)
})

for (const id of ['CVE-2025-48865', 'CVE-2026-33805'])
  t.test(`${id}: Connection removes nothing that the edge adds`, async t => {
    const { raw, session, upstream } = await attacked(t)
    for (const connection of [
      'close, authorization, x-request-id, traceparent, host, content-length',
      'Authorization',
      'close,\tAUTHORIZATION ,',
    ])
      await raw(
        `GET /api/payments HTTP/1.1\r\nhost: localhost:3000\r\ncookie: ${session}\r\nx-csrf: 1\r\nconnection: ${connection}\r\nconnection: close\r\n\r\n`,
      )
    t.equal(upstream.seen.length, 3)
    for (const { headers } of upstream.seen) {
      t.match(headers.authorization, /^Bearer for-payment-service-/)
      t.ok(headers['x-request-id'])
      t.ok(headers.traceparent)
    }
  })

t.test('CVE-2026-3635: scheme and host are the configured ones', async t => {
  const { browser, provider } = await edge(t, { config: { trustedProxies: ['127.0.0.1'] } })
  const person = browser()
  await person.open('/oauth2/start', {
    headers: { host: evil, 'x-forwarded-host': evil, 'x-forwarded-proto': 'gopher', 'x-forwarded-port': '1' },
  })
  t.equal([...provider.requests.values()][0]?.parameters.get('redirect_uri'), `${origin}/oauth2/callback`)
})

for (const [id, target] of Object.entries({
  'CVE-2026-15631': '/api/payments/../customers',
  'CVE-2026-129502': '/api/payments#/x',
  'CVE-2026-133111': '/api/payments/socket',
  'CVE-2026-130647': '/api/payments/socket',
  'CVE-2026-129500': '/api/payments//socket',
}))
  t.test(`${id}: nothing is upgraded, by any way of asking`, async t => {
    const { raw, session, upstream } = await attacked(t)
    for (const upgrade of ['websocket', 'h2c', 'WebSocket, h2c', 'TLS/1.0'])
      for (const from of [`https://${evil}`, origin]) {
        const fields = [
          'sec-websocket-version: 13',
          'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
          `upgrade: ${upgrade}`,
          `origin: ${from}`,
          `cookie: ${session}`,
        ]
        const request = `GET ${target} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n${fields.join('\r\n')}\r\n\r\n`
        const answer = await raw(request + request + head('GET', '/oauth2/jwks'))
        t.notMatch(answer, /^HTTP\/1\.1 101/m)
        t.match(answer, /^HTTP\/1\.1 40[03] /)
      }
    t.equal(upstream.seen.length, 0)
    t.match(await raw(head('GET', '/oauth2/jwks')), /^HTTP\/1\.1 200 /)
  })

t.test('CVE-2023-31999: each login has a state, a nonce and a verifier of its own', async t => {
  const { browser, provider } = await edge(t)
  const person = browser()
  for (let n = 0; n < 5; n++) await person.open('/oauth2/start')
  for (const name of ['state', 'nonce', 'code_challenge'])
    t.equal(new Set([...provider.requests.values()].map(({ parameters }) => parameters.get(name))).size, 5, name)
})

for (const id of ['CVE-2023-29019', 'CVE-2023-29020'])
  t.test(`${id}: a session from before a login does not become the one after it`, async t => {
    const { app, browser } = await edge(t)
    const attacker = browser()
    await attacker.login(bob)
    const planted = attacker.cookie() as string
    const victim = browser()
    victim.jar.set('__Host-session', { value: planted, line: '', lax: false })
    await victim.login(alice)
    t.not(victim.cookie(), planted)
    const answer = await app.inject({
      url: '/oauth2/userinfo',
      headers: { host: 'a', ...own, cookie: `__Host-session=${planted}` },
    })
    t.notMatch(answer.body, 'Alice')
    t.match((await victim.fetch('/oauth2/userinfo')).json(), { name: 'Alice Adams' })
  })

t.test('CVE-2021-29624: no token of a form or cookie of another site stands for our own page', async t => {
  const { app, session, upstream, hadNoEffect } = await attacked(t)
  for (const headers of [
    {},
    { 'x-csrf': '0' },
    { 'x-xsrf-token': '1', cookie: `${session}; XSRF-TOKEN=1` },
    { 'csrf-token': 'x' },
    { 'x-csrf': '1', origin: `https://${evil}` },
    { 'x-csrf': '1', 'sec-fetch-site': 'same-site' },
  ]) {
    const { statusCode } = await app.inject({
      method: 'POST',
      url: '/api/payments',
      headers: { host: 'a', cookie: session, ...headers },
      payload: '_csrf=1',
    })
    t.equal(statusCode, 403)
  }
  t.equal(upstream.seen.length, 0)
  await hadNoEffect(t)
})

// What was seen in others' code without a number.

t.test('GET signs nobody out, and no address gets the ID token', async t => {
  const { browser, provider } = await edge(t)
  const person = browser()
  await person.login()
  for (const url of [`/oauth2/sign_out?rd=https://${evil}/?t={id_token}`, '/oauth2/sign_out']) {
    const answer = await person.open(url, { crossSite: true })
    t.equal(answer.statusCode, 405)
    t.equal(answer.headers['set-cookie'], undefined)
  }
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200)
  const { location } = (
    await person.fetch(`/oauth2/sign_out?rd=https://${evil}/?t={id_token}`, { method: 'POST', headers: { origin } })
  ).json()
  t.ok(String(location).startsWith(provider.issuer))
  t.notMatch(location, evil)
})

t.test('CVE-2026-107318: a service whose certificate nobody vouches for gets no request', async t => {
  let asked = 0
  const server = createTlsServer(selfSigned(), (_request, response) => {
    asked++
    response.end()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { browser } = await edge(t, {
    upstreams: { payment: `https://localhost:${(server.address() as AddressInfo).port}` },
  })
  const person = browser()
  await person.login()
  // Each goes by connections of its own.
  const ways = {
    'a request without a body': await person.fetch('/api/payments'),
    'a body that is passed on as it comes': await person.fetch('/api/payments', {
      method: 'POST',
      headers: { origin },
      payload: Buffer.alloc(100_000),
    }),
    'a stream': await person.fetch('/api/payments', { headers: { accept: 'text/event-stream' } }),
  }
  for (const [way, { statusCode }] of Object.entries(ways)) t.equal(statusCode, 502, way)
  t.equal(asked, 0)
})
