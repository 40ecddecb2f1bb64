import { randomUUID } from 'node:crypto'
import { testLogger } from '@banking/testkit'
import t from 'tap'
import { readClientAuthentication } from '../src/provider/client-authentication.ts'
import { createProvider } from '../src/provider/oidc.ts'
import type { Redis } from '../src/redis.ts'
import { identityOf } from '../src/sessions/seal.ts'
import { type Browser, edge, origin, writeClientKeys } from './edge.ts'
import { alice, bob } from './provider.ts'

t.test('leads through the provider back to the page that was asked for, with a session', async t => {
  const { browser, provider } = await edge(t)
  const person = browser()
  const response = await person.login(alice, '/accounts/7?month=11#top')
  t.equal(response.headers.location, '/accounts/7?month=11#top')
  const userinfo = await person.fetch('/oauth2/userinfo')
  t.equal(userinfo.statusCode, 200)
  t.match(userinfo.json(), {
    sub: alice.sub,
    name: 'Alice Adams',
    givenName: 'Alice',
    email: 'alice@example.test',
    roles: ['customer'],
    session: { createdAt: /Z$/, authTime: /Z$/, lastSeenAt: /Z$/, idleTimeoutAt: /Z$/, absoluteTimeoutAt: /Z$/ },
  })
  t.equal(userinfo.headers['cache-control'], 'no-store')
  t.match(provider.calls, { par: 1, authorization_code: 1 })
})

t.test('pushes every parameter and shows the browser only client_id and request_uri', async t => {
  const { browser, provider } = await edge(t)
  const response = await browser().open('/oauth2/start')
  const address = new URL(String(response.headers.location))
  t.equal(`${address.origin}${address.pathname}`, `${provider.issuer}/auth`)
  t.same([...address.searchParams.keys()].sort(), ['client_id', 'request_uri'])
  const [pushed] = [...provider.requests.values()]
  t.match(Object.fromEntries(pushed?.parameters ?? []), {
    response_type: 'code',
    redirect_uri: `${origin}/oauth2/callback`,
    scope: 'openid',
    code_challenge_method: 'S256',
    code_challenge: /^[A-Za-z0-9_-]{43}$/,
    nonce: /^[A-Za-z0-9_-]{43}$/,
  })
})

t.test('uses a fresh challenge, nonce and state for each attempt', async t => {
  const { browser, provider } = await edge(t)
  const person = browser()
  await person.open('/oauth2/start')
  await person.open('/oauth2/start')
  const pushed = [...provider.requests.values()].map(({ parameters }) => parameters)
  for (const name of ['code_challenge', 'nonce', 'state'])
    t.not(pushed[0]?.get(name), pushed[1]?.get(name), `${name} differs`)
})

t.test('sets the cookies byte for byte as browsers need them', async t => {
  const { browser } = await edge(t)
  const person = browser()
  const callback = await person.start()
  const [login] = [...person.jar].filter(([name]) => name.startsWith('__Host-login-'))
  t.match(login?.[0], /^__Host-login-[a-z0-9]{9}[A-Za-z0-9_-]{8}0$/)
  t.match(
    login?.[1].line,
    /^__Host-login-[A-Za-z0-9_-]+=[A-Za-z0-9_-]{43}; Max-Age=1800; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
  )
  const response = await person.comeBack(callback)
  const lines = [response.headers['set-cookie'] ?? []].flat()
  const session = lines.find(line => line.startsWith('__Host-session='))
  t.match(session, /^__Host-session=[A-Za-z0-9_-]{43}; Path=\/; HttpOnly; Secure; SameSite=Strict$/)
  t.ok(
    lines.some(line => line === `${login?.[0]}=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Lax`),
    'the transaction cookie is deleted with its own attributes',
  )
})

t.test('begins from the configured origin whatever the request says about hosts', async t => {
  const { app, provider } = await edge(t)
  const spoofed = {
    host: 'evil.example',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-proto': 'gopher',
    forwarded: 'host=evil.example',
  }
  await app.inject({ url: '/oauth2/start', headers: spoofed })
  const [pushed] = [...provider.requests.values()]
  t.equal(pushed?.parameters.get('redirect_uri'), `${origin}/oauth2/callback`)
})

t.test('refuses a callback in another browser’s jar without asking the provider for tokens', async t => {
  const { browser, provider } = await edge(t)
  const attacker = browser()
  const victim = browser()
  const callback = await attacker.start()
  const response = await victim.comeBack(callback)
  t.equal(response.statusCode, 400)
  t.equal(victim.cookie(), undefined)
  await victim.start()
  t.equal((await victim.comeBack(callback)).statusCode, 400, 'also with a transaction of the victim’s own')
  t.equal(provider.calls['authorization_code'], undefined)
})

t.test('refuses every state but the one that belongs to the cookie, without a token call', async t => {
  const { browser, provider } = await edge(t)
  for (const change of [
    (response: URLSearchParams) => response.delete('state'),
    (response: URLSearchParams) => response.set('state', ''),
    (response: URLSearchParams) => response.set('state', 'x'.repeat(5000)),
    (response: URLSearchParams) => response.set('state', String(response.get('state')).slice(0, -1)),
    (response: URLSearchParams) =>
      response.set('state', `${String(response.get('state')).split('.')[0]}.${'A'.repeat(43)}`),
    (response: URLSearchParams) => response.append('state', 'second'),
    (response: URLSearchParams) => response.append('code', 'second'),
    (response: URLSearchParams) => response.append('iss', 'https://evil.example'),
    (response: URLSearchParams) => response.set('state', '__proto__'),
  ]) {
    const person = browser()
    const callback = new URL(await person.start())
    change(callback.searchParams)
    const response = await person.comeBack(callback.href)
    t.equal(response.statusCode, 400, change.toString())
    t.match(response.headers['content-type'], 'text/html')
    t.equal(person.cookie(), undefined)
  }
  t.equal(provider.calls['authorization_code'], undefined)
})

t.test('takes a callback once', async t => {
  const { browser, provider } = await edge(t)
  const person = browser()
  const callback = await person.start()
  const cookies = new Map(person.jar)
  await person.comeBack(callback)
  t.equal(provider.calls['authorization_code'], 1)
  person.jar.clear()
  for (const [name, cookie] of cookies) person.jar.set(name, cookie)
  t.equal((await person.comeBack(callback)).statusCode, 400, 'even with the old cookie put back')
  t.equal(provider.calls['authorization_code'], 1)
})

t.test('checks iss on the callback, on errors too', async t => {
  const { browser, provider } = await edge(t)
  for (const change of [
    (response: URLSearchParams) => response.set('iss', `${provider.issuer}/`),
    (response: URLSearchParams) => {
      response.delete('code')
      response.set('error', 'temporarily_unavailable')
      response.set('error_description', 'authentication_expired')
      response.set('iss', 'https://evil.example')
    },
  ]) {
    const person = browser()
    const callback = new URL(await person.start())
    change(callback.searchParams)
    const response = await person.comeBack(callback.href)
    t.equal(response.statusCode, 400)
    t.match(response.body, 'The login could not be finished.')
    t.equal(person.cookie(), undefined)
  }
  t.equal(provider.calls['authorization_code'], undefined)
})

t.test('begins no session from an ID token that is almost right', async t => {
  const { browser, provider } = await edge(t)
  const { generateKeyPair, SignJWT } = await import('jose')
  const other = await generateKeyPair('ES256')
  const signed = (header: { alg: string; kid?: string }, key: CryptoKey | Uint8Array) => ({
    sign: (claims: Record<string, unknown>) => new SignJWT(claims).setProtectedHeader(header).sign(key),
  })
  const wrong: Record<string, object> = {
    'issuer with a slash': { idToken: (c: { iss: string }) => ({ ...c, iss: `${c.iss}/` }) },
    'another authorised party': { idToken: (c: object) => ({ ...c, aud: ['banking-web-app', 'b'], azp: 'b' }) },
    'an empty subject': { idToken: (c: object) => ({ ...c, sub: '' }) },
    'an unknown key id': signed({ alg: 'ES256', kid: 'unknown' }, other.privateKey),
    'a changed signature': {
      sign: async (claims: Record<string, unknown>) => {
        const token = await new SignJWT(claims)
          .setProtectedHeader({ alg: 'ES256', kid: provider.kid() })
          .sign(provider.privateKey())
        return `${token.slice(0, -10)}${token.at(-10) === 'A' ? 'B' : 'A'}${token.slice(-9)}`
      },
    },
  }
  for (const [name, hooks] of Object.entries(wrong)) {
    Object.assign(provider.hooks, { idToken: undefined, sign: undefined }, hooks)
    const person = browser()
    const response = await person.comeBack(await person.start())
    t.equal(response.statusCode, 400, name)
    t.equal(person.cookie(), undefined, `${name}: no session`)
  }
  Object.assign(provider.hooks, { idToken: undefined, sign: undefined })
  const person = browser()
  await person.login()
  t.ok(person.cookie(), 'the honest one is taken')
})

t.test('refuses answers of the token endpoint that are not what they should be', async t => {
  const { browser, provider } = await edge(t)
  const cases: [string, { status: number; body: unknown; type?: string; headers?: Record<string, string> }, number][] =
    [
      ['HTML', { status: 200, body: '<html>', type: 'text/html' }, 400],
      ['not JSON', { status: 200, body: '{' }, 400],
      ['no access token', { status: 200, body: { token_type: 'Bearer' } }, 400],
      ['a redirect', { status: 302, body: '', headers: { location: 'https://evil.example' } }, 400],
      ['invalid_grant', { status: 400, body: { error: 'invalid_grant' } }, 400],
      ['invalid_client', { status: 401, body: { error: 'invalid_client' } }, 503],
      ['500', { status: 500, body: 'boom' }, 503],
      ['429', { status: 429, body: {} }, 503],
    ]
  for (const [name, answer, status] of cases) {
    provider.hooks.token = async () => answer
    const person = browser()
    const response = await person.comeBack(await person.start())
    t.equal(response.statusCode, status, name)
    t.match(response.headers['content-type'], 'text/html')
    t.notMatch(response.body, 'boom')
    t.equal(person.cookie(), undefined)
  }
})

t.test('takes no access token that would be more than one header field, at a login or for an upstream', async t => {
  const { browser, provider, seen } = await edge(t)
  for (const more of ['\r\nx-a: b', '\nx-a: b', ' b', '\0', '\u010a', 'é']) {
    const person = browser()
    provider.hooks.token = async (_grant, honest) => {
      const answer = await honest()
      const body = answer.body as { access_token: string }
      return { ...answer, body: { ...body, access_token: body.access_token + more } }
    }
    t.equal((await person.comeBack(await person.start())).statusCode, 400, JSON.stringify(more))
    t.equal(person.cookie(), undefined)
    const { token } = provider.hooks
    provider.hooks.token = (grant, honest, parameters) =>
      grant === 'exchange' ? (token as NonNullable<typeof token>)(grant, honest, parameters) : honest()
    await person.login()
    t.match((await person.fetch('/api/payments/accounts')).json(), { status: 503, code: 'provider_unavailable' })
  }
  t.same(seen, [])
})

t.test('reads no more of an answer than an answer can be long', async t => {
  const { browser, provider } = await edge(t)
  provider.hooks.token = async (_grant, honest) => {
    const answer = await honest()
    return { ...answer, body: { ...(answer.body as object), padding: 'x'.repeat(600_000) } }
  }
  const person = browser()
  t.equal((await person.comeBack(await person.start())).statusCode, 400)
  t.equal(person.cookie(), undefined)
})

t.test('compares the issuer character by character, also where a URL parser would not', async t => {
  const { config } = await edge(t)
  const { logger } = testLogger()
  const provider = createProvider({
    ...config.provider,
    issuer: 'https://id.example',
    authentication: await readClientAuthentication(config.provider.credential, logger),
    publicOrigin: origin,
    logger,
    fetch: async () =>
      Response.json({
        issuer: 'https://id.example/',
        authorization_endpoint: 'https://id.example/auth',
        token_endpoint: 'https://id.example/token',
        pushed_authorization_request_endpoint: 'https://id.example/par',
        jwks_uri: 'https://id.example/certs',
      }),
  })
  t.match(await provider.check().catch(error => error), { kind: 'untrusted' })
})

t.test('raises the alarm when the provider does not know us any more', async t => {
  const { browser, keyFile, provider, lines } = await edge(t)
  const person = browser()
  const callback = await person.start()
  provider.hooks.token = async () => ({ status: 401, body: { error: 'invalid_client' } })
  await person.comeBack(callback)
  t.ok(lines().some(line => line['alert'] === 'client_refused' && line['level'] === 'error'))
  t.ok(keyFile)
})

t.test('starts without a provider, says so on a page, and finds it once it is there', async t => {
  const { browser, provider } = await edge(t)
  await provider.stop()
  const person = browser()
  const page = await person.open('/oauth2/start')
  t.equal(page.statusCode, 503)
  t.match(page.headers, { 'retry-after': /\d/, 'content-type': 'text/html; charset=utf-8' })
  t.match(page.body, 'The identity provider does not answer.')
  t.match((await person.send('/oauth2/start')).json(), { code: 'provider_unavailable' })
  await provider.start()
  await person.login()
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200)
})

t.test('trusts no discovery document that is not one, or lacks what is required', async t => {
  for (const change of [
    (d: object) => ({ ...d, pushed_authorization_request_endpoint: undefined }),
    () => ({ status: 200, body: '<html>', type: 'text/html' }),
    () => ({ status: 302, body: '', headers: { location: 'https://evil.example' } }),
  ]) {
    const { browser, provider } = await edge(t)
    provider.hooks.discovery = change as never
    t.equal((await browser().open('/oauth2/start')).statusCode, 503, change.toString())
    t.equal(provider.calls['par'], undefined)
  }
})

t.test('says 503 and redirects nowhere when the request cannot be pushed', async t => {
  const { browser, provider } = await edge(t)
  for (const answer of [
    { status: 400, body: { error: 'invalid_request' } },
    { status: 500, body: '' },
    { status: 201, body: {} },
    { status: 200, body: '<html>', type: 'text/html' },
  ]) {
    provider.hooks.par = () => answer
    const response = await browser().open('/oauth2/start')
    t.equal(response.statusCode, 503)
    t.equal(response.headers.location, undefined)
  }
})

t.test('never adopts a session id that was there before', async t => {
  const { browser } = await edge(t)
  const person = browser()
  const planted = 'A'.repeat(43)
  person.jar.set('__Host-session', { value: planted, line: '', lax: false })
  await person.login()
  t.not(person.cookie(), planted)
  person.jar.set('__Host-session', { value: planted, line: '', lax: false })
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 401)
})

t.test('ends the old session of the browser when another person logs in', async t => {
  const { browser } = await edge(t)
  const person = browser()
  await person.login(alice)
  const old = person.cookie() as string
  await person.login(bob)
  t.not(person.cookie(), old)
  t.match((await person.fetch('/oauth2/userinfo')).json(), { sub: bob.sub })
  person.jar.set('__Host-session', { value: old, line: '', lax: false })
  t.match((await person.fetch('/oauth2/userinfo')).json(), { code: 'login_required', reason: 'ended' })
})

t.test('lets several tabs log in at once and forgets the oldest beyond five', async t => {
  const { browser } = await edge(t)
  const person = browser()
  const callbacks: string[] = []
  for (let tab = 0; tab < 6; tab++) callbacks.push(await person.start(`/accounts/${tab}`))
  t.equal([...person.jar.keys()].filter(name => name.startsWith('__Host-login-')).length, 5)
  t.equal((await person.comeBack(callbacks[0] as string)).statusCode, 400, 'the first was pushed out')
  t.equal((await person.comeBack(callbacks[5] as string)).headers.location, '/accounts/5')
  t.equal((await person.comeBack(callbacks[1] as string)).headers.location, '/accounts/1')
})

t.test('a crowd of login cookies that nobody gave out costs one command, and is taken away', async t => {
  const { app, redis } = await edge(t)
  const tags = Array.from({ length: 120 }, (_, n) => `${String(n).padStart(9, '0')}AAAAAAAA0`)
  for (const value of ['x', 'A'.repeat(43)]) {
    const cookie = tags.map(tag => `__Host-login-${tag}=${value}`).join('; ')
    const commands: string[][] = []
    const { run, remove } = redis
    redis.run = (command, ...args) => {
      commands.push([command])
      return run(command, ...args)
    }
    redis.remove = keys => {
      commands.push(['DEL', ...keys])
      return remove(keys)
    }
    const response = await app.inject({ url: '/oauth2/start', headers: { cookie } })
    Object.assign(redis, { run, remove })
    t.equal(response.statusCode, 302)
    t.same(
      commands.map(([command]) => command),
      ['SET', 'DEL'],
      'one is saved, the others go together',
    )
    t.ok((commands[1] as string[]).length <= 6, 'as many as a browser may hold, whatever came')
    const gone = response.headers['set-cookie'] as string[]
    t.equal(gone.filter(line => line.includes('Max-Age=0')).length, 116)
  }
})

t.test('leaves cookies alone that only begin like its own', async t => {
  const { app } = await edge(t)
  for (const tag of ['', ' b', 'a\tb', '\xff', '<x>', '%0d%0aX: y']) {
    const cookie = Array.from({ length: 8 }, (_, n) => `__Host-login-${tag}${n}=x`).join('; ')
    const response = await app.inject({ url: '/oauth2/start', headers: { cookie } })
    t.equal(response.statusCode, 302, JSON.stringify(tag))
    const set = response.cookies.filter(({ name }) => name.startsWith('__Host-login-'))
    t.match(set, [{ name: /^__Host-login-[a-z0-9]{9}[A-Za-z0-9_-]{8}0$/ }])
    t.equal(set.length, 1)
  }
})

t.test('begins an expired or replayed login anew, once, from a page of our own site', async t => {
  const { browser, redis } = await edge(t)
  const person = browser()
  const callback = await person.start('/pay')
  await expireLogins(person, redis)
  const response = await person.comeBack(callback)
  t.equal(response.statusCode, 400)
  t.match(response.body, '<meta http-equiv="refresh" content="0;url=/oauth2/start?again=1&amp;return_to=%2F">')
  const again = await person.open('/oauth2/start?again=1')
  t.equal(again.statusCode, 302)
})

t.test('a login that came too late still leads to the page that was asked for', async t => {
  const { browser, provider, advance } = await edge(t)
  const person = browser()
  const callback = await person.start('/pay?to=7#amount')
  advance(10 * 60_000)
  const late = await person.comeBack(callback)
  t.equal(late.statusCode, 400)
  t.equal(provider.calls['authorization_code'], undefined)
  const next = refreshOf(late.body)
  t.equal(next, '/oauth2/start?again=1&return_to=%2Fpay%3Fto%3D7%23amount')
  const again = await person.open(next)
  const response = await person.comeBack(provider.login(String(again.headers.location), alice))
  t.equal(response.headers.location, '/pay?to=7#amount')
})

t.test('a login that is sent again leads to its page while the session lives, and begins no other', async t => {
  const { browser, provider } = await edge(t)
  const person = browser()
  const callback = await person.start('/pay#x')
  await person.comeBack(callback)
  const cookie = person.cookie()
  // Without the Strict cookie, as the provider's redirect comes; then from our own page, with it.
  const replayed = await person.comeBack(callback)
  t.equal(replayed.statusCode, 400)
  const onward = await person.open(refreshOf(replayed.body))
  t.match(onward, { statusCode: 302, headers: { location: '/pay#x' } })
  t.equal(person.cookie(), cookie)
  t.equal(provider.calls['authorization_code'], 1)
  const last = person.jar.get('__Host-edge-last-login')
  t.match(
    last?.line,
    /^__Host-edge-last-login=[A-Za-z0-9_-]{43}; Max-Age=1800; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
  )
})

t.test('a login that a logout covers asks for the password once more, and no more than once', async t => {
  const { browser, provider, sessions } = await edge(t)
  const person = browser()
  const carol = { ...alice, sub: randomUUID() }
  await sessions.endBy({ sub: carol.sub })
  const past = { ...carol, auth_time: Math.floor(Date.now() / 1000) - 60 }
  const response = await person.comeBack(await person.start('/pay', past))
  t.equal(response.statusCode, 302)
  t.equal(person.cookie(), undefined)
  const pushed = [...provider.requests.values()].at(-1)
  t.equal(pushed?.parameters.get('prompt'), 'login')
  const refused = await person.comeBack(provider.login(String(response.headers.location), past))
  t.equal(refused.statusCode, 400)
  t.equal(person.cookie(), undefined)
  const later = { ...carol, auth_time: Math.floor(Date.now() / 1000) + 2 }
  t.equal((await person.comeBack(await person.start('/pay', later))).headers.location, '/pay')
})

t.test('shows a page when the second try expires too', async t => {
  const { browser, provider, redis } = await edge(t)
  const person = browser()
  const again = await person.open('/oauth2/start?again=1')
  const callback = provider.login(String(again.headers.location))
  await expireLogins(person, redis)
  const response = await person.comeBack(callback)
  t.equal(response.statusCode, 400)
  t.notMatch(response.body, 'http-equiv')
  t.match(response.body, 'This login has expired or was used before.')
})

t.test('leads on to the app when the login is lost but a session lives', async t => {
  const { browser } = await edge(t)
  const person = browser()
  const callback = await person.start()
  await person.comeBack(callback)
  const response = await person.open(callback.slice(origin.length))
  t.equal(response.statusCode, 302)
  t.equal(response.headers.location, '/')
  t.equal((await person.open('/oauth2/start?again=1&return_to=/pay')).headers.location, '/pay')
})

t.test('begins anew without a word when the login page was left open too long, once', async t => {
  const { browser, provider } = await edge(t)
  const person = browser()
  provider.hooks.response = response => {
    response.delete('code')
    response.set('error', 'temporarily_unavailable')
    response.set('error_description', 'authentication_expired')
    return response
  }
  const response = await person.comeBack(await person.start('/pay'))
  t.equal(response.statusCode, 302)
  const second = provider.login(String(response.headers.location))
  t.match((await person.comeBack(second)).body, 'The login could not be finished.')
  delete provider.hooks.response
  const third = await person.comeBack(await person.start('/pay'))
  t.equal(third.headers.location, '/pay')
})

t.test('shows a page of its own for a refusal, and reflects nothing of it', async t => {
  const { browser, provider } = await edge(t)
  provider.hooks.response = response => {
    response.delete('code')
    response.set('error', 'access_denied')
    response.set('error_description', '<script>alert(1)</script>')
    return response
  }
  const person = browser()
  const response = await person.comeBack(await person.start())
  t.equal(response.statusCode, 400)
  t.match(response.body, 'You did not finish signing in')
  t.notMatch(response.body, /bank(?!ing local)/i, 'it is the operator’s page')
  t.notMatch(response.body, 'alert(1)')
  t.notMatch(response.body, /<script|<style|style=|onclick/i)
  t.match(response.headers['content-security-policy'], "default-src 'none'")
})

t.test('asks for the password again when the provider’s own session is too old for a session of ours', async t => {
  const { browser, provider } = await edge(t)
  const person = browser()
  const old = { ...alice, auth_time: Math.floor(Date.now() / 1000) - 8 * 3600 + 30 }
  const response = await person.comeBack(await person.start('/pay', old))
  t.equal(response.statusCode, 302)
  const [pushed] = [...provider.requests.values()]
  t.equal(pushed?.parameters.get('prompt'), 'login')
  t.equal(person.cookie(), undefined)
  const second = await person.comeBack(provider.login(String(response.headers.location), old))
  t.equal(second.statusCode, 400, 'a provider that does not ask again is not believed')
})

t.test('begins no login for an image, a script or a frame of another site', async t => {
  const { browser, provider } = await edge(t)
  for (const site of ['cross-site', 'same-site'])
    for (const kind of [
      { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' },
      { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' },
      { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' },
      { 'sec-fetch-mode': 'websocket', 'sec-fetch-dest': 'empty' },
    ]) {
      const headers = { 'sec-fetch-site': site, ...kind }
      const response = await browser().send('/oauth2/start', { headers })
      t.match(response.json(), { code: 'csrf_refused' }, JSON.stringify(headers))
    }
  t.same(provider.calls, {})
})

t.test('begins a login for an address that was typed in, and for a program that is no browser', async t => {
  const { browser } = await edge(t)
  for (const headers of [
    { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' },
    // What fetch of Node.js says of itself, whatever it is told to say.
    { 'sec-fetch-mode': 'cors' },
    {},
  ]) {
    const response = await browser().send('/oauth2/start', { headers })
    t.equal(response.statusCode, 302, JSON.stringify(headers))
  }
})

t.test(
  'a link of another site asks before it begins a login, so that none can begin them one after another',
  async t => {
    const { browser, provider } = await edge(t)
    const [laptop, phone] = [browser(), browser()]
    await phone.login()
    await laptop.login()
    const { calls } = provider
    const pushed = calls['par']
    for (let n = 0; n < 12; n++) {
      const page = await laptop.open('/oauth2/start?return_to=/pay%3Fa%3D1', { crossSite: true })
      t.equal(page.statusCode, 200)
      t.match(page.body, 'href="/oauth2/sign_in?return_to=%2Fpay%3Fa%3D1"')
    }
    t.equal(calls['par'], pushed)
    const onward = await laptop.open('/oauth2/sign_in?return_to=%2Fpay%3Fa%3D1')
    t.match(onward, { statusCode: 302, headers: { location: '/pay?a=1' } }, 'who is signed in goes on')
    t.equal((await phone.fetch('/oauth2/userinfo')).statusCode, 200, 'and no other device was signed out')
  },
)

t.test('a login that the provider did not take leaves nothing behind', async t => {
  const { browser, provider, redis } = await edge(t)
  provider.hooks.par = () => ({ status: 500, body: '' })
  const before = Number(await redis.run('DBSIZE'))
  for (let n = 0; n < 30; n++) await browser().open('/oauth2/start')
  // Other tests write to the same Redis.
  t.ok(Number(await redis.run('DBSIZE')) < before + 20)
})

t.test('the provider’s way back from a logout counts once, in the browser that asked for it', async t => {
  const { browser } = await edge(t)
  const person = browser()
  await person.login()
  const response = await person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  const state = new URL(response.json().location).searchParams.get('state') as string
  const back = (query: string) => person.open(`/oauth2/signed_out${query}`, { crossSite: true })
  for (const query of [
    '',
    '?state=',
    '?state=other',
    `?state=${state}x`,
    `?state=${state}&state=${state}`,
    `?State=${state}`,
    `?state=${'A'.repeat(state.length)}`,
    '?state=<script>alert(1)</script>',
  ]) {
    const refused = await back(query)
    t.equal(refused.statusCode, 400, query)
    t.match(refused.body, 'This sign-out could not be confirmed.')
    t.notMatch(refused.body, /alert|http-equiv/)
  }
  t.equal((await browser().open(`/oauth2/signed_out?state=${state}`)).statusCode, 400, 'nor in another browser')
  const page = await back(`?state=${state}`)
  t.equal(page.statusCode, 200)
  t.match(page.body, 'You are signed out')
  t.equal((await back(`?state=${state}`)).statusCode, 400, 'once')
})

t.test('a sign-out that the provider has no part in ends on the same page', async t => {
  const { browser, provider } = await edge(t)
  provider.hooks.discovery = ({ end_session_endpoint: _, ...document }) => document
  const person = browser()
  await person.login()
  const response = await person.open('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  t.equal(response.statusCode, 303)
  t.match(response.headers.location, /^\/oauth2\/signed_out\?state=/)
  t.match((await person.open(String(response.headers.location))).body, 'You are signed out')
})

t.test(
  'a form is led to a logout at another host than the issuer’s by a page: the policy redirects no form there',
  async t => {
    const { browser, provider } = await edge(t)
    const there = 'http://127.0.0.2:9/logout'
    provider.hooks.discovery = document => ({ ...document, end_session_endpoint: there })
    const person = browser()
    await person.login()
    const response = await person.open('/oauth2/sign_out', { method: 'POST', headers: { origin } })
    t.equal(response.statusCode, 200)
    t.match(response.headers['content-type'], 'text/html')
    t.notMatch(String(response.headers['content-security-policy']), '127.0.0.2')
    t.match(response.body, `<meta http-equiv="refresh" content="0;url=${there}?`)
    t.equal(person.cookie(), undefined)
  },
)

t.test('with a web app, the way back from a logout leads to it', async t => {
  const { browser } = await edge(t, { webRoot: import.meta.dirname })
  const person = browser()
  await person.login()
  const response = await person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  const state = new URL(response.json().location).searchParams.get('state')
  const back = await person.open(`/oauth2/signed_out?state=${state}`, { crossSite: true })
  t.match(back, { statusCode: 303, headers: { location: '/' } })
})

t.test('stops a browser that goes round in circles', async t => {
  const { browser, advance } = await edge(t)
  const person = browser()
  const statuses: number[] = []
  for (let round = 0; round < 10; round++) statuses.push((await person.open('/oauth2/start')).statusCode)
  t.equal(statuses[0], 302)
  t.equal(statuses[9], 429)
  const page = await person.open('/oauth2/start')
  t.match(page.body, 'The login keeps going round in circles.')
  t.match(page.headers['retry-after'], /^\d+$/)
  advance(61_000)
  t.equal((await person.open('/oauth2/start')).statusCode, 302)
})

t.test('publishes its public keys, and a new key file is used without a restart', async t => {
  const { app, browser, keyFile } = await edge(t)
  const first = (await app.inject('/oauth2/jwks')).json()
  t.match(first, { keys: [{ kid: 'client-1', alg: 'ES256', use: 'sig', crv: 'P-256' }] })
  t.notMatch(JSON.stringify(first), '"d"')
  await writeClientKeys(keyFile, ['client-2', 'client-1'])
  const { utimesSync } = await import('node:fs')
  utimesSync(keyFile, new Date(), new Date(Date.now() + 5_000))
  let kids: string[] = []
  while (kids.length < 2) {
    kids = (await app.inject('/oauth2/jwks')).json().keys.map((key: { kid: string }) => key.kid)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  t.same(kids, ['client-2', 'client-1'])
  await browser().login()
})

t.test('has no token in any byte that a browser receives, nor in the log', async t => {
  const { browser, provider, logged } = await edge(t)
  const person = browser()
  await person.login()
  await person.fetch('/oauth2/userinfo')
  await person.fetch('/api/payments/accounts')
  provider.forgetAccessTokens()
  await person.fetch('/api/customers/me')
  await person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  const secrets = provider.issued.filter(token => !token.startsWith('code-') && token.split('.').length !== 3)
  t.ok(secrets.length >= 4)
  const bytes = person.received.join('\n')
  for (const secret of secrets) {
    t.notOk(bytes.includes(secret), 'not in the browser')
    t.notOk(logged().includes(secret), 'not in the log')
  }
  const idTokens = provider.issued.filter(token => token.split('.').length === 3)
  for (const idToken of idTokens) t.notOk(logged().includes(idToken))
  for (const { value } of person.jar.values()) t.notOk(logged().includes(value), 'no cookie in the log')
})

/** What time does to the transactions of a browser. */
/** Where a page without script takes the browser by itself. */
const refreshOf = (body: string): string =>
  String(/http-equiv="refresh" content="0;url=([^"]+)"/.exec(body)?.[1]).replaceAll('&amp;', '&')

async function expireLogins(person: Browser, redis: Redis): Promise<void> {
  for (const [name, { value }] of person.jar)
    if (name.startsWith('__Host-login-')) await redis.run('DEL', `t:{${identityOf(value)?.id}}`)
}
