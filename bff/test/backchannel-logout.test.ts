import { randomUUID } from 'node:crypto'
import { generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'
import t from 'tap'
import { type Browser, type Edge, edge } from './edge.ts'
import { alice, type Person } from './provider.ts'

const post = ({ app }: Edge, body: string, type = 'application/x-www-form-urlencoded') =>
  app.inject({
    method: 'POST',
    url: '/oauth2/backchannel_logout',
    headers: { host: 'localhost:3000', 'content-type': type },
    payload: body,
  })
const send = (each: Edge, token: string) => post(each, new URLSearchParams({ logout_token: token }).toString())

/** A person of this test alone: a logout leaves a tombstone in the store. */
const somebody = (): Person => ({ ...alice, sub: randomUUID() })
const isLoggedIn = async (person: Browser) => (await person.fetch('/oauth2/userinfo')).statusCode === 200

t.test('ends the sessions of one login at the provider, and no other', async t => {
  const alice = somebody()
  const each = await edge(t)
  const [laptop, phone] = [each.browser(), each.browser()]
  await laptop.login(alice)
  const sid = each.provider.lastSid()
  await phone.login(alice)
  const response = await send(each, await each.provider.logoutToken({ sid, sub: alice.sub }))
  t.equal(response.statusCode, 200)
  t.equal(response.body, '')
  t.equal(response.headers['cache-control'], 'no-store')
  t.match((await laptop.fetch('/oauth2/userinfo')).json(), { code: 'login_required', reason: 'revoked' })
  t.equal(await isLoggedIn(phone), true)
})

t.test('ends every session of a person when the token names nothing else', async t => {
  const alice = somebody()
  const bob = somebody()
  const each = await edge(t)
  const [laptop, phone, other] = [each.browser(), each.browser(), each.browser()]
  await laptop.login(alice)
  await phone.login(alice)
  await other.login(bob)
  t.equal((await send(each, await each.provider.logoutToken({ sub: alice.sub }))).statusCode, 200)
  t.same(await Promise.all([laptop, phone, other].map(isLoggedIn)), [false, false, true])
})

t.test('takes a sid of any characters, and one that nobody has', async t => {
  const each = await edge(t)
  for (const sid of ['<{!%<', '{}', '*', ' ', '\u0000', 'é\u{1f600}', '__proto__'])
    t.equal((await send(each, await each.provider.logoutToken({ sid }))).statusCode, 200, JSON.stringify(sid))
  const person = each.browser()
  each.provider.hooks.idToken = claims => ({ ...claims, sid: '<{!%<' })
  await person.login()
  await send(each, await each.provider.logoutToken({ sid: '<{!%<' }))
  t.equal(await isLoggedIn(person), false)
})

t.test('takes no token twice, so that nobody can log a person out again and again', async t => {
  const alice = somebody()
  const each = await edge(t)
  const token = await each.provider.logoutToken({ sub: alice.sub })
  t.equal((await send(each, token)).statusCode, 200)
  const person = each.browser()
  await person.login({ ...alice, auth_time: Math.floor(Date.now() / 1000) + 1 })
  const replayed = await send(each, token)
  t.equal(replayed.statusCode, 400)
  t.match(replayed.json(), { code: 'logout_token_invalid', error: 'invalid_request', detail: /used before/ })
  t.equal(await isLoggedIn(person), true)
  each.advance(133_000)
  t.equal((await send(each, token)).statusCode, 400, 'nor when it is forgotten: then it is too old')
})

t.test('of one token sent many times at once, one is taken', async t => {
  const alice = somebody()
  const each = await edge(t)
  const person = each.browser()
  await person.login(alice)
  const token = await each.provider.logoutToken({ sub: alice.sub })
  const statuses = await Promise.all(Array.from({ length: 8 }, async () => (await send(each, token)).statusCode))
  t.equal(statuses.filter(status => status === 200).length, 1)
  t.equal(statuses.filter(status => status === 400).length, 7)
  t.equal(await isLoggedIn(person), false)
})

t.test('refuses a sid that is a login of somebody else than the sub, and ends neither', async t => {
  const alice = somebody()
  const bob = somebody()
  const each = await edge(t)
  const [one, other] = [each.browser(), each.browser()]
  await one.login(alice)
  await other.login(bob)
  const token = await each.provider.logoutToken({ sid: each.provider.lastSid(), sub: alice.sub })
  t.equal((await send(each, token)).statusCode, 400)
  t.same(await Promise.all([one, other].map(isLoggedIn)), [true, true])
})

t.test('refuses every token that is wrong in one thing, says so in the log, and ends nothing', async t => {
  const alice = somebody()
  const each = await edge(t)
  const { provider } = each
  const person = each.browser()
  await person.login(alice)
  const sid = each.provider.lastSid()
  const who = { sid, sub: alice.sub }
  const now = () => Math.floor(Date.now() / 1000)
  const event = 'http://schemas.openid.net/event/backchannel-logout'
  const { privateKey } = await generateKeyPair('ES256')
  type Claims = Record<string, unknown>
  const changed = (more: Claims) => provider.logoutToken(who, claims => ({ ...claims, ...more }))
  const lacking = (name: string) => provider.logoutToken(who, ({ [name]: _, ...claims }) => claims)
  const raw = async (text: string | Buffer) => {
    const header = Buffer.from(JSON.stringify({ alg: 'ES256', kid: provider.kid(), typ: 'logout+jwt' })).toString(
      'base64url',
    )
    const input = `${header}.${Buffer.from(text).toString('base64url')}`
    const key = provider.privateKey()
    const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, key, Buffer.from(input))
    return `${input}.${Buffer.from(signature).toString('base64url')}`
  }
  const times = { iat: now(), exp: now() + 120 }
  // Of one use only: a token that was taken in an earlier run would be refused for that.
  const jti = randomUUID()
  const claims = { iss: provider.issuer, aud: 'banking-web-app', jti, ...times, events: { [event]: {} } }
  const wrong: Record<string, string | Promise<string>> = {
    'no token at all': 'x',
    'an ID token': provider.issued.findLast(token => token.split('.').length === 3) as string,
    'a type of access tokens': provider.logoutToken(who, undefined, { typ: 'at+jwt' }),
    'the type JWT': provider.logoutToken(who, undefined, { typ: 'JWT' }),
    'an unknown key': provider.logoutToken(who, undefined, { kid: 'unknown' }),
    'another key': new SignJWT({ ...claims, ...who })
      .setProtectedHeader({ alg: 'ES256', kid: provider.kid(), typ: 'logout+jwt' })
      .sign(privateKey),
    'an unknown critical header': provider.logoutToken(who, undefined, { crit: ['x'], x: 1 }).catch(() => 'x'),
    'an issuer with a slash': changed({ iss: `${provider.issuer}/` }),
    'no issuer': lacking('iss'),
    'no audience': lacking('aud'),
    'another audience in a list': changed({ aud: ['another'] }),
    'a second audience': changed({ aud: ['banking-web-app', 'another'] }),
    'no iat': lacking('iat'),
    'an iat of long ago': changed({ iat: now() - 131 }),
    'an iat to come': changed({ iat: now() + 60 }),
    'no exp': lacking('exp'),
    'an exp that is past': changed({ exp: now() - 11 }),
    'an exp that is text': changed({ exp: '9999999999' }),
    'no jti': lacking('jti'),
    'an empty jti': changed({ jti: '' }),
    'a jti that is a number': changed({ jti: 7 }),
    'a jti without end': changed({ jti: randomUUID().repeat(300) }),
    'events that are a list': changed({ events: [event] }),
    'events that are text': changed({ events: event }),
    'an event that is true': changed({ events: { [event]: true } }),
    'an event that is a list': changed({ events: { [event]: [] } }),
    'an event that is null': changed({ events: { [event]: null } }),
    'an empty nonce': changed({ nonce: '' }),
    'a nonce that is null': changed({ nonce: null }),
    'neither sid nor sub': provider.logoutToken({}),
    'an empty sid and no sub': provider.logoutToken({ sid: '' }),
    'a sid that is a list': changed({ sid: [sid] }),
    'a sub that is a number': changed({ sub: 7 }),
    'a sub that is a number and no sid': changed({ sid: undefined, sub: 7 }),
    'an empty sub and no sid': changed({ sid: undefined, sub: '' }),
    'a sub without end and no sid': changed({ sid: undefined, sub: 'x'.repeat(256) }),
    'a member twice': raw(
      `${JSON.stringify({ ...claims, sub: 'somebody' }).slice(0, -1)},"sub":${JSON.stringify(alice.sub)}}`,
    ),
    'bytes that are no UTF-8': raw(Buffer.from(JSON.stringify({ ...claims, ...who, more: '\xff' }), 'latin1')),
    'a list of claims': raw(JSON.stringify([{ ...claims, ...who }])),
  }
  for (const [name, token] of Object.entries(wrong)) {
    const response = await send(each, await token)
    t.equal(response.statusCode, 400, name)
    t.match(response.json(), { code: 'logout_token_invalid' }, name)
    t.equal(response.headers['cache-control'], 'no-store', name)
  }
  t.equal(await isLoggedIn(person), true)
  t.match(each.logged(), 'logout token refused')
  for (const secret of [sid, alice.sub]) t.notMatch(each.logged(), secret, 'no personal datum in the log')
})

t.test('takes exactly one logout_token, as a form of reasonable size', async t => {
  const alice = somebody()
  const each = await edge(t)
  const person = each.browser()
  await person.login(alice)
  const token = await each.provider.logoutToken({ sub: alice.sub })
  const cases: [string, string, string | undefined, number][] = [
    ['twice the same', `logout_token=${token}&logout_token=${token}`, undefined, 400],
    ['one and another', `logout_token=x&logout_token=${token}`, undefined, 400],
    ['none', 'token=x', undefined, 400],
    ['an empty one', 'logout_token=', undefined, 400],
    ['nothing', '', undefined, 400],
    ['JSON', JSON.stringify({ logout_token: token }), 'application/json', 400],
    ['the token alone', token, 'application/logout+jwt', 400],
    ['text', `logout_token=${token}`, 'text/plain', 400],
    ['too much', `logout_token=${token}&padding=${'x'.repeat(64 * 1024)}`, undefined, 413],
  ]
  for (const [name, body, type, status] of cases) {
    const response = await post(each, body, type)
    t.equal(response.statusCode, status, name)
    t.equal(response.headers['cache-control'], 'no-store', name)
  }
  const query = await each.app.inject({ method: 'POST', url: `/oauth2/backchannel_logout?logout_token=${token}` })
  t.equal(query.statusCode, 400, 'in the query')
  t.equal((await each.app.inject({ url: '/oauth2/backchannel_logout' })).statusCode, 405)
  t.equal(await isLoggedIn(person), true)
  const { statusCode } = await post(
    each,
    `other=1&logout_token=${token}`,
    'application/x-www-form-urlencoded; charset=utf-8',
  )
  t.equal(statusCode, 200, 'whatever is beside it is ignored')
  t.equal(await isLoggedIn(person), false)
})

t.test('fetches the keys once for any number of tokens with unknown keys, also while that fails', async t => {
  const alice = somebody()
  const each = await edge(t)
  const { provider } = each
  await each.browser().login(alice)
  const before = provider.calls['jwks'] ?? 0
  const forged = () => provider.logoutToken({ sub: alice.sub }, undefined, { kid: `kid-${Math.random()}` })
  for (let n = 0; n < 5; n++) t.equal((await send(each, await forged())).statusCode, 400)
  each.advance(31_000)
  for (let n = 0; n < 5; n++) t.equal((await send(each, await forged())).statusCode, 400)
  t.equal(provider.calls['jwks'], before + 1)
  const absent = await edge(t)
  absent.provider.hooks.jwks = () => 'none' as never
  for (let n = 0; n < 5; n++)
    t.equal((await send(absent, await absent.provider.logoutToken({ sub: alice.sub }))).statusCode, 503)
  t.equal(absent.provider.calls['jwks'], 1)
  delete absent.provider.hooks.jwks
  absent.advance(6_000)
  t.equal((await send(absent, await absent.provider.logoutToken({ sub: alice.sub }))).statusCode, 200)
})

t.test('says 503 while the store is away, and takes the same token afterwards', async t => {
  const alice = somebody()
  const each = await edge(t)
  const person = each.browser()
  await person.login(alice)
  const token = await each.provider.logoutToken({ sub: alice.sub })
  const { run } = each.redis
  each.redis.run = (command, ...args) =>
    command === 'SET' && String(args[0]).startsWith('j:') ? run('NO-SUCH-COMMAND') : run(command, ...args)
  const response = await send(each, token)
  t.equal(response.statusCode, 503)
  t.match(response.headers, { 'retry-after': /\d/, 'cache-control': 'no-store' })
  each.redis.run = run
  t.equal((await send(each, token)).statusCode, 200)
  t.equal(await isLoggedIn(person), false)
})

t.test('takes tokens of other types where that is configured, but none that says it is something else', async t => {
  const alice = somebody()
  const each = await edge(t, { providerConfig: { logoutTokenType: 'any' } })
  const token = (typ: string | undefined) => each.provider.logoutToken({ sub: alice.sub }, undefined, { typ })
  for (const typ of ['logout+jwt', 'application/logout+jwt', 'Logout+JWT', 'JWT', undefined])
    t.equal((await send(each, await token(typ))).statusCode, 200, String(typ))
  for (const typ of ['at+jwt', 'dpop+jwt', '']) t.equal((await send(each, await token(typ))).statusCode, 400, typ)
  t.equal(
    (await send(each, new UnsecuredJWT({ sub: alice.sub }).encode())).statusCode,
    400,
    'nor one without signature',
  )
})
