import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import type { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { eventually } from '@banking/testkit'
import t, { type Test } from 'tap'
import { upstreamDefaults } from '../src/config/options.ts'
import type { Upstream } from '../src/proxy/upstreams.ts'
import { selfSigned } from './certificate.ts'
import { type Browser, edge, origin, testUpstream } from './edge.ts'

const minute = 60_000
const own = { 'x-csrf': '1', 'sec-fetch-site': 'same-origin' }

type Answer = Parameters<typeof testUpstream>[1]

/** An edge on a real socket with one person logged in and a service that answers as the test wants. */
async function serving(t: Test, answer?: Answer, more: Partial<Upstream> = {}) {
  const upstream = await testUpstream(t, answer)
  const under = await edge(t, { upstreams: { payment: upstream.origin }, upstream: more })
  await under.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = under.app.server.address() as AddressInfo
  const person = under.browser()
  await person.login()
  return { ...under, upstream, port, person, cookie: `__Host-session=${person.cookie()}` }
}

/** A request on a connection of its own. */
function ask(
  { port, cookie }: { port: number; cookie: string },
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string | Buffer } = {},
) {
  const request = httpRequest({
    host: '127.0.0.1',
    port,
    path,
    agent: false,
    method: options.method ?? 'GET',
    headers: { cookie, ...own, ...options.headers },
  })
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', resolve)
    request.on('error', reject)
  })
  response.catch(() => undefined)
  const send = () => {
    request.end(options.body)
    return response
  }
  return { request, response, send }
}

const whole = async (answer: Promise<IncomingMessage>) => {
  const response = await answer
  return {
    status: response.statusCode,
    headers: response.headers,
    raw: response.rawHeaders,
    body: await text(response),
  }
}

/** Exactly these bytes on a socket. @returns everything that comes back until the other side is done */
function bytes(port: number, data: string): Promise<string> {
  return new Promise(resolve => {
    const socket = connect({ host: '127.0.0.1', port })
    let received = ''
    socket.on('data', chunk => {
      received += chunk.toString('latin1')
    })
    socket.on('close', () => resolve(received))
    socket.on('error', () => undefined)
    // Written and not ended: Node gives up a request whose client has closed its half.
    socket.write(data, 'latin1')
  })
}

t.test('passes a request on with a token for that service alone, and the answer back', async t => {
  const { browser, seen, provider } = await edge(t)
  const person = browser()
  await person.login()
  const response = await person.fetch('/api/payments/accounts?limit=5&after=a%2Fb')
  t.equal(response.statusCode, 200)
  t.same(response.json(), { path: '/api/payments/accounts?limit=5&after=a%2Fb', length: 0 })
  t.equal(response.headers['cache-control'], 'no-store')
  const token = String(seen[0]?.headers.authorization).slice('Bearer '.length)
  t.equal(provider.exchanged.get(token)?.audience, 'payment-service')
  await person.fetch('/api/customers/me')
  const other = String(seen[1]?.headers.authorization).slice('Bearer '.length)
  t.equal(provider.exchanged.get(other)?.audience, 'customer-service')
  await person.fetch('/api/payments')
  t.equal(seen[2]?.url, '/api/payments')
  t.equal(provider.calls['exchange'], 2, 'exchanged once per audience')
})

t.test('tells a service only what the list allows', async t => {
  const { browser, seen } = await edge(t)
  const person = browser()
  await person.login()
  const passed = {
    accept: 'application/json',
    'accept-language': 'en',
    'content-type': 'application/json',
    'idempotency-key': '"k-1"',
    'if-match': '"7"',
    'if-none-match': '*',
    'last-event-id': '41',
    range: 'bytes=0-9',
    'x-purpose': 'complaint 4711',
  }
  const dropped = {
    authorization: 'Bearer of-the-browser',
    'proxy-authorization': 'Basic eDp5',
    forwarded: 'for=1.2.3.4',
    'x-forwarded-for': '1.2.3.4',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-proto': 'gopher',
    'x-forwarded-uri': '/public',
    'x-original-url': '/admin',
    'x-rewrite-url': '/admin',
    'x-http-method-override': 'DELETE',
    'x-method-override': 'DELETE',
    'x-forwarded-user': 'root',
    'x-forwarded-email': 'root@bank',
    'x-auth-request-user': 'root',
    'x-auth-request-groups': 'banking-admin',
    'x-user-id': '1',
    x_user_id: '1',
    x_forwarded_user: 'root',
    'x-forwarded_user': 'root',
    idempotency_key: 'k-2',
    'x-jwt-payload': 'e30',
    'x-forwarded-client-cert': 'By=spiffe://x',
    'x-envoy-original-path': '/x',
    dpop: 'x',
    'x-csrf': '1',
    'x-background': '1',
    'user-agent': 'GoogleHC/1.0',
    referer: 'http://localhost:3000/',
    te: 'trailers',
    upgrade: 'websocket',
    'keep-alive': 'timeout=9',
    expect: '',
    tracestate: 'a=b',
    baggage: 'user=1',
    'sec-fetch-site': 'same-origin',
  }
  await person.fetch('/api/payments', {
    method: 'POST',
    payload: '{}',
    headers: {
      ...dropped,
      ...passed,
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      'x-request-id': 'chosen-by-the-browser',
    },
  })
  const got = seen[0]?.headers ?? {}
  for (const [name, value] of Object.entries(passed)) t.equal(got[name], value, `${name} is passed on`)
  const made = ['authorization', 'forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto']
  for (const [name, value] of Object.entries({ ...dropped, cookie: '' }))
    if (made.includes(name)) t.not(got[name], value, `${name} is the edge’s own`)
    else t.equal(got[name], undefined, `${name} stays here`)
  t.notMatch(got.authorization, 'of-the-browser')
  t.not(got['x-request-id'], 'chosen-by-the-browser')
  t.match(got.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/)
  t.notMatch(got.traceparent, '0af7651916cd43dd8448eb211c80319c', 'the trace starts at the edge')
  const expected = [
    ...Object.keys(passed),
    'authorization',
    'connection',
    'content-length',
    'forwarded',
    'host',
    'traceparent',
    'x-forwarded-for',
    'x-forwarded-host',
    'x-forwarded-port',
    'x-forwarded-proto',
    'x-request-id',
  ]
  t.same(Object.keys(got).sort(), expected.sort())
})

t.test('a Connection header removes what it names, never what the edge adds', async t => {
  const { port, cookie, upstream } = await serving(t)
  const head = `GET /api/payments HTTP/1.1\r\nHost: localhost:3000\r\nCookie: ${cookie}\r\nX-CSRF: 1\r\n`
  for (const connection of [
    'close, authorization',
    'Authorization, x-request-id , traceparent, close',
    'If-Match, cookie, x-csrf, close',
  ]) {
    const answer = await bytes(port, `${head}If-Match: "1"\r\nConnection: ${connection}\r\n\r\n`)
    t.match(answer, 'HTTP/1.1 200')
    const headers = upstream.seen.at(-1)?.headers ?? {}
    t.match(headers.authorization, /^Bearer for-payment-service-/)
    t.ok(headers['x-request-id'])
    t.ok(headers.traceparent)
    t.equal(headers['if-match'], connection.startsWith('If-Match') ? undefined : '"1"')
  }
})

t.test('refuses two values where there is one', async t => {
  const { port, cookie, upstream } = await serving(t)
  const head = (more: string) =>
    `GET /api/payments HTTP/1.1\r\nHost: localhost:3000\r\nCookie: ${cookie}\r\nX-CSRF: 1\r\nConnection: close\r\n${more}\r\n`
  for (const more of [
    'Idempotency-Key: a\r\nIdempotency-Key: b\r\n',
    'Range: bytes=0-1\r\nRange: bytes=5-6\r\n',
    'X-Purpose: one\r\nx-purpose: two\r\n',
    'Host: evil.example\r\n',
    'Last-Event-ID: 1\r\nLast-Event-ID: 2\r\n',
  ])
    t.match(await bytes(port, head(more)), /^HTTP\/1\.1 400 /, JSON.stringify(more))
  t.equal(upstream.seen.length, 0)
  await bytes(port, head('Accept: text/plain\r\nAccept: application/json\r\n'))
  t.equal(upstream.seen[0]?.headers.accept, 'text/plain, application/json', 'lists are joined')
})

t.test('refuses every path that another server could read differently', async t => {
  const { port, cookie, upstream } = await serving(t)
  const paths = [
    '/api/payments/../admin',
    '/api/payments/./x',
    '/api/payments/..',
    '/api/payments/.',
    '/api/payments/%2e%2e/admin',
    '/api/payments/%2E%2E/admin',
    '/api/payments/.%2e/admin',
    '/api/payments/%2e/x',
    '/api/payments/..%2fadmin',
    '/api/payments/%2f',
    '/api/payments/a%2Fb',
    '/api/payments/a%5cb',
    '/api/payments/a%5Cb',
    '/api/payments\\..\\admin',
    '/api\\payments',
    '//api/payments',
    '/api//payments',
    '/api/payments//x',
    '/api/payments/x//',
    '///api/payments',
    '/api/payments;a=b',
    '/api/payments/..;/admin',
    '/api/payments/x;jsessionid=1',
    '/api/payments/%3b',
    '/api;/payments',
    '/api/payments/%00',
    '/api/payments/a%00b',
    '/api/payments/%0a',
    '/api/payments/%0d%0aX:1',
    '/api/payments/%09',
    '/api/payments/%7f',
    '/api/payments/%',
    '/api/payments/%2',
    '/api/payments/%zz',
    '/api/payments/%u002e',
    '/api/payments/%c0%ae%c0%ae/x',
    '/api/payments/%c0%af',
    '/api/payments/%e0%80%af',
    '/api/payments/%ff',
    '/api/payments/%252e%252e/x',
    '/api/payments/%252f',
    '/api/payments/%25',
    '/api/%70ayments',
    '/%61pi/payments',
    '/api/p%61yments/x',
    '/api/payments/%41',
    '/api/payments/%30',
    '/api/payments/a%2Db',
    '/api/payments/%7e',
    '/api/payments/x#y',
    '/api/payments/x%23y',
    '/api/payments/x%3fy',
    '/api/payments/\xff',
    '/api/payments/\xc0\xae',
    '/api/payments/%ef%bc%8f',
    '/api/payments/%ef%bc%8e%ef%bc%8e',
    '/api/payments/%e2%80%ae',
    '/api/payments/%c2%85',
    '/api/payments?a=b#c',
    '/api/payments?a\\b',
    '/api/payments?\x7f',
    'http://evil.example/api/payments',
    'http://localhost:3000/api/payments',
    'https:/api/payments',
    'api/payments',
    '*',
    '?x',
    '#',
    '/api/payments/<x>',
    '/api/payments/"x"',
    '/api/payments/{x}',
    '/api/payments/|',
    '/api/payments/^',
    '/api/payments/`',
  ]
  for (const path of paths) {
    const answer = await bytes(
      port,
      `GET ${path} HTTP/1.1\r\nHost: localhost:3000\r\nCookie: ${cookie}\r\nX-CSRF: 1\r\nConnection: close\r\n\r\n`,
    )
    t.match(answer, /^HTTP\/1\.1 400 /, JSON.stringify(path))
    t.match(answer, /"code":"(?:path|request)_malformed"/)
  }
  t.equal(upstream.seen.length, 0, 'the service saw none of them')
  for (const path of [
    '/api/payments/a%20b',
    '/api/payments/caf%C3%A9',
    "/api/payments/a-._~!$&'()*+,=:@b",
    '/api/payments/x/',
    '/api/payments?x=%00&y=//..;/',
  ])
    t.match(
      await bytes(
        port,
        `GET ${path} HTTP/1.1\r\nHost: a\r\nCookie: ${cookie}\r\nX-CSRF: 1\r\nConnection: close\r\n\r\n`,
      ),
      /^HTTP\/1\.1 200 /,
      path,
    )
  t.same(
    upstream.seen.map(({ url }) => url),
    [
      '/api/payments/a%20b',
      '/api/payments/caf%C3%A9',
      "/api/payments/a-._~!$&'()*+,=:@b",
      '/api/payments/x/',
      '/api/payments?x=%00&y=//..;/',
    ],
  )
})

t.test('reaches nothing but the table: no other prefix, case or method', async t => {
  const { browser, seen } = await edge(t)
  const person = browser()
  await person.login()
  for (const url of [
    '/api',
    '/api/',
    '/api/paymentsx',
    '/api/payment',
    '/API/payments',
    '/api/Payments',
    '/api/loans',
    '/api/admin/users',
    '/internal',
    '/metrics',
    '/ready',
    '/ping',
    '/documentation',
    '/docs',
    '/.env',
    '/.git/config',
    '/actuator',
    '/graphql',
  ])
    t.equal((await person.fetch(url)).statusCode, 404, url)
  for (const method of ['OPTIONS', 'TRACE', 'PROPFIND']) {
    const { statusCode } = await person.send('/api/payments', { method: method as 'GET', headers: own })
    t.ok([404, 405].includes(statusCode), method)
  }
  t.equal(seen.length, 0)
})

t.test('takes an API call only from our own script', async t => {
  const { browser, seen } = await edge(t)
  const person = browser()
  await person.login()
  const evil = 'https://evil.example'
  type Case = [string, 'GET' | 'POST' | 'DELETE', Record<string, string>, number]
  const cases: Case[] = [
    ['a same-origin GET, which carries no Origin', 'GET', own, 200],
    ['a same-origin POST', 'POST', { ...own, origin }, 200],
    ['a same-origin POST without Origin', 'POST', own, 200],
    ['an old browser’s POST with Origin only', 'POST', { 'x-csrf': '1', origin }, 200],
    ['no header', 'GET', { 'sec-fetch-site': 'same-origin' }, 403],
    ['the header with another value', 'GET', { ...own, 'x-csrf': '0' }, 403],
    ['the header twice', 'GET', { ...own, 'x-csrf': '1, 1' }, 403],
    ['the header empty', 'GET', { ...own, 'x-csrf': '' }, 403],
    ['cross-site', 'GET', { 'x-csrf': '1', 'sec-fetch-site': 'cross-site' }, 403],
    ['same-site', 'GET', { 'x-csrf': '1', 'sec-fetch-site': 'same-site' }, 403],
    ['none', 'GET', { 'x-csrf': '1', 'sec-fetch-site': 'none' }, 403],
    ['a foreign Origin on GET', 'GET', { 'x-csrf': '1', origin: evil }, 403],
    ['a foreign Origin with our Fetch-Site', 'POST', { ...own, origin: evil }, 403],
    ['Origin null', 'POST', { ...own, origin: 'null' }, 403],
    ['our Origin with another port', 'POST', { 'x-csrf': '1', origin: 'http://localhost:3001' }, 403],
    ['our Origin with another scheme', 'POST', { 'x-csrf': '1', origin: 'https://localhost:3000' }, 403],
    ['our Origin as a prefix', 'POST', { 'x-csrf': '1', origin: `${origin}.evil.example` }, 403],
    ['our Origin with a slash', 'POST', { 'x-csrf': '1', origin: `${origin}/` }, 403],
    ['neither Origin nor Fetch-Site on POST', 'POST', { 'x-csrf': '1' }, 403],
    ['neither on DELETE', 'DELETE', { 'x-csrf': '1' }, 403],
    ['a plain form', 'POST', { 'content-type': 'text/plain', 'sec-fetch-site': 'cross-site' }, 403],
  ]
  for (const [name, method, headers, status] of cases) {
    const response = await person.send('/api/payments', { method, headers })
    t.equal(response.statusCode, status, name)
    if (status === 403) t.match(response.json(), { code: 'csrf_refused' })
    t.equal(response.headers['access-control-allow-origin'], undefined)
  }
  t.equal(seen.length, cases.filter(([, , , status]) => status === 200).length)
  t.equal((await person.send('/oauth2/userinfo', { headers: { 'sec-fetch-site': 'same-origin' } })).statusCode, 403)
})

t.test('grants CORS to nobody', async t => {
  const { browser } = await edge(t, {})
  const person = browser()
  await person.login()
  for (const from of ['https://evil.example', 'null', origin, `${origin}.evil.example`]) {
    const preflight = await person.send('/api/payments', {
      method: 'OPTIONS',
      headers: { origin: from, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-csrf' },
    })
    t.ok(preflight.statusCode >= 400)
    t.notOk(Object.keys(preflight.headers).some(name => name.startsWith('access-control-')))
  }
})

t.test('takes a person who follows a link to the API back to the app', async t => {
  const { browser, seen } = await edge(t)
  const person = browser()
  await person.login()
  const bounced = await person.open('/api/payments/accounts', { crossSite: true })
  t.equal(bounced.statusCode, 200)
  t.match(bounced.body, '<meta http-equiv="refresh" content="0;url=/">')
  const refused = await person.open('/api/payments/accounts')
  t.equal(refused.statusCode, 403)
  t.match(refused.headers['content-type'], 'text/html')
  t.equal(seen.length, 0)
})

t.test('lets no answer of a service speak for the edge', async t => {
  const { port, cookie, upstream } = await serving(t, (_request, response) => {
    response.setHeader('set-cookie', [
      '__Host-session=evil; Path=/; Secure',
      '__host-SESSION=evil',
      ' __Host-session =evil',
      '__Host-login-x=evil',
      // Without a name it comes back as its value alone, which reads like ours.
      '=__Host-session=evil; Path=/; Secure',
      ' = __Host-session=evil',
      // An API has none at all.
      'theme=dark; Path=/',
    ])
    for (const [name, value] of Object.entries({
      'content-security-policy': 'default-src *',
      'strict-transport-security': 'max-age=0',
      'access-control-allow-origin': '*',
      'access-control-allow-credentials': 'true',
      'clear-site-data': '"*"',
      'x-powered-by': 'x',
      'server-timing': 'db;dur=53',
      'report-to': '{}',
      'reporting-endpoints': 'a="https://evil.example"',
      nel: '{}',
      'x-accel-redirect': '/internal/file',
      'x-sendfile': '/etc/passwd',
      sourcemap: '/app.js.map',
      server: 'x',
      refresh: '0;url=//evil.example',
      'www-authenticate': 'Basic',
      connection: 'x-internal',
      'x-internal': 'secret',
      'x-request-id': 'theirs',
      'cache-control': 'private, max-age=5',
      etag: '"1"',
      'idempotency-replayed': 'true',
    }))
      response.setHeader(name, value)
    response.setHeader('location', `http://${_request.headers.host}/api/payments/7`)
    response.statusCode = 201
    response.end('{}')
  })
  const answer = await whole(ask({ port, cookie }, '/api/payments').send())
  t.equal(answer.status, 201)
  t.equal(answer.headers['set-cookie'], undefined, 'an API has no cookies, of whatever name')
  t.match(answer.headers['content-security-policy'], "default-src 'none'")
  for (const name of [
    'access-control-allow-origin',
    'access-control-allow-credentials',
    'clear-site-data',
    'x-powered-by',
    'server-timing',
    'report-to',
    'reporting-endpoints',
    'nel',
    'x-accel-redirect',
    'x-sendfile',
    'sourcemap',
    'server',
    'refresh',
    'www-authenticate',
    'x-internal',
    'strict-transport-security',
  ])
    t.equal(answer.headers[name], undefined, name)
  t.match(answer.headers, {
    etag: '"1"',
    'idempotency-replayed': 'true',
    'cache-control': 'private, max-age=5',
    location: `${origin}/api/payments/7`,
  })
  t.not(answer.headers['x-request-id'], 'theirs')
  t.equal(answer.headers['x-request-id'], upstream.seen[0]?.headers['x-request-id'])
  const names = answer.raw.filter((_, i) => i % 2 === 0).map(name => name.toLowerCase())
  t.equal(new Set(names).size, names.length, 'no field comes twice')
})

t.test('gives an application that renders pages its own cookies, and nobody the edge’s', async t => {
  const upstream = await testUpstream(t, (_request, response) => {
    response.setHeader('set-cookie', [
      'basket=7; Path=/shop',
      '__Host-SESSION=theirs; Path=/; Secure',
      '__Host-edge-x=1',
    ])
    response.end('shown')
  })
  const common = { ...upstreamDefaults, origin: upstream.origin, token: 'none' } as const
  const under = await edge(t, {
    upstreams: [
      { ...common, name: 'shop', prefix: '/shop', kind: 'pages' },
      { ...common, name: 'stock', prefix: '/stock', kind: 'api' },
    ],
  })
  await under.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = under.app.server.address() as AddressInfo
  const person = under.browser()
  await person.login()
  const session = `__Host-session=${person.cookie()}`
  const secret = String(person.cookie())
  const asked = async (path: string, ...cookies: string[]) => {
    const fields = cookies.map(value => `Cookie: ${value}\r\n`).join('')
    const head = `GET ${path} HTTP/1.1\r\nHost: localhost:3000\r\nX-CSRF: 1\r\nSec-Fetch-Site: same-origin\r\n`
    const answer = await bytes(port, `${head}${fields}Connection: close\r\n\r\n`)
    t.match(answer, /^HTTP\/1\.1 200 /, cookies.join(' | '))
    const { headers, raw } = upstream.seen.at(-1) ?? { headers: {}, raw: [] }
    t.notMatch(JSON.stringify(raw), secret)
    t.ok(raw.filter(name => name.toLowerCase() === 'cookie').length <= 1, 'at most one field')
    return { cookie: headers.cookie, answer }
  }
  for (const [sent, passed] of [
    [session, undefined],
    [`theme=dark; ${session}`, 'theme=dark'],
    [`${session};a=1;\t b=2 ; `, 'a=1; b=2'],
    // Two of one name are the application's to make sense of, in their order.
    [`a=1; ${session}; a=2`, 'a=1; a=2'],
    // For a server that reads quotes, what stands between them is one value.
    [`a="1; ${session}; b=2"`, 'a="1; b=2"'],
    [`a="x y, z"; ${session}`, 'a="x y, z"'],
    // Looks like ours and is not; and what is ours for somebody who does not mind capitals.
    [
      `x__Host-session=1; ${session}; __Host-session2=2; my__Host-edge-=3`,
      'x__Host-session=1; __Host-session2=2; my__Host-edge-=3',
    ],
    [`__host-SESSION=1; ${session}; __HOST-edge-attempts=1; __Host-login-abc=2; a=1`, 'a=1'],
    [`__Host-edge-x; ${session}; flag; =__Host-session=1`, 'flag'],
    [`a=${'b'.repeat(4000)}; ${session}`, `a=${'b'.repeat(4000)}`],
  ] as const) {
    t.equal((await asked('/shop/basket', sent)).cookie, passed, sent)
    t.equal((await asked('/stock', sent)).cookie, undefined, 'an API gets none')
  }
  t.equal((await asked('/shop', 'a=1', session, 'b=2')).cookie, 'a=1; b=2', 'several fields are one')
  const { answer } = await asked('/shop', session)
  t.same(answer.match(/^set-cookie: .*$/gim), ['set-cookie: basket=7; Path=/shop'])
  const dropped = await bytes(
    port,
    `GET /shop HTTP/1.1\r\nHost: localhost:3000\r\nSec-Fetch-Site: same-origin\r\nCookie: a=1; ${session}\r\nConnection: close, cookie\r\n\r\n`,
  )
  t.match(dropped, /^HTTP\/1\.1 200 /)
  t.equal(upstream.seen.at(-1)?.headers.cookie, undefined, 'what Connection names stays here')
})

t.test('gives each event out as it comes, and the client’s leaving reaches the service', async t => {
  const left = Promise.withResolvers<void>()
  let push: (event: string) => void = () => undefined
  const { port, cookie } = await serving(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    push = event => response.write(event)
    response.flushHeaders()
    response.on('close', () => left.resolve())
  })
  const response = await ask({ port, cookie }, '/api/payments/stream', {
    headers: { accept: 'text/event-stream' },
  }).send()
  let received = ''
  response.on('data', chunk => {
    received += chunk
  })
  response.on('error', () => undefined)
  for (const event of ['data: one\n\n', ': ping\n\n', 'data: two\n\n']) {
    push(event)
    await eventually(() => received.endsWith(event))
  }
  t.equal(received, 'data: one\n\n: ping\n\ndata: two\n\n')
  response.destroy()
  await left.promise
})

const megabyte = 1024 * 1024
/** Bytes that nobody takes: more than all buffers of the kernel between three processes, and than the edge may hold. */
const flood = 100 * megabyte

/** Writes so much to a stream, as fast as it takes it. @returns how much it took so far */
function pour(into: Writable, size: number): () => number {
  let poured = 0
  const piece = Buffer.alloc(64 * 1024)
  const more = () => {
    while (poured < size) {
      poured += piece.length
      if (!into.write(piece)) return
    }
    into.end()
  }
  into.on('drain', more)
  more()
  return () => poured
}

/** Waits until a number stays the same while whole requests go through the edge: what could flow would have. */
async function still(of: () => number, under: Parameters<typeof ask>[0]): Promise<void> {
  for (let before = -1; before !== of(); ) {
    before = of()
    for (let n = 0; n < 50; n++) await whole(ask(under, '/api/payments/small').send())
  }
}

/** Bytes of buffers in this process, which is the service's and the client's too: they send one buffer again and again. */
const held = () => process.memoryUsage().arrayBuffers

t.test('holds a fast service back while the client does not read', async t => {
  for (const [way, options] of Object.entries({
    'a request without a body': {},
    'a body that was passed on as it came': { method: 'POST', body: Buffer.alloc(20_000) },
    'a stream': { headers: { accept: 'text/event-stream' } },
  }))
    t.test(`the answer to ${way}`, async t => {
      let poured: (() => number) | undefined
      const { port, cookie } = await serving(t, (request, response) => {
        if (request.url?.endsWith('/small')) return void response.end('{}')
        response.setHeader('content-length', flood)
        poured = pour(response, flood)
      })
      await whole(ask({ port, cookie }, '/api/payments/small').send())
      const before = held()
      const response = await ask({ port, cookie }, '/api/payments/export', options).send()
      response.pause()
      const taken = () => poured?.() ?? 0
      await still(taken, { port, cookie })
      t.ok(taken() < flood / 2, `${taken()} bytes were taken of the service and no more`)
      t.ok(held() - before < 16 * megabyte, `${held() - before} bytes are in memory`)
      let length = 0
      for await (const chunk of response) length += chunk.length
      t.equal(length, flood, 'and all of it arrives in the end')
    })
})

t.test('holds a fast client back while the service does not read', async t => {
  for (const [framing, headers] of Object.entries({
    'with a length': { 'content-length': String(flood) },
    'in chunks': { 'transfer-encoding': 'chunked' },
  }))
    t.test(`a body ${framing}`, async t => {
      let taken: IncomingMessage | undefined
      const { port, cookie } = await serving(
        t,
        (request, response) => {
          if (request.headers['x-purpose'] !== 'stream') return void response.end('{}')
          taken = request.pause()
          request.on('end', () => response.end('done'))
        },
        { bodyLimit: 2 * flood },
      )
      await whole(ask({ port, cookie }, '/api/payments/small').send())
      const before = held()
      const upload = ask({ port, cookie }, '/api/payments', {
        method: 'POST',
        headers: { 'x-purpose': 'stream', ...headers },
      })
      const sent = pour(upload.request, flood)
      await eventually(() => taken !== undefined)
      await still(sent, { port, cookie })
      t.ok(sent() < flood / 2, `${sent()} bytes were taken of the client and no more`)
      t.ok(held() - before < 16 * megabyte, `${held() - before} bytes are in memory`)
      let length = 0
      taken?.on('data', chunk => {
        length += chunk.length
      })
      taken?.resume()
      t.equal((await whole(upload.response)).status, 200)
      t.equal(length, flood)
    })
})

t.test('gives each of many slow readers its own bytes, while others leave in the middle', async t => {
  const size = 16 * 1024 * 1024
  const { port, cookie } = await serving(t, (request, response) => {
    const { searchParams } = new URL(request.url ?? '', origin)
    response.setHeader('content-length', size)
    response.end(Buffer.alloc(size, `${searchParams.get('mark')} `))
  })
  const read = async (mark: string, leaves: boolean): Promise<void> => {
    const response = await ask({ port, cookie }, `/api/payments/export?mark=${mark}`).send()
    response.on('error', () => undefined)
    // Until what the kernels take is full, and pieces wait on their way.
    await new Promise(resolve => setTimeout(resolve, 300))
    const expected = Buffer.alloc(size, `${mark} `)
    let at = 0
    for await (const chunk of response as AsyncIterable<Buffer>) {
      if (!chunk.equals(expected.subarray(at, at + chunk.length))) throw new Error(`${mark} got other bytes at ${at}`)
      at += chunk.length
      if (leaves && at > size / 4) return void response.destroy()
    }
    t.equal(at, size)
  }
  for (let round = 0; round < 2; round++)
    await Promise.all(Array.from({ length: 6 }, (_, at) => read(`${round}.${at}`, at % 3 === 0)))
})

t.test('64 clients that leave, waiting or being answered, take no connection with them', async t => {
  const waiting: ServerResponse[] = []
  let isSlow = true
  const { port, cookie, upstream, lines } = await serving(
    t,
    (_request, response) => {
      if (!isSlow) return response.end('{}')
      waiting.push(response)
      // Half of them have begun to answer, with more than fits anywhere.
      if (waiting.length % 2 === 0) response.write(Buffer.alloc(8 * 1024 * 1024))
    },
    { connections: 8 },
  )
  const clients = Array.from({ length: 64 }, (_, n) => ask({ port, cookie }, `/api/payments/${n}`))
  for (const client of clients) {
    client.request.on('error', () => undefined)
    client.request.end()
  }
  await eventually(() => waiting.length === 8)
  const isAnswered = (_: unknown, n: number) => upstream.seen.some(({ url }) => url === `/api/payments/${n}`)
  const left = () => lines().filter(line => line['msg'] === 'client went away').length
  const [answered, queued] = [clients.filter(isAnswered), clients.filter((client, n) => !isAnswered(client, n))]
  for (const client of queued) client.request.destroy()
  await eventually(() => left() === queued.length)
  for (const client of answered) client.request.destroy()
  isSlow = false
  const answers = await Promise.all(
    Array.from({ length: 32 }, () => whole(ask({ port, cookie }, '/api/payments').send())),
  )
  t.same(new Set(answers.map(({ status }) => status)), new Set([200]))
  t.equal(upstream.seen.length, 8 + 32, 'who left while waiting was never sent')
})

t.test('a client that leaves while it uploads ends the upload at the service too', async t => {
  const begun = Promise.withResolvers<IncomingMessage>()
  const { port, cookie } = await serving(
    t,
    (request, response) => {
      if (request.headers['x-purpose'] !== 'stream') return response.end('{}')
      request.resume()
      begun.resolve(request)
    },
    { connections: 1 },
  )
  const upload = ask({ port, cookie }, '/api/payments', {
    method: 'POST',
    headers: { 'x-purpose': 'stream', 'content-length': '1000000' },
  })
  upload.request.on('error', () => undefined)
  upload.request.write(Buffer.alloc(300_000))
  const request = await begun.promise
  const over = new Promise(resolve => request.once('close', resolve))
  upload.request.destroy()
  await over
  t.equal(request.complete, false, 'a body that broke off is no whole one')
  const again = ask({ port, cookie }, '/api/payments', {
    method: 'POST',
    headers: { 'content-length': '200000' },
    body: Buffer.alloc(200_000),
  })
  t.equal((await whole(again.send())).status, 200, 'and its connection is there for the next')
})

t.test('reads trailers and passes none on, either way', async t => {
  const { port, cookie, upstream } = await serving(t, (_request, response) => {
    response.writeHead(200, { trailer: 'x-after, set-cookie' })
    response.write('whole')
    response.addTrailers({ 'x-after': '1', 'set-cookie': '__Host-session=theirs' })
    response.end()
  })
  const answer = await bytes(
    port,
    `POST /api/payments HTTP/1.1\r\nHost: localhost:3000\r\nCookie: ${cookie}\r\nX-CSRF: 1\r\nSec-Fetch-Site: same-origin\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: authorization\r\n\r\n3\r\nabc\r\n0\r\nAuthorization: Bearer of-the-browser\r\n\r\n`,
  )
  t.match(answer, /^HTTP\/1\.1 200 /)
  t.match(answer, 'whole')
  t.notMatch(answer, /x-after|theirs|trailer/i)
  const [seen] = upstream.seen
  t.equal(seen?.body, 'abc')
  t.notMatch(JSON.stringify(seen), 'of-the-browser')
  const { headers, raw, body } = await whole(ask({ port, cookie }, '/api/payments').send())
  t.equal(body, 'whole', 'without a body of the client, too')
  t.notMatch(JSON.stringify([headers, raw]), /x-after|theirs|trailer/i)
})

t.test('takes a hundred header fields of a service and no more', async t => {
  const { port, cookie } = await serving(t, (request, response) => {
    const count = Number(new URL(request.url ?? '', origin).searchParams.get('fields'))
    response.sendDate = false
    const fields = Array.from({ length: count - 2 }, (_, n) => [`x-${n}`, '1'])
    response.writeHead(200, [['content-length', '2'], ['connection', 'keep-alive'], ...fields].flat())
    response.end('{}')
  })
  const statusOf = async (count: number) =>
    (await whole(ask({ port, cookie }, `/api/payments?fields=${count}`).send())).status
  t.equal(await statusOf(100), 200)
  t.equal(await statusOf(101), 502)
  t.equal(await statusOf(5), 200, 'the next answer is none the worse')
})

t.test('slow bodies of one person take no connection from anybody else', async t => {
  const { port, cookie, upstream } = await serving(t, undefined, { connections: 2 })
  const slow = Array.from({ length: 4 }, () => {
    const client = ask({ port, cookie }, '/api/payments', {
      method: 'POST',
      headers: { origin, 'transfer-encoding': 'chunked' },
    })
    client.request.on('error', () => undefined)
    client.request.write('{')
    return client
  })
  let connected = 0
  upstream.server.on('connection', () => connected++)
  await eventually(() => connected === 2)
  t.equal((await whole(ask({ port, cookie }, '/api/payments').send())).status, 200)
  for (const client of slow) client.request.destroy()
})

t.test('clients that do not read their answers take no connection from anybody else', async t => {
  const { port, cookie, upstream } = await serving(
    t,
    (request, response) => {
      const { pathname } = new URL(request.url ?? '', origin)
      if (pathname.endsWith('/stream')) {
        response.setHeader('content-type', 'text/event-stream')
        response.write('data: hello\n\n')
      } else response.end(pathname.endsWith('/large') ? Buffer.alloc(16 * 1024 * 1024) : '{}')
    },
    { connections: 2 },
  )
  const head = `Host: a\r\nCookie: ${cookie}\r\nX-CSRF: 1\r\n`
  const large = `GET /api/payments/large HTTP/1.1\r\n${head}\r\n`
  const stream = `GET /api/payments/stream HTTP/1.1\r\n${head}Accept: text/event-stream\r\n\r\n`
  const isServed = async (how: string) => {
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => whole(ask({ port, cookie }, '/api/payments').send())),
    )
    t.same(new Set(answers.map(({ status }) => status)), new Set([200]), how)
  }
  const open = () => {
    const socket = connect({ host: '127.0.0.1', port })
    t.teardown(() => socket.destroy())
    return socket.on('error', () => undefined).pause()
  }
  for (let n = 0; n < 4; n++) open().write(large)
  await isServed('one connection each, and nothing is ever read')
  const row = open()
  row.write(stream)
  row.write(large.repeat(4))
  await isServed('all in a row behind a stream without an end, on one connection')
  // Bodies that are passed on as they come have connections of their own.
  const upload = `POST /api/payments/large HTTP/1.1\r\n${head}Origin: ${origin}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`
  for (let n = 0; n < 2; n++) open().write(upload)
  await eventually(() => upstream.seen.filter(({ method }) => method === 'POST').length === 2)
  const headers = { origin, 'transfer-encoding': 'chunked' }
  const answer = await whole(ask({ port, cookie }, '/api/payments', { method: 'POST', headers, body: '{}' }).send())
  t.equal(answer.status, 200, 'after they sent a body')
})

t.test('a client that leaves in the middle of its body is no failure of the service', async t => {
  const { port, cookie, upstream, lines } = await serving(t)
  const client = ask({ port, cookie }, '/api/payments', {
    method: 'POST',
    headers: { origin, 'transfer-encoding': 'chunked' },
  })
  client.request.on('error', () => undefined)
  client.request.write('{')
  await once(upstream.server, 'connection')
  client.request.destroy()
  await eventually(() => lines().some(line => line['msg'] === 'client went away' || line['msg'] === 'request failed'))
  t.notOk(lines().some(line => line['msg'] === 'request failed'))
})

t.test('says 504 when the head does not come, 503 when nobody is there, 502 when it breaks', async t => {
  const slow = await serving(t, () => undefined, { timeout: 300 })
  const timeout = await whole(ask(slow, '/api/payments').send())
  t.same([timeout.status, JSON.parse(timeout.body).code], [504, 'upstream_timeout'])

  const gone = await edge(t, { upstreams: { payment: 'http://127.0.0.1:1' } })
  const person = gone.browser()
  await person.login()
  const refused = await person.fetch('/api/payments')
  t.match(refused.json(), { code: 'upstream_unavailable', status: 503 })
  t.ok(refused.headers['retry-after'])

  for (const method of ['GET', 'POST']) {
    const reset = await serving(t, request => void request.socket.destroy())
    const broken = await whole(ask(reset, '/api/payments', { method, body: method === 'POST' ? '{}' : '' }).send())
    t.same([broken.status, JSON.parse(broken.body).code], [502, 'upstream_failed'])
    t.equal(
      reset.upstream.seen.length,
      method === 'GET' ? 2 : 1,
      `a ${method} is sent ${method === 'GET' ? 'twice' : 'once'}`,
    )
  }

  const garbage = await serving(t, request => void request.socket.end('SMTP READY\r\n\r\n'))
  t.equal((await whole(ask(garbage, '/api/payments').send())).status, 502)
})

t.test('speaks TLS to a service whose certificate is vouched for, and to nobody in its place', async t => {
  const certificate = selfSigned()
  const before = getCACertificates('default')
  setDefaultCACertificates([...before, certificate.cert])
  t.teardown(() => setDefaultCACertificates(before))
  const server = createTlsServer(certificate, (request, response) => {
    request.resume().on('end', () => response.end(`by TLS at ${request.headers.host}`))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const upload = {
    method: 'POST',
    headers: { origin: 'https://bank.example' },
    payload: Buffer.alloc(100_000),
  } as const
  const stream = { headers: { accept: 'text/event-stream' } }
  for (const [name, status] of [
    ['localhost', 200],
    // Its certificate names another.
    ['127.0.0.1', 502],
  ] as const)
    for (const host of ['upstream', 'public'] as const) {
      const { browser } = await edge(t, {
        upstreams: { payment: `https://${name}:${port}` },
        upstream: { host },
        config: { publicOrigin: 'https://bank.example' },
      })
      const person = browser()
      await person.login()
      for (const more of [{}, upload, stream]) {
        const answer = await person.fetch('/api/payments', more)
        t.equal(answer.statusCode, status, `${name} ${host} ${JSON.stringify(Object.keys(more))}`)
        // The certificate is the upstream's, whatever it is asked for.
        if (status === 200)
          t.equal(answer.body, `by TLS at ${host === 'public' ? 'bank.example' : `localhost:${port}`}`)
      }
    }
})

t.test('an answer that breaks off breaks off for the client too', async t => {
  for (const length of ['1000', undefined]) {
    const { port, cookie, lines } = await serving(t, (request, response) => {
      response.writeHead(200, length === undefined ? {} : { 'content-length': length })
      response.write('half')
      setTimeout(() => request.socket.destroy(), 50)
    })
    const response = await ask({ port, cookie }, '/api/payments').send()
    t.equal(response.statusCode, 200)
    await t.rejects(text(response), { code: 'ECONNRESET' })
    await eventually(() => lines().some(line => line['msg'] === 'answer broke off'))
  }
})

t.test('keeps HEAD, 204, 304 and interim answers as they are', async t => {
  const { port, cookie } = await serving(t, (request, response) => {
    const status = Number(new URL(request.url ?? '', origin).searchParams.get('status') ?? 200)
    if (status === 103) {
      response.writeEarlyHints({ link: '</x>; rel=preload' })
      return response.end('after')
    }
    response.writeHead(status, status === 204 || status === 304 ? { etag: '"1"' } : { 'content-length': '5' })
    response.end(status === 204 || status === 304 || request.method === 'HEAD' ? undefined : 'hello')
  })
  const head = await whole(ask({ port, cookie }, '/api/payments', { method: 'HEAD' }).send())
  t.match(head, { status: 200, body: '', headers: { 'content-length': '5' } })
  t.match(await whole(ask({ port, cookie }, '/api/payments?status=204').send()), { status: 204, body: '' })
  t.match(await whole(ask({ port, cookie }, '/api/payments?status=304').send()), {
    status: 304,
    body: '',
    headers: { etag: '"1"' },
  })
  t.match(await whole(ask({ port, cookie }, '/api/payments?status=103').send()), { status: 200, body: 'after' })
  t.match(
    await whole(ask({ port, cookie }, '/api/payments?status=503').send()),
    { status: 503, body: 'hello' },
    'a service’s own refusal is passed on',
  )
})

t.test('passes bodies on as they are, whatever their type or framing', async t => {
  const { port, cookie, upstream } = await serving(t)
  for (const [type, body] of [
    ['application/json', '{"amount":"1"}'],
    ['application/json ;', '{not json'],
    ['text/plain\t', 'x'],
    ['multipart/form-data; boundary=x', '--x--'],
  ] as const) {
    const sent = await whole(
      ask({ port, cookie }, '/api/payments', {
        method: 'POST',
        headers: { 'content-type': type, origin },
        body,
      }).send(),
    )
    t.equal(sent.status, 200, type)
    t.equal(upstream.seen.at(-1)?.body, body)
  }
  const nonsense = ask({ port, cookie }, '/api/payments', {
    method: 'POST',
    headers: { 'content-type': 'nonsense', origin },
    body: 'x',
  })
  t.equal((await whole(nonsense.send())).status, 415)
  const large = 'y'.repeat(300_000)
  const chunked = ask({ port, cookie }, '/api/payments', {
    method: 'PUT',
    headers: { origin, 'transfer-encoding': 'chunked' },
    body: large,
  })
  t.equal((await whole(chunked.send())).status, 200)
  t.equal(upstream.seen.at(-1)?.body, large)
  const continued = ask({ port, cookie }, '/api/payments', {
    method: 'POST',
    headers: { origin, expect: '100-continue', 'content-length': '3' },
  })
  continued.request.flushHeaders()
  continued.request.on('continue', () => continued.request.end('abc'))
  t.equal((await whole(continued.response)).status, 200)
  t.equal(upstream.seen.at(-1)?.body, 'abc')
})

t.test('refuses bodies that are too large, declared or not, and bodies where there is none', async t => {
  const { port, cookie, upstream } = await serving(t, undefined, { bodyLimit: 100_000 })
  const body = 'z'.repeat(100_001)
  const declared = await whole(
    ask({ port, cookie }, '/api/payments', { method: 'POST', headers: { origin }, body }).send(),
  )
  t.same([declared.status, JSON.parse(declared.body).code], [413, 'body_too_large'])
  const announced = ask({ port, cookie }, '/api/payments', {
    method: 'POST',
    headers: { origin, 'content-length': '100001' },
  })
  announced.request.flushHeaders()
  t.equal((await announced.response).statusCode, 413, 'before any of it has come')
  announced.request.destroy()
  const chunked = await whole(
    ask({ port, cookie }, '/api/payments', {
      method: 'POST',
      headers: { origin, 'transfer-encoding': 'chunked' },
      body,
    }).send(),
  )
  t.same([chunked.status, JSON.parse(chunked.body).code], [413, 'body_too_large'])
  const get = await whole(
    ask({ port, cookie }, '/api/payments', { headers: { 'content-length': '3' }, body: 'abc' }).send(),
  )
  t.same([get.status, JSON.parse(get.body).code], [400, 'body_malformed'])
  t.equal(upstream.seen.length, 0)
})

t.test('a 401 of a service is never the person’s: a new token, one more try, then 502', async t => {
  let refuse = 1
  const { person, provider, upstream, lines, advance } = await serving(t, (_request, response) => {
    response.statusCode = refuse-- > 0 ? 401 : 200
    response.end('{}')
  })
  const tokens = () => upstream.seen.map(({ headers }) => headers.authorization)
  const isAlarmed = () => lines().some(line => line['alert'] === 'upstream_refuses_tokens')
  const post = (payload: string) => person.fetch('/api/payments', { method: 'POST', payload, headers: { origin } })

  t.equal((await person.fetch('/api/payments')).statusCode, 200)
  t.equal(new Set(tokens()).size, 2, 'the second try has another token')
  t.equal(provider.calls['exchange'], 2)

  advance(4_000)
  refuse = 1
  t.equal((await post('a'.repeat(16 * 1024))).statusCode, 200)
  t.same(
    upstream.seen.slice(-2).map(({ body }) => body.length),
    [16 * 1024, 16 * 1024],
  )

  advance(4_000)
  refuse = 1
  const large = await post('a'.repeat(16 * 1024 + 1))
  t.match(large.json(), { code: 'not_carried_out', status: 503 }, 'a body that is gone cannot be sent again from here')
  t.equal(large.headers['retry-after'], '1')
  t.notOk(isAlarmed(), 'nobody is woken for a token that could be renewed')
  t.equal((await post('a'.repeat(16 * 1024 + 1))).statusCode, 200, 'sent again it has the new token')

  advance(4_000)
  refuse = Number.POSITIVE_INFINITY
  const before = upstream.seen.length
  const refused = await person.fetch('/api/payments')
  t.match(refused.json(), { code: 'upstream_failed', status: 502 })
  t.equal(refused.headers['www-authenticate'], undefined)
  t.equal(upstream.seen.length - before, 2)
  t.ok(isAlarmed())
  t.match((await post('a'.repeat(16 * 1024 + 1))).json(), { code: 'upstream_failed', status: 502 }, 'large or not')
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200, 'and the session lives')
})

t.test('what an application that gets no token says of a person reaches the browser', async t => {
  const challenges = ['Basic realm="shop"', 'Negotiate', 'NTLM', 'Digest realm="shop", nonce="1"', 'Bearer', undefined]
  let challenge: string | undefined
  const upstream = await testUpstream(t, (_request, response) => {
    if (challenge !== undefined) response.setHeader('www-authenticate', challenge)
    response.writeHead(401, { 'content-type': 'application/json' }).end('{"error":"log in to the shop"}')
  })
  for (const kind of ['api', 'pages'] as const) {
    const prefix = '/shop'
    const table: Upstream[] = [
      { ...upstreamDefaults, name: 'shop', kind, prefix, origin: upstream.origin, token: 'none' },
    ]
    const { browser, lines, provider } = await edge(t, { upstreams: table })
    const person = browser()
    await person.login()
    const before = { ...provider.calls }
    for (challenge of challenges)
      for (const more of [{}, { method: 'POST', headers: { origin }, payload: Buffer.alloc(20_000) }] as const) {
        const answer = await person.fetch(`${prefix}/basket`, more)
        t.equal(answer.statusCode, 401, `${kind} ${challenge}`)
        t.same(answer.json(), { error: 'log in to the shop' })
        // A browser would ask for a password in the edge's name, or send a Kerberos ticket, and none of it would arrive.
        t.equal(answer.headers['www-authenticate'], undefined, `${kind} ${challenge}`)
      }
    t.same(provider.calls, before, 'there is no token to renew')
    t.notOk(lines().some(line => line['alert'] !== undefined))
    t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200, 'and the session lives')
  }
})

t.test('a session that ends while its body comes, or while it waits for a token, is not forwarded', async t => {
  for (const end of ['by the person', 'by the provider'] as const) {
    const { port, cookie, person, upstream, provider, sessions, app } = await serving(t)
    let arrived = 0
    app.server.on('request', () => arrived++)
    const begun = ask({ port, cookie }, '/api/payments', { method: 'POST', headers: { origin, 'content-length': '2' } })
    begun.request.write('{')
    await eventually(() => arrived === 1)
    const gate = Promise.withResolvers<void>()
    let asked = false
    provider.hooks.token = async (_grant, honest) => {
      asked = true
      await gate.promise
      return honest()
    }
    const waiting = whole(ask({ port, cookie }, '/api/payments').send())
    await eventually(() => asked)
    if (end === 'by the person') await person.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
    else await sessions.endBy({ sid: provider.lastSid() })
    gate.resolve()
    begun.request.end('}')
    for (const answer of [await whole(begun.response), await waiting]) {
      t.equal(answer.status, 401, end)
      t.match(JSON.parse(answer.body), { code: 'login_required' })
    }
    t.equal(upstream.seen.length, 0)
  }
})

t.test('a service that answers 401 again and again does not cost the provider a token each time', async t => {
  const always = await serving(t, (_request, response) => {
    response.statusCode = 401
    response.end('{}')
  })
  const times = async (count: number) => {
    for (let n = 0; n < count; n++)
      t.match((await always.person.fetch('/api/payments')).json(), { code: 'upstream_failed' })
  }
  await times(10)
  t.equal(always.provider.calls['exchange'], 2, 'the first one, and one instead of it')
  t.equal(always.upstream.seen.length, 11, 'and the same token is not sent twice for one request')
  always.advance(4_000)
  await times(2)
  t.equal(always.provider.calls['exchange'], 3, 'after a while it may be worth another try')
})

t.test('nor does one that gets the token of the session cost a refresh each time', async t => {
  const upstream = await testUpstream(t, (_request, response) => {
    response.statusCode = 401
    response.end('{}')
  })
  const table: Upstream[] = [
    { ...upstreamDefaults, name: 'shop', prefix: '/api/shop', origin: upstream.origin, token: 'session' },
  ]
  const { browser, provider, advance } = await edge(t, { upstreams: table })
  const person = browser()
  await person.login()
  for (let n = 0; n < 10; n++) t.match((await person.fetch('/api/shop')).json(), { code: 'upstream_failed' })
  t.equal(provider.calls['refresh_token'], 1)
  advance(4_000)
  t.match((await person.fetch('/api/shop')).json(), { code: 'upstream_failed' })
  t.equal(provider.calls['refresh_token'], 2)
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200, 'and the session lives')
})

t.test('a 401 that comes late finds the token that an earlier one has brought', async t => {
  const late = Promise.withResolvers<void>()
  let first: string | undefined
  const upstream = await testUpstream(t, async ({ headers, url }, response) => {
    first ??= headers.authorization
    if (headers.authorization === first) {
      if (url?.endsWith('/late')) await late.promise
      response.statusCode = 401
    }
    response.end('{}')
  })
  const table: Upstream[] = [
    { ...upstreamDefaults, name: 'shop', prefix: '/api/shop', origin: upstream.origin, token: 'session' },
  ]
  const { browser, provider } = await edge(t, { upstreams: table })
  const person = browser()
  await person.login()
  const waiting = person.fetch('/api/shop/late')
  await eventually(() => upstream.seen.length === 1)
  t.equal((await person.fetch('/api/shop')).statusCode, 200)
  late.resolve()
  t.equal((await waiting).statusCode, 200)
  t.equal(provider.calls['refresh_token'], 1)
})

t.test('an exchange that needs a fresher token gets one', async t => {
  const { person, provider } = await serving(t)
  provider.forgetAccessTokens()
  t.equal((await person.fetch('/api/payments')).statusCode, 200)
  t.match(provider.calls, { exchange: 2, refresh_token: 1 })
})

t.test('takes no exchanged token of another type', async t => {
  const { person, provider, upstream, advance } = await serving(t)
  for (const type of ['urn:ietf:params:oauth:token-type:refresh_token', undefined]) {
    advance(4_000)
    provider.hooks.token = async (_grant, honest) => {
      const answer = await honest()
      return { ...answer, body: { ...(answer.body as object), issued_token_type: type } }
    }
    t.match((await person.fetch('/api/payments')).json(), { code: 'provider_unavailable' })
  }
  t.equal(upstream.seen.length, 0)
})

t.test('cuts a stream at logout, at the idle end and at the absolute end, and not before', async t => {
  const left: string[] = []
  const { advance, streams, port, browser } = await serving(t, (request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(': hello\n\n')
    response.on('close', () => left.push(request.url ?? ''))
  })
  const watch = async (person: Browser, name: string) => {
    const cookie = `__Host-session=${person.cookie()}`
    const response = await ask({ port, cookie }, `/api/payments/${name}`, {
      headers: { accept: 'text/event-stream' },
    }).send()
    let isOver = false
    response.resume().on('end', () => {
      isOver = true
    })
    return () => isOver
  }
  const [one, two] = [browser(), browser()]
  await one.login()
  await two.login()
  const [first, second] = [await watch(one, 'first'), await watch(two, 'second')]
  await streams.sweep()
  await one.fetch('/oauth2/sign_out', { method: 'POST', headers: { origin } })
  // Long before anybody looks: the logout itself closes them.
  for (let tries = 0; tries < 50 && !first(); tries++) await two.fetch('/oauth2/userinfo')
  t.ok(first())
  await eventually(() => left.includes('/api/payments/first'))
  t.notOk(second(), 'the other person’s stream goes on')

  advance(14 * minute)
  await streams.sweep()
  t.notOk(second())
  advance(2 * minute)
  await streams.sweep()
  await eventually(() => second() && left.includes('/api/payments/second'))

  const three = browser()
  await three.login()
  const third = await watch(three, 'third')
  for (let hours = 0; hours < 8; hours += 0.2) {
    advance(12 * minute)
    await three.fetch('/oauth2/userinfo')
    if (hours < 7.6) t.equal((await three.fetch('/api/customers')).statusCode, 404)
  }
  await streams.sweep()
  await eventually(() => third())
  t.pass('all of them are over')
})

t.test('says once for an upstream that a stream was not named, and never of one that was', async t => {
  const { port, cookie, lines } = await serving(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end('data: one\n\n')
  })
  const told = () => lines().filter(line => /^an event stream is not named/.test(String(line['msg'])))
  await text(await ask({ port, cookie }, '/api/payments/stream', { headers: { accept: 'text/event-stream' } }).send())
  t.equal(told().length, 0)
  for (let times = 0; times < 3; times++) await text(await ask({ port, cookie }, '/api/payments/unnamed').send())
  t.match(told(), [{ level: 'warn', upstream: String, route: '/api/payments/*' }])
  t.equal(told().length, 1)
})

t.test('asks open streams to come again when the process stops, and stops', async t => {
  const { app, port, cookie } = await serving(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: one\n\n')
  })
  const response = await ask({ port, cookie }, '/api/payments/stream', {
    headers: { accept: 'text/event-stream' },
  }).send()
  const received = text(response)
  await app.close()
  t.match(await received, /^data: one\n\n.*event: reconnect\ndata: \{\}\n\n$/s)
})

t.test('speaks HSTS where browsers come by HTTPS', async t => {
  const { app } = await edge(t, { config: { publicOrigin: 'https://bank.example' } })
  const { headers } = await app.inject('/oauth2/jwks')
  t.equal(headers['strict-transport-security'], 'max-age=31536000', 'and of no other host without being told')
})

t.test('writes one line and one measurement per request that passed through', async t => {
  const { person, lines, metrics } = await serving(t)
  await person.fetch('/api/payments/accounts?secret=1')
  const mine = () => lines().filter(line => line['msg'] === 'request' && line['route'] === '/api/payments/*')
  await eventually(() => mine().length > 0)
  t.equal(mine().length, 1)
  t.match(mine()[0], { status: 200, method: 'GET', requestId: String, traceId: String, ms: Number })
  t.notMatch(JSON.stringify(lines()), 'secret=1')
  const written = await metrics.text()
  for (const [name, ...labels] of [
    ['upstream_request_duration_seconds_count', 'upstream="payment"', 'status="200"'],
    ['bff_sessions_begun_total'],
    ['bff_token_exchanges_total', 'audience="payment-service"', 'outcome="exchanged"'],
  ] as const) {
    const samples = written.split('\n').filter(line => line.startsWith(`${name}{`))
    t.ok(
      samples.some(line => line.endsWith(' 1') && labels.every(label => line.includes(label))),
      name,
    )
  }
})

t.test('a large body that is refused stands before no later request of its connection', async t => {
  const { app, browser } = await edge(t, { upstreams: { payment: 'http://127.0.0.1:9' } })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const person = browser()
  await person.login()
  const { port } = app.server.address() as AddressInfo
  const size = 900_000
  const fields = `host: a\r\norigin: ${origin}\r\nx-csrf: 1\r\ncookie: __Host-session=${person.cookie()}\r\n`
  for (const framing of [`content-length: ${size}`, 'transfer-encoding: chunked']) {
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    const said = text(socket)
    const body = Buffer.alloc(size, 'x')
    const isChunked = framing.includes('chunked')
    socket.write(
      `POST /api/payments HTTP/1.1\r\n${fields}${framing}\r\n\r\n${isChunked ? `${size.toString(16)}\r\n` : ''}`,
    )
    socket.write(body)
    if (isChunked) socket.write('\r\n0\r\n\r\n')
    socket.write(`GET /oauth2/userinfo HTTP/1.1\r\n${fields}connection: close\r\n\r\n`)
    t.same((await said).match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 503', 'HTTP/1.1 200'], framing)
  }
})
