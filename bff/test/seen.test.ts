import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { parseTraceparent } from '@banking/telemetry'
import { eventually, parts, testProxy } from '@banking/testkit'
import t, { type Test } from 'tap'
import { defaultLimits } from '../src/admission/limits.ts'
import { edge, origin } from './edge.ts'
import { alice, type Person } from './provider.ts'

/** A person whom no other test knows, with words that nobody else would write into a log. */
const somebody = (): Person => ({
  ...alice,
  sub: `sub-${randomUUID()}`,
  name: 'Zebedee Quux',
  given_name: 'Zebedee',
  email: 'zebedee@quux.test',
})

const wrongAnswer = (person: Person) => ({
  status: 400,
  body: { error: 'invalid_request', error_description: `${person.email} (${person.sub}) sent it twice` },
})

/** Everything that can befall a person, in one go. @returns what must never be written down */
async function everything(t: Test, each: Awaited<ReturnType<typeof edge>>) {
  const { app, browser, provider, advance } = each
  const person = somebody()
  const [laptop, phone] = [browser(), browser()]
  const secrets = new Set<string>()
  const keep = () => {
    for (const { jar } of [laptop, phone]) for (const { value } of jar.values()) secrets.add(value)
  }

  // Logins: one that is refused, some that are made up, one that the provider answers with nonsense, two that are good.
  const callback = new URL(await laptop.start('/pay?to=zebedee', person))
  keep()
  secrets.add(callback.searchParams.get('code') ?? '')
  secrets.add((callback.searchParams.get('state') ?? '').split('.')[1] ?? '')
  const refused = new URL(callback)
  refused.searchParams.delete('code')
  refused.searchParams.set('error', 'access_denied')
  refused.searchParams.set('error_description', `${person.email} said no`)
  t.equal((await laptop.comeBack(refused.href)).statusCode, 400)
  await laptop.comeBack(callback.href)
  t.equal((await phone.open(`/oauth2/callback?state=made.up&code=${secrets.values().next().value}`)).statusCode, 400)
  provider.hooks.token = async () => wrongAnswer(person)
  t.equal((await laptop.comeBack(await laptop.start('/', person))).statusCode, 400)
  keep()
  provider.hooks.token = async (_grant, honest) => honest()
  provider.hooks.idToken = claims => ({ ...claims, aud: person.email })
  t.match((await laptop.comeBack(await laptop.start('/', person))).statusCode, /4../)
  keep()
  provider.hooks.idToken = claims => claims
  await laptop.login(person)
  await phone.login(person)
  keep()
  const sid = provider.lastSid()

  // Requests: good ones, a forged one, one with a twisted path, and a service that is away.
  await laptop.fetch('/oauth2/userinfo')
  t.equal((await laptop.fetch('/api/payments/accounts')).statusCode, 200)
  t.equal(
    (await laptop.send('/api/payments/accounts', { headers: { 'sec-fetch-site': 'cross-site' } })).statusCode,
    403,
  )
  t.equal((await laptop.fetch(`/api/payments//${person.email}`)).statusCode, 400)
  t.equal((await laptop.fetch(`/api/payments/%00?${person.sub}`)).statusCode, 400)
  t.equal((await laptop.fetch(`/api/nothing/${person.sub}?token=${provider.issued[0]}`)).statusCode, 404)

  // The provider ends one session, and somebody tries to.
  const logout = await provider.logoutToken({ sid, sub: person.sub })
  for (const token of [logout, `${logout}x`])
    await app.inject({
      method: 'POST',
      url: '/oauth2/backchannel_logout',
      headers: { host: 'localhost:3000', 'content-type': 'application/x-www-form-urlencoded' },
      payload: new URLSearchParams({ logout_token: token }).toString(),
    })
  t.equal((await phone.fetch('/oauth2/userinfo')).statusCode, 401)

  // Refreshes: one that the provider answers with nonsense, one that is good.
  advance(290_000)
  provider.hooks.token = async () => wrongAnswer(person)
  await laptop.fetch('/api/customers/me')
  advance(20_000)
  t.match((await laptop.fetch('/api/customers/me')).statusCode, /5../)
  provider.hooks.token = async (_grant, honest) => honest()
  // What was refused is not asked for again at once.
  advance(31_000)
  t.equal((await laptop.fetch('/api/customers/me')).statusCode, 200)

  // The person leaves, and the provider does not take the refresh token back.
  provider.hooks.revocation = async () => wrongAnswer(person)
  t.equal((await laptop.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })).statusCode, 200)

  const sent = Object.keys(provider.calls).flatMap(provider.asked)
  for (const secret of [...provider.issued, ...sent.flatMap(({ parameters }) => [...parameters.values()])])
    if (secret.length > 40) secrets.add(secret)
  return { secrets, person, sid }
}

t.test('writes nothing of a person into the log: no token, cookie or code, no name, address or id', async t => {
  const each = await edge(t)
  const { secrets, person, sid } = await everything(t, each)
  const log = each.logged()
  t.ok(secrets.size > 10, `${secrets.size} secrets`)
  t.ok(each.lines().length > 25, `${each.lines().length} lines`)
  for (const secret of secrets) t.notOk(log.includes(secret), 'no secret')
  for (const datum of [person.sub, sid, 'quux', 'Quux', 'ebedee']) t.notOk(log.includes(datum), datum)
})

t.test('writes nothing of a person into the log while Redis and the provider fail, either', async t => {
  const { hostname, port } = new URL(parts(t, 'redis').redis)
  const link = await testProxy(t, { host: hostname, port: Number(port) })
  const each = await edge(t, { redisUrl: `redis://127.0.0.1:${link.port}` })
  const person = somebody()
  const laptop = each.browser()
  await laptop.login(person)
  const callback = await each.browser().start('/', person)
  link.stall()
  t.equal((await laptop.fetch('/api/customers/me')).statusCode, 503)
  t.equal((await laptop.comeBack(callback)).statusCode, 400)
  await link.mend()
  each.provider.hooks.token = async () => wrongAnswer(person)
  each.advance(301_000)
  await eventually(async () => (await laptop.fetch('/oauth2/userinfo')).statusCode === 200)
  t.match((await laptop.fetch('/api/customers/me')).statusCode, /5../)
  const log = each.logged()
  t.ok(log.includes('request failed'))
  for (const secret of [
    ...each.provider.issued,
    laptop.cookie() ?? '',
    new URL(callback).searchParams.get('code') ?? '',
  ])
    t.notOk(secret.length > 8 && log.includes(secret), 'no secret')
  for (const datum of [person.sub, 'quux', 'Quux', 'ebedee']) t.notOk(log.includes(datum), datum)
})

t.test('tells logins, refusals, refreshes and ends, whose they are, and no secret', async t => {
  const each = await edge(t)
  const { secrets, person, sid } = await everything(t, each)
  const { told } = each
  const kinds = told.map(({ type, data }) => {
    const { code, reason, from } = data as Record<string, string>
    return [type, code ?? reason ?? from].filter(word => word !== undefined).join(' ')
  })
  t.matchSnapshot(kinds.join('\n'))
  const sessions = told.filter(({ type }) => type === 'session.started')
  t.match(sessions, [{ seq: 1, data: { actor: { sub: person.sub } } }, { data: { actor: { sub: person.sub, sid } } }])
  const [laptop, phone] = sessions.map(({ subject }) => subject)
  t.match(
    told.filter(({ type }) => type === 'session.ended'),
    [
      { subject: phone, data: { actor: { sub: person.sub, sid } } },
      { subject: laptop, data: { actor: { sub: person.sub } } },
    ],
  )
  t.match(
    told.filter(({ type }) => type === 'session.refreshed'),
    [{ subject: laptop, seq: 2, data: { actor: { sub: person.sub } } }],
  )
  t.equal(told.find(({ type }) => type === 'session.refused')?.subject, laptop)
  const text = JSON.stringify(told)
  for (const secret of secrets) t.notOk(text.includes(secret), 'no secret')
  for (const datum of ['quux', 'Quux', 'ebedee']) t.notOk(text.includes(datum), datum)
})

t.test('a flood of refusals is one event for each session, and none for a cookie that cannot be one', async t => {
  const limits = { ...defaultLimits, perSession: { perSecond: 1, burst: 5 } }
  const { browser, told } = await edge(t, { config: { limits } })
  const person = somebody()
  const laptop = browser()
  await laptop.login(person)
  const statuses = new Set<number>()
  for (let asked = 0; asked < 40; asked++) statuses.add((await laptop.fetch('/api/payments/accounts')).statusCode)
  t.ok(statuses.has(429))
  for (const value of ['', 'x', 'x'.repeat(43), `${laptop.cookie()}x`])
    await browser().send('/api/payments/accounts', { headers: { cookie: `__Host-session=${value}` } })
  t.match(
    told.filter(({ type }) => type === 'session.refused'),
    [{ data: { code: 'rate_limited', actor: { sub: person.sub } } }],
  )
  t.equal(told.filter(({ type }) => type === 'session.refused').length, 1)
  const begun = performance.now()
  for (let asked = 0; asked < 3_000; asked++)
    await browser().open(`/oauth2/callback?state=${randomUUID()}`, { crossSite: true })
  // A busy machine sees more than one stretch of ten seconds.
  const windows = 1 + Math.ceil((performance.now() - begun) / 10_000)
  const refusals = told.filter(({ type }) => type.endsWith('.refused')).length
  t.ok(refusals <= windows * 1_000, `${refusals} events of 3,001 refusals`)
})
t.test('one trace leads from the edge’s log and events to the services, and none from the browser in', async t => {
  const { browser, seen, lines } = await edge(t)
  const person = browser()
  await person.login(somebody())
  const forged = { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, tracestate: 'x=1' }
  const response = await person.fetch('/api/payments/accounts', { headers: forged })
  const answered = parseTraceparent(String(response.headers.traceparent))
  const passed = parseTraceparent(String(seen.at(-1)?.headers.traceparent))
  t.ok(answered && passed)
  t.not(answered?.traceId, 'a'.repeat(32))
  t.equal(passed?.traceId, answered?.traceId)
  t.not(passed?.spanId, answered?.spanId, 'the service’s caller is a span of its own')
  t.equal(seen.at(-1)?.headers.tracestate, undefined)
  const line = lines().findLast(({ msg }) => msg === 'request')
  t.match(line, { traceId: answered?.traceId, requestId: response.headers['x-request-id'] })
})

t.test('one trace leads from the edge’s log to its calls of the provider and its events', async t => {
  const { app, browser, provider, lines, told } = await edge(t)
  const person = browser()
  await person.login(somebody())
  // From here on the session is at hand.
  await person.fetch('/oauth2/userinfo')
  await person.fetch('/api/payments/accounts')
  const token = await provider.logoutToken({ sid: provider.lastSid() })
  // Over a real connection, the body some time after the head: then it is read outside of the request's context.
  const logout = request(`${await app.listen({ host: '127.0.0.1', port: 0 })}/oauth2/backchannel_logout`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  })
  logout.flushHeaders()
  await once(app.server, 'request')
  await new Promise(resolve => setTimeout(resolve, 100))
  logout.end(new URLSearchParams({ logout_token: token }).toString())
  const [answer] = (await once(logout, 'response')) as [IncomingMessage]
  answer.resume()
  t.equal(answer.statusCode, 200)
  const traceOf = (what: Record<string, unknown>) =>
    lines().find(line => Object.entries(what).every(([name, value]) => line[name] === value))?.['traceId']
  const called = (call: string) => parseTraceparent(provider.asked(call).at(-1)?.traceparent)?.traceId
  const event = (name: string) => told.find(({ type }) => type === name)?.traceId
  t.type(traceOf({ msg: 'logged in' }), 'string')
  t.equal(called('authorization_code'), traceOf({ msg: 'logged in' }))
  t.equal(event('session.started'), traceOf({ msg: 'logged in' }))
  t.equal(called('par'), traceOf({ msg: 'request', route: '/oauth2/start' }))
  t.equal(event('login.started'), traceOf({ msg: 'request', route: '/oauth2/start' }))
  t.equal(called('exchange'), traceOf({ msg: 'request', route: '/api/payments/*' }))
  t.equal(event('logout.received'), traceOf({ msg: 'request', route: '/oauth2/backchannel_logout' }))
})
