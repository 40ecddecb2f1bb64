import { randomUUID } from 'node:crypto'
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
