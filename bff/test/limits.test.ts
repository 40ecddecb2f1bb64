import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { eventually } from '@banking/testkit'
import t, { type Test } from 'tap'
import { defaultLimits, type Limits } from '../src/admission/limits.ts'
import { defaults, upstreamDefaults } from '../src/config/options.ts'
import { edge, origin, testUpstream } from './edge.ts'

/** What refills so slowly that a test does not see it. */
const still = (burst: number) => ({ perSecond: 0.001, burst })
const plenty = { perSecond: 100_000, burst: 100_000 }
const open: Limits = {
  ...defaultLimits,
  perSession: plenty,
  perAddress: plenty,
  perAddressInAll: plenty,
  logins: plenty,
}

let last = 0
/** An address that no test before had: Redis remembers them. */
const stranger = () => `10.${process.pid % 200}.${Math.floor(++last / 250) + (Date.now() % 200)}.${last % 250}`

/** @returns how many of these were refused, and one of the refusals */
async function flood(
  { app }: Awaited<ReturnType<typeof edge>>,
  times: number,
  request: { url: string; method?: 'GET' | 'POST'; headers?: Record<string, string>; remoteAddress?: string },
) {
  const answers = await Promise.all(
    Array.from({ length: times }, () => app.inject({ headers: { host: 'a' }, ...request })),
  )
  const refused = answers.filter(({ statusCode }) => statusCode === 429)
  return { passed: times - refused.length, refused: refused.length, refusal: refused[0], answers }
}

t.test('200 anonymous starts are not 200 requests at the provider', async t => {
  const under = await edge(t, { config: { limits: { ...defaultLimits } } })
  const remoteAddress = stranger()
  const { passed, refusal, answers } = await flood(under, 200, { url: '/oauth2/start', remoteAddress })
  t.ok(passed <= 110, `${passed} passed`)
  t.ok((under.provider.calls['par'] ?? 0) <= passed)
  t.same(
    new Set(answers.map(({ statusCode }) => statusCode)),
    new Set([302, 429, 503].filter(s => answers.some(a => a.statusCode === s))),
  )
  t.match(refusal?.json(), { code: 'rate_limited', status: 429 })
  t.match(refusal?.headers['retry-after'], /^[1-9]\d*$/)
  t.match(refusal?.headers['content-security-policy'], "default-src 'none'")
  t.match(await under.metrics.text(), /bff_rate_limited_total\{limit="logins",app="bff"\} \d+/)
  t.notOk(under.logged().includes(remoteAddress), 'no address is in the log')
})

t.test('shows a person a page that says what to do', async t => {
  const under = await edge(t, { config: { limits: { ...open, logins: still(1) } } })
  const from = { url: '/oauth2/start', remoteAddress: stranger(), headers: { host: 'a', accept: 'text/html' } }
  const { refusal } = await flood(under, 3, from)
  t.match(refusal?.headers['content-type'], 'text/html')
  t.match(refusal?.body, 'Too many requests.')
  t.ok(refusal?.headers['retry-after'])
})

t.test('lets only so many logins be under way to the provider at once, whoever begins them', async t => {
  const under = await edge(t, { config: { limits: { ...open, concurrentLogins: 4 } } })
  const gate = Promise.withResolvers<void>()
  let most = 0
  let now = 0
  under.provider.hooks.par = async () => {
    most = Math.max(most, ++now)
    await gate.promise
    now--
    return { status: 201, body: { request_uri: 'urn:x', expires_in: 60 } }
  }
  const starts = Array.from({ length: 40 }, () =>
    under.app.inject({ url: '/oauth2/start', remoteAddress: stranger(), headers: { host: 'a' } }),
  )
  const refused = await Promise.any(starts)
  t.match(refused.json(), { code: 'overloaded', status: 503 })
  t.ok(refused.headers['retry-after'])
  gate.resolve()
  const statuses = (await Promise.all(starts)).map(({ statusCode }) => statusCode)
  t.equal(statuses.filter(status => status === 302).length, 4)
  t.ok(most <= 4, `${most} at once`)
  t.equal((await under.app.inject({ url: '/oauth2/start', headers: { host: 'a' } })).statusCode, 302, 'and then again')
})

t.test('counts the address, whatever a request says about itself', async t => {
  const under = await edge(t, { config: { limits: { ...open, perAddress: still(8), logins: still(8) } } })
  const tricks: [string, (n: number) => { url?: string; headers?: Record<string, string> }][] = [
    ['x-forwarded-for', n => ({ headers: { 'x-forwarded-for': `198.51.100.${n}` } })],
    ['forwarded', n => ({ headers: { forwarded: `for=198.51.100.${n}` } })],
    ['x-real-ip', n => ({ headers: { 'x-real-ip': `198.51.100.${n}` } })],
    [
      'other names for it',
      n => ({
        headers: {
          'true-client-ip': `198.51.100.${n}`,
          'cf-connecting-ip': `198.51.100.${n}`,
          'x-client-ip': `1.1.1.${n}`,
        },
      }),
    ],
    [
      'a fresh cookie each time',
      n => ({ headers: { cookie: `__Host-session=${Buffer.alloc(32, n).toString('base64url')}` } }),
    ],
    ['no cookie of ours', n => ({ headers: { cookie: `__Host-session=x${n}; a=${n}` } })],
    ['user agents', n => ({ headers: { 'user-agent': `browser ${n}`, 'x-csrf': '1' } })],
    ['hosts', n => ({ headers: { host: `h${n}` } })],
    ['queries', n => ({ url: `/oauth2/start?again=${n}` })],
  ]
  for (const [name, trick] of tricks) {
    const remoteAddress = stranger()
    let passed = 0
    for (let n = 1; n <= 30; n++) {
      const { url = '/oauth2/start', headers } = trick(n)
      const { statusCode } = await under.app.inject({ url, remoteAddress, headers: { host: 'a', ...headers } })
      if (statusCode !== 429) passed++
    }
    t.equal(passed, 8, name)
  }
  const remoteAddress = stranger()
  let reached = 0
  for (const url of [
    '/OAUTH2/start',
    '/oauth2/Start',
    '/oauth2/start/',
    '/oauth2//start',
    '/oauth2/%73tart',
    '/./oauth2/start',
  ])
    for (let n = 0; n < 10; n++)
      if ((await under.app.inject({ url, remoteAddress, headers: { host: 'a' } })).statusCode === 302) reached++
  t.equal(reached, 0, 'another spelling is not that route')
})

t.test('counts the whole /64 of an IPv6 customer, and IPv4 in either form', async t => {
  const under = await edge(t, { config: { limits: { ...open, perAddress: still(8) } } })
  const net = `2001:db8:${(process.pid % 60_000).toString(16)}:${(Date.now() % 60_000).toString(16)}`
  let passed = 0
  for (let n = 1; n <= 40; n++)
    if (
      (
        await under.app.inject({
          url: '/oauth2/jwks',
          remoteAddress: `${net}::${n.toString(16)}`,
          headers: { host: 'a' },
        })
      ).statusCode === 200
    )
      passed++
  t.equal(passed, 8)
  const address = stranger()
  const both = [address, `::ffff:${address}`, address, `::ffff:${address}`].map(remoteAddress =>
    flood(under, 10, { url: '/oauth2/jwks', remoteAddress }),
  )
  t.equal(
    (await Promise.all(both)).reduce((sum, one) => sum + one.passed, 0),
    8,
  )
})

/** The /48 of a site that no test before had, without the colon behind it. */
const strangeSite = () => `2001:${(process.pid % 60_000).toString(16)}:${((Date.now() + ++last) % 60_000).toString(16)}`

/** @returns how many requests pass, one each of 200 networks of a site */
async function floodOf(site: string, { app }: Awaited<ReturnType<typeof edge>>, url: string) {
  let passed = 0
  for (let n = 1; n <= 200; n++) {
    const remoteAddress = `${site}:${n.toString(16)}::1`
    if ((await app.inject({ url, remoteAddress, headers: { host: 'a' } })).statusCode !== 429) passed++
  }
  return passed
}

t.test('the 65,536 networks of one IPv6 site are sixteen addresses and no more', async t => {
  const under = await edge(t, { config: { limits: { ...open, perAddress: still(2), logins: still(4) } } })
  const [one, two] = [strangeSite(), strangeSite()]
  t.equal(await floodOf(one, under, '/oauth2/jwks'), 16 * 2)
  t.equal(await floodOf(one, under, '/oauth2/jwks'), 0)
  t.equal(await floodOf(two, under, '/oauth2/jwks'), 16 * 2, 'the next site has its own')
  const logins = await edge(t, { config: { limits: { ...open, logins: still(4) } } })
  t.equal(await floodOf(strangeSite(), logins, '/oauth2/start'), 16 * 4)
})

t.test('a network that asks for too much costs its neighbours nothing', async t => {
  const under = await edge(t, { config: { limits: { ...open, perAddress: still(2) } } })
  const site = strangeSite()
  const request = { url: '/oauth2/jwks', remoteAddress: `${site}:ffff::1` }
  let passed = 0
  for (let n = 0; n < 100; n++) passed += (await flood(under, 1, request)).passed
  t.equal(passed, 2)
  t.equal(await floodOf(site, under, '/oauth2/jwks'), 16 * 2 - 2)
})

t.test('a session costs its site nothing once it is known', async t => {
  const { browser, provider, keyFile, config } = await edge(t, { config: { limits: open } })
  const person = browser(stranger())
  await person.login()
  // Another process, which has not seen the session yet.
  const other = await edge(t, {
    provider,
    clientKeyFile: keyFile,
    sessionKeys: config.sessionKeys,
    config: { limits: { ...open, perAddress: still(1) } },
  })
  const site = strangeSite()
  const { statusCode } = await other.app.inject({
    url: '/oauth2/userinfo',
    remoteAddress: `${site}:ffff::1`,
    headers: { host: 'localhost:3000', cookie: `__Host-session=${person.cookie()}`, 'x-csrf': '1' },
  })
  t.equal(statusCode, 200)
  t.equal(await floodOf(site, other, '/oauth2/jwks'), 16)
})

t.test('behind a trusted proxy it is the client that is counted, and no client can be another', async t => {
  const proxy = '192.0.2.7'
  const under = await edge(t, { config: { limits: { ...open, perAddress: still(8) }, trustedProxies: [proxy] } })
  const ask = (forwarded: string) =>
    flood(under, 20, {
      url: '/oauth2/jwks',
      remoteAddress: proxy,
      headers: { host: 'a', 'x-forwarded-for': forwarded },
    })
  const [one, two] = [stranger(), stranger()]
  t.equal((await ask(one)).passed, 8)
  t.equal((await ask(two)).passed, 8, 'the next client has its own')
  t.equal((await ask(`${stranger()}, ${one}`)).passed, 0, 'what a client wrote itself stands to the left')
  t.equal((await ask(`${stranger()}, ${one}, ${proxy}`)).passed, 0)
})

t.test('counts a session wherever it comes from, and not for its address', async t => {
  const under = await edge(t, { config: { limits: { ...open, perSession: still(16), perAddress: still(30) } } })
  const [one, two] = [under.browser(stranger()), under.browser(stranger())]
  await one.login()
  await two.login()
  const remoteAddress = stranger()
  const ask = async (cookie: string | undefined, times: number, from: string) =>
    (
      await flood(under, times, {
        url: '/api/payments',
        remoteAddress: from,
        headers: { host: 'a', 'x-csrf': '1', cookie: `__Host-session=${cookie}` },
      })
    ).passed
  t.equal(await ask(one.cookie(), 25, remoteAddress), 16)
  t.equal(await ask(one.cookie(), 5, stranger()), 0, 'another address is no other session')
  t.equal(await ask(two.cookie(), 16, remoteAddress), 16, 'another session is')
  t.equal(under.seen.length, 32)
  const anonymous = await flood(under, 40, { url: '/oauth2/jwks', remoteAddress })
  t.ok(anonymous.passed >= 20, `${anonymous.passed}: the sessions did not use up what is left for strangers`)
})

t.test('the list of one’s sessions counts for the session, on the page as for scripts', async t => {
  const limits = { ...open, perSession: still(16) }
  const under = await edge(t, { upstreams: [], config: { limits } })
  const person = under.browser(stranger())
  await person.login()
  const headers = { host: 'a', accept: 'text/html', cookie: `__Host-session=${person.cookie()}` }
  t.equal((await flood(under, 40, { url: '/', remoteAddress: stranger(), headers })).passed, 16)
  t.equal((await person.fetch('/oauth2/sessions')).statusCode, 429)
})

t.test('a client that never stops gets its rate and no more, and others do not feel it', async t => {
  const under = await edge(t, { config: { limits: { ...open, perSession: { perSecond: 50, burst: 16 } } } })
  const [greedy, other] = [under.browser(), under.browser()]
  await greedy.login()
  await other.login()
  const started = Date.now()
  let passed = 0
  while (Date.now() - started < 1_000) {
    const answers = await Promise.all(Array.from({ length: 20 }, () => greedy.fetch('/api/payments')))
    passed += answers.filter(({ statusCode }) => statusCode === 200).length
  }
  const seconds = (Date.now() - started) / 1_000
  t.ok(passed <= 16 + 2 + 50 * seconds, `${passed} passed`)
  t.ok(passed >= 16 + 20 * seconds, `${passed} passed`)
  t.equal((await other.fetch('/api/payments')).statusCode, 200)
})

t.test('Redis away is no error of the limits, and no way round them', async t => {
  const under = await edge(t, {
    redisUrl: 'redis://127.0.0.1:1',
    config: { limits: { ...open, perAddress: still(80) } },
  })
  const { passed, answers } = await flood(under, 100, { url: '/oauth2/jwks', remoteAddress: stranger() })
  t.equal(passed, 10, 'one block')
  t.same(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200, 429]))
})

/** An edge on a socket. */
async function serving(t: Test, limits: Partial<Limits>, answer?: Parameters<typeof testUpstream>[1]) {
  const upstream = await testUpstream(t, answer)
  const under = await edge(t, { upstreams: { payment: upstream.origin }, config: { limits: { ...open, ...limits } } })
  await under.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = under.app.server.address() as AddressInfo
  const person = under.browser()
  await person.login()
  const head = (method: string, path = '/api/payments') =>
    `${method} ${path} HTTP/1.1\r\nhost: a\r\nx-csrf: 1\r\norigin: ${origin}\r\ncookie: __Host-session=${person.cookie()}\r\n`
  const speak = (data: string): Socket => {
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    socket.on('error', () => undefined)
    socket.write(data)
    return socket
  }
  return { ...under, upstream, port, person, head, speak }
}

t.test(
  'thousands of requests in one go are refused by the connection once their address has had its share',
  async t => {
    const { port, person } = await serving(t, { perAddress: still(40) })
    for (const [n, [connections, request]] of (
      [
        [1, 'GET /x HTTP/1.1\r\nhost: a\r\n\r\n'],
        [30, 'GET /x HTTP/1.1\r\nhost: a\r\n\r\n'],
        [30, 'POST /oauth2/sign_out HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\na=b'],
      ] as const
    ).entries()) {
      const localAddress = `127.${1 + (process.pid % 250)}.${Date.now() % 250}.${10 + n}`
      const said = await Promise.all(
        Array.from({ length: connections }, () => {
          const socket = connect({ port, host: '127.0.0.1', localAddress })
          t.teardown(() => socket.destroy())
          socket.on('error', () => undefined)
          socket.write(request.repeat(1_000))
          return text(socket).catch(() => '')
        }),
      )
      const statuses = said.flatMap(one => one.match(/(?<=^|\})HTTP\/1\.1 \d+/g) ?? [])
      const refused = statuses.filter(status => status.endsWith('429')).length
      t.ok(statuses.length - refused <= 40, `${statuses.length - refused} were answered`)
      t.ok(refused <= connections, `${refused} refusals of ${connections * 1_000} requests`)
      t.equal((await person.fetch('/api/payments')).statusCode, 200, 'somebody else is served')
    }
  },
)

t.test('answers only so many requests of one session at the same time', async t => {
  const waiting: (() => void)[] = []
  const { person, speak, head, upstream } = await serving(t, { concurrentRequests: 4 }, (_request, response) => {
    waiting.push(() => response.end('{}'))
  })
  const sockets = Array.from({ length: 4 }, () => speak(`${head('GET')}\r\n`))
  await eventually(() => waiting.length === 4)
  const refused = await person.fetch('/api/payments')
  t.match(refused.json(), { code: 'rate_limited', status: 429 })
  t.equal(refused.headers['retry-after'], '1')
  t.equal(upstream.seen.length, 4)
  // One is answered and one leaves: both make room.
  waiting[0]?.()
  sockets[1]?.destroy()
  let next = await person.fetch('/oauth2/userinfo')
  while (next.statusCode === 429) next = await person.fetch('/oauth2/userinfo')
  t.equal(next.statusCode, 200)
  for (const end of waiting) end()
})

t.test('takes only so many bodies of one session at the same time', async t => {
  const { person, speak, head, upstream } = await serving(t, { concurrentUploads: 2 })
  let connected = 0
  upstream.server.on('connection', () => connected++)
  const slow = Array.from({ length: 2 }, () => speak(`${head('POST')}transfer-encoding: chunked\r\n\r\n1\r\n{\r\n`))
  await eventually(() => connected === 2)
  const refused = await text(
    speak(`${head('POST')}connection: close\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n`),
  )
  t.match(refused, /^HTTP\/1\.1 429 /)
  t.equal((await person.fetch('/api/payments')).statusCode, 200, 'what has no body goes on')
  for (const socket of slow) socket.destroy()
})

t.test('all sessions that one person may have cannot fill a service’s connections with bodies', async t => {
  const { session } = defaults
  t.ok(session.perUser * defaultLimits.concurrentUploads < upstreamDefaults.connections)
})

t.test('takes only so many connections of one address, and of all', async t => {
  const { port, metrics } = await serving(t, { addressConnections: 5, connections: 8 })
  const sockets: Socket[] = []
  const dial = async (localAddress: string): Promise<boolean> => {
    const socket = connect({ port, host: '127.0.0.1', localAddress })
    sockets.push(socket)
    t.teardown(() => socket.destroy())
    socket.on('error', () => undefined)
    socket.write('GET /oauth2/jwks HTTP/1.1\r\nhost: a\r\n\r\n')
    const [first] = (await Promise.race([once(socket, 'data'), once(socket, 'close')])) as [unknown]
    return Buffer.isBuffer(first)
  }
  const of = async (address: string, times: number) => {
    let taken = 0
    for (let n = 0; n < times; n++) if (await dial(address)) taken++
    return taken
  }
  t.equal(await of('127.0.0.2', 7), 5)
  t.equal(await of('127.0.0.3', 7), 3, 'the rest up to what is taken in all')
  const written = await metrics.text()
  t.match(written, 'http_connections_cut_total{reason="too_many_of_one",app="bff"} 2')
  t.match(written, /http_connections_cut_total\{reason="too_many",app="bff"\} [1-9]/)
  for (const socket of sockets) socket.destroy()
  await eventually(async () => /^http_connections\{app="bff"\} 0$/m.test(await metrics.text()))
  t.equal(await of('127.0.0.2', 7), 5, 'what was closed makes room')
})
