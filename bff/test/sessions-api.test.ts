import { randomUUID } from 'node:crypto'
import { eventually, parts } from '@banking/testkit'
import t, { type Test } from 'tap'
import { defaults } from '../src/config/options.ts'
import { deviceOf } from '../src/login/device.ts'
import type { Sessions } from '../src/sessions/sessions.ts'
import { type Browser, type Cookie, edge, origin } from './edge.ts'
import { alice as anyone, bob, type Person } from './provider.ts'

/** Nobody else's test has this person's sessions. */
let alice: Person
t.beforeEach(() => {
  alice = { ...anyone, sub: randomUUID() }
})

const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:139.0) Gecko/20100101 Firefox/139.0'
const iphone =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.4 Mobile/15E148 Safari/604.1'

type Item = { id: string; current: boolean; device: string; createdAt: string; lastSeenAt: string; expiresAt: string }

const list = async (person: Browser): Promise<Item[]> => (await person.fetch('/oauth2/sessions')).json().items
const end = (person: Browser, id: string) =>
  person.fetch(`/oauth2/sessions/${id}`, { method: 'DELETE', headers: { origin } })
const endOthers = (person: Browser) => person.fetch('/oauth2/sessions', { method: 'DELETE', headers: { origin } })
const whoami = async (person: Browser) => (await person.fetch('/oauth2/userinfo')).json()

/** Each login on a session of its own at the provider, as on devices of their own. */
async function logIn(person: Browser, who: Person = alice, userAgent = firefox) {
  const callback = await person.start('/', who)
  await person.open(callback.slice(origin.length), { crossSite: true, headers: { 'user-agent': userAgent } })
  return person
}

t.test('lists where the person is signed in, newest first, with device and times, and extends nothing', async t => {
  const { browser, advance } = await edge(t)
  const laptop = await logIn(browser())
  advance(60_000)
  const phone = await logIn(browser(), alice, iphone)
  await logIn(browser(), bob)
  const before = await whoami(laptop)
  advance(5 * 60_000)
  const response = await laptop.fetch('/oauth2/sessions')
  t.equal(response.statusCode, 200)
  t.equal(response.headers['cache-control'], 'no-store')
  const { items } = response.json()
  t.match(items, [
    { device: 'Safari on iPhone', current: false },
    { device: 'Firefox on Linux', current: true },
  ])
  t.equal(items.length, 2, 'and nobody else’s')
  for (const { id, createdAt, lastSeenAt, expiresAt } of items) {
    t.match(id, /^[A-Za-z0-9_-]{43}$/)
    t.ok(Date.parse(createdAt) <= Date.parse(lastSeenAt) && Date.parse(lastSeenAt) < Date.parse(expiresAt))
  }
  t.same((await whoami(laptop)).session, before.session)
  t.match(await list(phone), [{ current: true }, { current: false }])
})

t.test('an id of the list opens nothing', async t => {
  const { browser } = await edge(t)
  const person = await logIn(browser())
  const [own] = await list(person)
  const thief = browser()
  thief.jar.set('__Host-session', { value: own?.id as string, line: '', lax: false })
  t.equal((await thief.fetch('/oauth2/userinfo')).statusCode, 401)
  t.notMatch(JSON.stringify(await list(person)), person.cookie() as string)
})

t.test('ends one session, which learns that it was revoked, and leaves the others alone', async t => {
  const { browser } = await edge(t)
  const laptop = await logIn(browser())
  const phone = await logIn(browser(), alice, iphone)
  const third = await logIn(browser())
  const victim = (await list(laptop)).find(({ device }) => device === 'Safari on iPhone')?.id as string
  const response = await end(laptop, victim)
  t.equal(response.statusCode, 204)
  t.equal(response.body, '')
  t.match(await whoami(phone), { code: 'login_required', reason: 'revoked' })
  t.match(await whoami(laptop), { sub: alice.sub })
  t.match(await whoami(third), { sub: alice.sub })
  t.equal((await list(laptop)).length, 2)
  t.match((await end(laptop, victim)).json(), { code: 'not_found' }, 'once')
})

t.test('ends all other sessions and says how many', async t => {
  const { browser } = await edge(t)
  const laptop = await logIn(browser())
  const others = [await logIn(browser(), alice, iphone), await logIn(browser())]
  const stranger = await logIn(browser(), bob)
  t.same((await endOthers(laptop)).json(), { ended: 2 })
  for (const other of others) t.match(await whoami(other), { reason: 'revoked' })
  t.match(await whoami(laptop), { sub: alice.sub })
  t.match(await whoami(stranger), { sub: bob.sub })
  t.same((await endOthers(laptop)).json(), { ended: 0 })
})

t.test('ends the session that asks like a sign-out, with its refresh token', async t => {
  const { browser, provider } = await edge(t)
  const person = await logIn(browser())
  const [own] = await list(person)
  t.equal((await end(person, own?.id as string)).statusCode, 204)
  t.equal(person.cookie(), undefined)
  await eventually(() => provider.revoked.length === 1)
})

t.test('the session of somebody else looks like one that does not exist', async t => {
  const { browser } = await edge(t)
  const mallory = await logIn(browser(), bob)
  const victim = await logIn(browser())
  const [own] = await list(victim)
  const foreign = await end(mallory, own?.id as string)
  const made = await end(mallory, 'A'.repeat(43))
  for (const response of [foreign, made]) {
    t.equal(response.statusCode, 404)
    t.match(response.json(), { code: 'not_found' })
  }
  const { instance: _one, ...one } = foreign.json()
  const { instance: _other, ...other } = made.json()
  t.same(one, other)
  t.match(await whoami(victim), { sub: alice.sub }, 'and it lives on')
  for (const id of [
    'x',
    'A'.repeat(42),
    'A'.repeat(44),
    'A'.repeat(5000),
    '%00',
    '*',
    '__proto__',
    '%7Ba%7D',
    `${'A'.repeat(42)}%0a`,
    "'%20OR%201",
  ]) {
    const { statusCode } = await end(mallory, id)
    t.ok(statusCode === 404 || statusCode === 400, `${id.slice(0, 20)}: ${statusCode}`)
  }
})

t.test('takes no call that is not from a script of our own page', async t => {
  const { browser, app } = await edge(t)
  const person = await logIn(browser())
  const other = await logIn(browser(), alice, iphone)
  const id = (await list(person)).find(({ current }) => !current)?.id as string
  for (const [method, url] of [
    ['GET', '/oauth2/sessions'],
    ['DELETE', '/oauth2/sessions'],
    ['DELETE', `/oauth2/sessions/${id}`],
  ] as const) {
    for (const headers of [
      {},
      { 'x-csrf': '0', origin },
      { 'x-csrf': '1', origin: 'https://evil.example', 'sec-fetch-site': 'same-origin' },
      { 'x-csrf': '1', origin: 'null' },
      { 'x-csrf': '1', origin: `${origin}.evil.example` },
      { 'x-csrf': '1', origin, 'sec-fetch-site': 'cross-site' },
      { 'x-csrf': '1', origin, 'sec-fetch-site': 'same-site' },
      { origin, 'sec-fetch-site': 'same-origin' },
    ] as Record<string, string>[]) {
      const response = await person.send(url, { method, headers })
      t.equal(response.statusCode, 403, `${method} ${url} ${JSON.stringify(headers)}`)
      t.match(response.json(), { code: 'csrf_refused' })
    }
    const anonymous = await app.inject({ method, url, headers: { 'x-csrf': '1', 'sec-fetch-site': 'same-origin' } })
    t.match(anonymous.json(), { code: 'login_required', reason: 'none' })
  }
  t.match(await whoami(other), { sub: alice.sub })
})

t.test('forms of our own page end sessions, and forms of other sites do not', async t => {
  const { browser } = await edge(t)
  const person = await logIn(browser())
  const phone = await logIn(browser(), alice, iphone)
  const third = await logIn(browser())
  const id = (await list(person)).find(({ device }) => device === 'Safari on iPhone')?.id as string
  const post = (url: string, headers: Record<string, string>) =>
    person.send(url, {
      method: 'POST',
      payload: 'x=1',
      headers: { 'sec-fetch-mode': 'navigate', 'content-type': 'application/x-www-form-urlencoded', ...headers },
    })
  const ours = { origin, 'sec-fetch-site': 'same-origin' }
  for (const headers of [
    { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
    { origin: 'null', 'sec-fetch-site': 'cross-site' },
    { origin: 'null' },
    { origin: 'https://sub.localhost:3000', 'sec-fetch-site': 'same-site' },
    {},
  ] as Record<string, string>[])
    for (const url of [`/oauth2/sessions/${id}/end`, '/oauth2/sessions/end_others'])
      t.equal((await post(url, headers)).statusCode, 403, JSON.stringify(headers))
  t.match(await whoami(phone), { sub: alice.sub })
  const one = await post(`/oauth2/sessions/${id}/end`, ours)
  t.match(one, { statusCode: 303, headers: { location: '/' } })
  t.match(await whoami(phone), { reason: 'revoked' })
  t.match(await whoami(third), { sub: alice.sub })
  t.equal((await post('/oauth2/sessions/end_others', ours)).statusCode, 303)
  t.match(await whoami(third), { reason: 'revoked' })
})

t.test('keeps nothing of a User-Agent but words of its own', async t => {
  const { browser, redis } = await edge(t)
  const person = browser()
  const callback = await person.start('/', alice)
  await person.open(callback.slice(origin.length), {
    crossSite: true,
    headers: { 'user-agent': 'Firefox/1 <script>alert(1)</script>{{7*7}}\tSet-Cookie: a=b' },
  })
  t.match(await list(person), [{ device: 'Firefox' }])
  t.notMatch(String(person.received), 'alert(1)')
  const keys = (await redis.run('KEYS', '*')) as Buffer[]
  t.ok(keys.length > 0)

  for (const [userAgent, device] of [
    [undefined, 'Unknown browser'],
    ['', 'Unknown browser'],
    ['curl/8.5.0', 'Unknown browser'],
    ['Firefox', 'Unknown browser'],
    [`${'A'.repeat(600)} Firefox/139.0`, 'Unknown browser'],
    ['\u202eFirefox\u202c', 'Unknown browser'],
    [firefox, 'Firefox on Linux'],
    [iphone, 'Safari on iPhone'],
    [
      'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36',
      'Chrome on Windows',
    ],
    [
      'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36 Edg/137.0.0.0',
      'Edge on Windows',
    ],
    [
      'Mozilla/5.0 (Linux; Android 14; SM-S928B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36',
      'Samsung Internet on Android',
    ],
    [
      'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.4 Safari/605.1.15',
      'Safari on macOS',
    ],
    [
      'Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36',
      'Chrome on ChromeOS',
    ],
  ] as const)
    t.equal(deviceOf(userAgent), device)
})

t.test('what is ended on one replica is over on all of them, also where it was remembered', async t => {
  const first = await edge(t)
  const shared = { provider: first.provider, clientKeyFile: first.keyFile, sessionKeys: first.config.sessionKeys }
  const second = await edge(t, shared)
  const laptop = await logIn(first.browser())
  const phone = await logIn(first.browser(), alice, iphone)
  const third = await logIn(first.browser())
  const there = (person: Browser) => {
    const away = second.browser()
    away.jar.set('__Host-session', person.jar.get('__Host-session') as Cookie)
    return away
  }
  const [phoneThere, thirdThere, laptopThere] = [there(phone), there(third), there(laptop)]
  for (const away of [phoneThere, thirdThere, laptopThere]) t.match(await whoami(away), { sub: alice.sub })
  const over = async (away: Browser) => {
    let told: { code?: string; reason?: string } = {}
    await eventually(async () => {
      told = await whoami(away)
      return told.code === 'login_required'
    })
    t.equal(told.reason, 'revoked')
  }

  await end(laptop, (await list(laptop)).find(({ device }) => device === 'Safari on iPhone')?.id as string)
  await over(phoneThere)
  t.match(await whoami(thirdThere), { sub: alice.sub })
  await endOthers(laptop)
  await over(thirdThere)
  t.match(await whoami(laptopThere), { sub: alice.sub })
  t.equal(await first.sessions.endBy({ sub: alice.sub }), 1)
  await over(laptopThere)
})

t.test('a login beyond the limit ends the oldest session, which says so', async t => {
  const { browser, config } = await edge(t, { config: { session: { ...defaults.session, perUser: 2 } } })
  t.equal(config.session.perUser, 2)
  const oldest = await logIn(browser())
  const second = await logIn(browser())
  const newest = await logIn(browser())
  t.match(await whoami(oldest), { code: 'login_required', reason: 'limit' })
  for (const person of [second, newest]) t.match(await whoami(person), { sub: alice.sub })
  t.match((await oldest.open('/')).body, 'Sign in to continue')
})

const ways: Record<string, (laptop: Browser, victim: string, sessions: Sessions) => Promise<unknown>> = {
  'from another device': (laptop, victim) => end(laptop, victim),
  'with all others': laptop => endOthers(laptop),
  'by staff': (_laptop, _victim, sessions) => sessions.endBy({ sub: alice.sub }),
}
for (const [way, endIt] of Object.entries(ways))
  t.test(`the refresh token of a session that was ended ${way} is revoked once its cookie comes again`, async t => {
    const { browser, provider, sessions } = await edge(t)
    const laptop = await logIn(browser())
    const phone = await logIn(browser(), alice, iphone)
    const cookie = phone.jar.get('__Host-session') as Cookie
    const victim = (await list(laptop)).find(({ device }) => device === 'Safari on iPhone')?.id as string
    await endIt(laptop, victim, sessions)
    t.same(provider.revoked, [], 'nobody could open it until now')
    t.equal((await phone.fetch('/oauth2/userinfo')).statusCode, 401)
    await eventually(() => provider.revoked.length === 1)
    phone.jar.set('__Host-session', cookie)
    t.equal((await phone.fetch('/oauth2/userinfo')).statusCode, 401)
    await sessions.drain(1_000)
    t.equal(provider.revoked.length, 1, 'once')
  })

t.test('the refresh token of a session beyond the limit is revoked once its cookie comes again', async t => {
  const { browser, provider } = await edge(t, { config: { session: { ...defaults.session, perUser: 1 } } })
  const oldest = await logIn(browser())
  await logIn(browser())
  t.equal((await oldest.fetch('/oauth2/userinfo')).statusCode, 401)
  await eventually(() => provider.revoked.length === 1)
})

t.test('no refresh token is revoked while its session at the provider has another one here', async t => {
  const { browser, provider, sessions } = await edge(t)
  // The provider knows the person: both belong to one session there, which a revocation would end.
  const sid = randomUUID()
  provider.hooks.idToken = claims => ({ ...claims, sid })
  const person = await logIn(browser())
  const cookie = person.jar.get('__Host-session') as Cookie
  await person.fetch('/oauth2/userinfo')
  await logIn(person)
  person.jar.set('__Host-session', cookie)
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 401)
  await sessions.drain(1_000)
  t.same(provider.revoked, [])
})

t.test('Redis away is 503 for each of them, and nobody is logged out', async t => {
  const { browser, redis } = await edge(t)
  const person = await logIn(browser())
  const cookie = person.cookie()
  await redis.close()
  for (const response of [
    await person.fetch('/oauth2/sessions'),
    await endOthers(person),
    await end(person, 'A'.repeat(43)),
  ]) {
    t.match(response.json(), { code: 'sessions_unavailable', status: 503 })
    t.ok(response.headers['retry-after'])
  }
  t.equal(person.cookie(), cookie)
})

t.test('a session in use is not pushed out by ones that nobody can use any more', async t => {
  const { browser, advance } = await edge(t)
  const laptop = await logIn(browser())
  const phones: Browser[] = []
  for (let i = 0; i < defaults.session.perUser; i++) {
    phones.push(await logIn(browser()))
    for (const minutes of [8, 8]) {
      advance(minutes * 60_000)
      t.equal((await laptop.fetch('/api/payments/accounts')).statusCode, 200)
    }
  }
  t.match(await whoami(phones[0] as Browser), { code: 'login_required', reason: 'idle' })
})

/** Two edges on one Redis whose keys differ, e.g. in the middle of a change of keys, or of two applications. */
async function sideBySide(t: Test, prefixes: readonly [string, string]) {
  const redisUrl = parts(t, 'redis').redis
  const first = await edge(t, { config: { redis: { url: redisUrl, prefix: prefixes[0] } } })
  const second = await edge(t, {
    config: { redis: { url: redisUrl, prefix: prefixes[1] } },
    provider: first.provider,
    clientKeyFile: first.keyFile,
  })
  return [first, second] as const
}

t.test('a session that was sealed by a key that is not at hand is neither listed nor forgotten', async t => {
  const [first, second] = await sideBySide(t, ['', ''])
  const [one, two] = [await logIn(first.browser()), await logIn(second.browser())]
  for (let round = 0; round < 2; round++) {
    t.equal((await list(one)).length, 1)
    t.equal((await list(two)).length, 1)
  }
  t.equal(await second.sessions.endBy({ sub: alice.sub }), 2, 'the end of all is the end of those, too')
  t.match(await whoami(one), { code: 'login_required', reason: 'revoked' })
})

t.test('two edges with a prefix each share a Redis and nothing else', async t => {
  const [first, second] = await sideBySide(t, ['one:', 'two:'])
  const [one, two] = [await logIn(first.browser()), await logIn(second.browser())]
  t.equal(await second.sessions.endBy({ sub: alice.sub }), 1)
  t.match(await whoami(two), { code: 'login_required', reason: 'revoked' })
  t.match(await whoami(one), { sub: alice.sub })
  t.equal((await list(one)).length, 1)
})
