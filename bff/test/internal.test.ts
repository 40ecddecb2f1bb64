import { randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import t from 'tap'
import { edge, internalApp } from './edge.ts'
import * as people from './provider.ts'

// Redis is shared: what ends all sessions of somebody must concern nobody else's test.
const alice = { ...people.alice, sub: randomUUID() }
const bob = { ...people.bob, sub: randomUUID() }
const staff = { service: 'bff', client: 'admin-service' } as const

t.test('ends all sessions of a person for the service that may, and says how many', async t => {
  const it = await edge(t)
  const { app, identity } = await internalApp(t, it)
  const laptop = it.browser()
  const phone = it.browser()
  const stranger = it.browser()
  await laptop.login(alice)
  await phone.login(alice)
  await stranger.login(bob)
  const end = async (sub: string) =>
    app.inject({
      method: 'DELETE',
      url: `/internal/users/${encodeURIComponent(sub)}/sessions`,
      headers: { authorization: `Bearer ${await identity.token(staff)}` },
    })
  const response = await end(alice.sub)
  t.match(response, { statusCode: 200, headers: { 'cache-control': 'no-store' } })
  t.same(response.json(), { ended: 2 })
  t.match(
    it.told.filter(({ type }) => type === 'logout.received'),
    [{ subject: alice.sub, data: { from: 'staff', actor: { sub: alice.sub }, sessions: 2 } }],
  )
  for (const browser of [laptop, phone])
    t.match((await browser.fetch('/oauth2/userinfo')).json(), { code: 'login_required', reason: 'revoked' })
  t.equal((await stranger.fetch('/oauth2/userinfo')).statusCode, 200)
  t.same((await end(alice.sub)).json(), { ended: 0 })
  for (const sub of ['nobody', '../..', 'a/b', '{x}', '*', 'x'.repeat(255), 'é'.repeat(255)])
    t.same((await end(sub)).json(), { ended: 0 }, sub.slice(0, 20))
})

t.test('keeps a login that was under way from finishing without the password', async t => {
  const it = await edge(t)
  const { app, identity } = await internalApp(t, it)
  const carol = { ...alice, sub: randomUUID(), auth_time: Math.floor(Date.now() / 1000) - 5 }
  const person = it.browser()
  const callback = await person.start('/pay', carol)
  await app.inject({
    method: 'DELETE',
    url: `/internal/users/${carol.sub}/sessions`,
    headers: { authorization: `Bearer ${await identity.token(staff)}` },
  })
  const response = await person.comeBack(callback)
  t.match(response.headers.location, `${it.provider.issuer}/auth`)
  t.equal(person.cookie(), undefined)
  t.equal([...it.provider.requests.values()].at(-1)?.parameters.get('prompt'), 'login')
})

t.test('opens for nobody else: no cookie, no person, no other service, no other audience', async t => {
  const it = await edge(t)
  const { app, identity } = await internalApp(t, it)
  const person = it.browser()
  const alice = { ...people.alice, sub: randomUUID() }
  await person.login(alice)
  const url = `/internal/users/${alice.sub}/sessions`
  const cookie = `__Host-session=${person.cookie()}`
  const end = (headers: Record<string, string>) => app.inject({ method: 'DELETE', url, headers })
  t.match((await end({ cookie, 'x-csrf': '1', 'sec-fetch-site': 'same-origin' })).json(), { code: 'token_missing' })
  for (const [claims, status] of [
    [{ service: 'bff', sub: alice.sub, roles: ['customer'] }, 403],
    [{ service: 'bff', roles: ['banking-admin'] }, 403],
    [{ service: 'bff', client: 'payment-service' }, 403],
    [{ service: 'bff', client: 'admin-service', scope: 'admin-api' }, 403],
    [{ service: 'payment', client: 'admin-service', scope: 'bff-api' }, 401],
    [{ ...staff, lifetimeSeconds: -60 }, 401],
    [{ ...staff, header: { typ: 'JWT' } }, 401],
  ] as const) {
    const authorization = `Bearer ${await identity.token(claims as never)}`
    t.equal((await end({ authorization })).statusCode, status, JSON.stringify(claims))
  }
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200)
})

t.test('takes the tokens of a provider that knows nothing of RFC 9068, as it is told to, and no others', async t => {
  for (const [alg, claim] of [
    ['RS256', 'azp'],
    ['PS256', 'client_id'],
    ['PS256', 'cid'],
  ] as const) {
    const it = await edge(t, { providerConfig: { idTokenAlgorithms: [alg] } })
    const { provider, relyingParty } = it
    await provider.rotateKey(alg)
    const { app } = await internalApp(t, it, {
      issuer: provider.issuer,
      clientId: 'banking-web-app',
      audience: 'https://edge.example/',
      callers: ['Ops.Tool_1', 'other|tool'],
      scope: 'sessions:end',
      algorithms: [alg],
      tokenType: 'JWT',
      tokenLifetime: 24 * 3_600_000,
      clientClaim: claim,
      jwksUrl: relyingParty.jwksUri,
    })
    const person = it.browser()
    const alice = { ...people.alice, sub: randomUUID() }
    await person.login(alice)
    const now = Math.floor(Date.now() / 1000)
    const end = async (change: Record<string, unknown> = {}, header: Record<string, unknown> = {}) => {
      const claims = {
        iss: provider.issuer,
        aud: 'https://edge.example/',
        sub: 'Ops.Tool_1',
        iat: now,
        exp: now + 86_400,
        scope: 'sessions:end other',
        [claim]: 'Ops.Tool_1',
        ...change,
      }
      const kid = provider.kid()
      const token = await new SignJWT(claims).setProtectedHeader({ alg, kid, ...header }).sign(provider.privateKey())
      const url = `/internal/users/${alice.sub}/sessions`
      const answer = await app.inject({ method: 'DELETE', url, headers: { authorization: `Bearer ${token}` } })
      return answer.statusCode
    }
    for (const [change, status, header] of [
      [{ [claim]: 'admin-service' }, 403],
      [{ [claim]: 'banking-web-app' }, 403],
      [{ [claim]: undefined, appid: 'Ops.Tool_1' }, 401],
      [{ scope: 'other' }, 403],
      [{ scope: undefined }, 403],
      [{ aud: 'banking-web-app' }, 401],
      [{ aud: ['https://edge.example/', 'banking-web-app'] }, 401],
      [{ iss: `${provider.issuer}/` }, 401],
      [{ exp: now + 86_401 }, 401],
      [{ nonce: 'n' }, 401],
      [{ at_hash: 'h' }, 401],
      [{ events: {} }, 401],
      [{ typ: 'ID' }, 401],
      [{ typ: 'Refresh' }, 401],
      [{ sid: 's' }, 401],
      [{}, 401, { typ: 'at+jwt' }],
      [{}, 401, { typ: 'logout+jwt' }],
      [{}, 401, { kid: 'unknown' }],
    ] as [Record<string, unknown>, number, Record<string, unknown>?][])
      t.equal(await end(change, header), status, JSON.stringify([alg, change, header]))
    t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200, 'none of them ended anything')
    t.equal(await end({ [claim]: 'other|tool' }, { typ: 'JWT' }), 200)
    t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 401)
    t.equal(await end(), 200, 'and without a typ')
  }
})

t.test('is not told a provider’s algorithm by its tokens', async t => {
  const it = await edge(t)
  await it.provider.rotateKey('RS256')
  const { issuer } = it.provider
  const { app } = await internalApp(t, it, { issuer, algorithms: ['ES256'], jwksUrl: it.relyingParty.jwksUri })
  const token = await new SignJWT({ client_id: 'admin-service', scope: 'bff-api', jti: 'j' })
    .setProtectedHeader({ alg: 'RS256', kid: it.provider.kid(), typ: 'at+jwt' })
    .setIssuer(issuer)
    .setSubject('admin-service')
    .setAudience('bff-service')
    .setIssuedAt()
    .setExpirationTime('5m')
    .sign(it.provider.privateKey())
  const url = '/internal/users/x/sessions'
  const answer = await app.inject({ method: 'DELETE', url, headers: { authorization: `Bearer ${token}` } })
  t.equal(answer.statusCode, 401)
})

t.test('is not there for browsers: the public listener knows none of its routes', async t => {
  const it = await edge(t)
  const person = it.browser()
  const alice = { ...people.alice, sub: randomUUID() }
  await person.login(alice)
  for (const url of [`/internal/users/${alice.sub}/sessions`, '/internal', '/internal/']) {
    const response = await person.fetch(url, { method: 'DELETE' })
    t.match(response.json(), { code: 'not_found' })
  }
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200)
})

t.test('Redis away is a 503, not "ended nobody"', async t => {
  const it = await edge(t)
  const { app, identity } = await internalApp(t, it)
  await it.redis.close()
  const response = await app.inject({
    method: 'DELETE',
    url: `/internal/users/${randomUUID()}/sessions`,
    headers: { authorization: `Bearer ${await identity.token(staff)}` },
  })
  t.match(response.json(), { code: 'sessions_unavailable' })
})
