import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { defaultLimits } from '../src/admission/limits.ts'
import { defaults } from '../src/config/options.ts'
import { securityHeaders } from '../src/pages/security-headers.ts'
import { edge, origin, testUpstream } from './edge.ts'

t.setTimeout(120_000)

// What stands on the wire, byte by byte, where no HTTP client would have written it so.

/** An edge on a real socket with a web app, a service that answers by its query, and a person who is logged in. */
async function serving(t: Test, config: Parameters<typeof edge>[1] = {}) {
  const upstream = await testUpstream(t, (request, response) => {
    const asked = new URL(request.url ?? '', origin).searchParams
    response.statusCode = Number(asked.get('status') ?? 200)
    if (asked.has('stream')) response.setHeader('content-type', 'text/event-stream')
    response.end(response.statusCode === 204 || response.statusCode === 304 ? undefined : 'data: hello\n\n')
  })
  const webRoot = mkdtempSync(join(tmpdir(), 'wire-'))
  t.teardown(() => rmSync(webRoot, { recursive: true }))
  mkdirSync(join(webRoot, 'assets'))
  writeFileSync(join(webRoot, 'index.html'), '<!doctype html>')
  writeFileSync(join(webRoot, 'assets/app-1.js'), 'let x = 1\n'.repeat(1_000))
  const under = await edge(t, { upstreams: { payment: upstream.origin }, webRoot, ...config })
  await under.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = under.app.server.address() as AddressInfo
  const person = under.browser(`10.9.${process.pid % 250}.${Date.now() % 250}`)
  await person.login()
  const open = (localAddress = '127.0.0.1'): Socket => {
    const socket = connect({ port, host: '127.0.0.1', localAddress })
    t.teardown(() => socket.destroy())
    return socket.on('error', () => undefined)
  }
  /** Exactly these bytes. @returns everything that comes back until the connection is closed */
  const say = async (bytes: string, socket = open()): Promise<string> => {
    let received = ''
    socket.on('data', chunk => {
      received += chunk.toString('latin1')
    })
    socket.write(bytes, 'latin1')
    if (!socket.closed) await once(socket, 'close')
    return received
  }
  const session = `Cookie: __Host-session=${person.cookie()}\r\nX-CSRF: 1\r\nOrigin: ${origin}\r\n`
  return { ...under, upstream, port, person, open, say, session }
}

const ask = (target: string, more = '', method = 'GET', version = 'HTTP/1.1') =>
  `${method} ${target} ${version}\r\nHost: localhost:3000\r\nConnection: close\r\n${more}\r\n`

/** The header fields of the first answer, each value under its name. */
function fieldsOf(answer: string): Map<string, string[]> {
  const fields = new Map<string, string[]>()
  for (const line of (answer.split('\r\n\r\n', 1)[0] ?? '').split('\r\n').slice(1)) {
    const at = line.indexOf(':')
    const name = line.slice(0, at).toLowerCase()
    fields.set(name, [...(fields.get(name) ?? []), line.slice(at + 1).trim()])
  }
  return fields
}

t.test('carries every security header once on every answer, those before any route included', async t => {
  const under = await serving(t)
  const { say, session, provider, person, open } = under
  const asset = '/assets/app-1.js'
  const etag = fieldsOf(await say(ask(asset))).get('etag')?.[0]
  const long = 'x'.repeat(17_000)
  const requests: [number, string][] = [
    // our own
    [200, ask('/')],
    [200, ask('/', '', 'HEAD')],
    [200, ask(asset)],
    [200, ask(asset, 'Range: bytes=0-1,5-9\r\n')],
    [304, ask(asset, `If-None-Match: ${etag}\r\n`)],
    [200, ask('/oauth2/jwks')],
    [200, ask('/oauth2/page.css')],
    [302, ask('/oauth2/start')],
    [401, ask('/oauth2/sign_in')],
    [400, ask('/oauth2/callback')],
    [400, ask('/oauth2/signed_out')],
    [400, ask('/oauth2/backchannel_logout', 'Content-Length: 0\r\n', 'POST')],
    [401, ask('/oauth2/userinfo', 'X-CSRF: 1\r\n')],
    [403, ask('/oauth2/userinfo')],
    [404, ask('/nothing')],
    [404, ask('/assets/none.js')],
    // other methods
    [405, ask('/oauth2/sign_out')],
    [405, ask('/oauth2/start', 'Content-Length: 0\r\n', 'POST')],
    [405, ask('/oauth2/jwks', '', 'DELETE')],
    [405, ask('/', '', 'OPTIONS')],
    [405, ask('/', '', 'TRACE')],
    [405, ask('/api/payments', session, 'OPTIONS')],
    [404, ask('/nothing', '', 'PROPFIND')],
    [405, ask('localhost:443', '', 'CONNECT')],
    [405, ask('/oauth2/start', '', 'CONNECT')],
    [400, ask('/', '', 'FROBNICATE')],
    [400, ask('/', '', 'get')],
    [400, ask('*', '', 'OPTIONS')],
    // other targets
    [400, ask('/%zz')],
    [400, ask('//x')],
    [400, ask('http://localhost:3000/')],
    [400, ask('/oauth2/start#x')],
    [400, ask('/oauth2/../')],
    [404, ask(`/${'x'.repeat(7_999)}`)],
    [414, ask(`/${'x'.repeat(8_000)}`)],
    [414, ask(`/oauth2/start?return_to=/${'x'.repeat(8_001)}`)],
    // other forms
    [400, 'NONSENSE\r\n\r\n'],
    [400, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    [400, ask('/', '', 'GET', 'HTTP/3.0')],
    [400, ask('/', 'Bad Header: x\r\n')],
    [400, ask('/', 'Host: evil.example\r\n')],
    [400, 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n'],
    [200, 'GET / HTTP/1.0\r\n\r\n'],
    [200, ask('/', 'Expect: magic\r\n')],
    [431, ask('/', `X: ${long}\r\n`)],
    [431, ask(`/${long}`)],
    [200, ask('/', 'a: b\r\n'.repeat(98))],
    [431, ask('/', 'a: b\r\n'.repeat(99))],
    [413, `${ask('/oauth2/sign_out', `${session}Transfer-Encoding: chunked\r\n`, 'POST')}1;${long}\r\nx\r\n0\r\n\r\n`],
    [413, ask('/oauth2/sign_out', `${session}Content-Length: 999999\r\n`, 'POST')],
    [413, ask('/api/payments', `${session}Content-Length: 99999999\r\n`, 'POST')],
    // a service's
    [200, ask('/api/payments', session)],
    [200, ask('/api/payments', session, 'HEAD')],
    [200, ask('/api/payments?stream', `${session}Accept: text/event-stream\r\n`)],
    [204, ask('/api/payments?status=204', session)],
    [304, ask('/api/payments?status=304', session)],
    [403, ask('/api/payments?status=403', session)],
    [500, ask('/api/payments?status=500', session)],
  ]
  const required = Object.entries(
    securityHeaders({ issuer: provider.issuer, publicOrigin: origin, hsts: defaults.hsts }),
  )
  const check = (answer: string, status: number, name: string) => {
    t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), name)
    const fields = fieldsOf(answer)
    for (const [field, value] of required) t.same(fields.get(field), [value], `${name} (${status}): ${field}`)
    for (const field of ['server', 'x-powered-by', 'access-control-allow-origin']) t.notOk(fields.has(field), field)
    t.ok(fields.has('cache-control'), `${name} (${status}): cache-control`)
  }
  for (const [status, request] of requests)
    check(await say(request), status, `${request.split('\r\n', 1)[0]?.slice(0, 60)}`)
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200, 'and the person is still there')

  // Ten seconds, for each of them at once. A whole request would have thirty.
  const begun = performance.now()
  const late = ['GET / HTTP/1.1\r\nHost: a\r\nX: ', 'GET /api/payments HTTP/1.1\r\n', 'G', ''].map(async first =>
    check(await say(first, open()), 408, JSON.stringify(first)),
  )
  await Promise.all(late)
  t.ok(performance.now() - begun < 25_000, `${performance.now() - begun} ms`)
})

t.test('429 and 503 carry them too', async t => {
  const limits = { ...defaultLimits, perAddress: { perSecond: 0.001, burst: 8 }, concurrentLogins: 1 }
  const { say, open, provider } = await serving(t, { config: { limits } })
  const from = `127.${1 + (process.pid % 200)}.${1 + (Date.now() % 250)}.9`
  const required = Object.entries(
    securityHeaders({ issuer: provider.issuer, publicOrigin: origin, hsts: defaults.hsts }),
  )
  const check = (answer: string, status: number) => {
    t.equal(Number(answer.slice(9, 12)), status)
    for (const [field, value] of required) t.same(fieldsOf(answer).get(field), [value], `${status}: ${field}`)
    t.match(fieldsOf(answer).get('retry-after')?.[0], /^[1-9]\d*$/)
  }
  const asked = Promise.withResolvers<void>()
  provider.hooks.par = () => {
    asked.resolve()
    return new Promise(() => undefined)
  }
  open(from).write(ask('/oauth2/start'))
  await asked.promise
  check(await say(ask('/oauth2/start'), open(from)), 503)
  let answer = ''
  for (let n = 0; n < 12 && !answer.startsWith('HTTP/1.1 429'); n++) answer = await say(ask('/oauth2/jwks'), open(from))
  check(answer, 429)
})

t.test('takes no request that two servers could frame in two ways', async t => {
  const { say, session, upstream, person } = await serving(t)
  const smuggled = 'GET /api/payments/smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
  const post = (more: string) => `POST /api/payments HTTP/1.1\r\nHost: localhost:3000\r\n${session}${more}`
  for (const [name, request] of Object.entries({
    'CL.TE': post(`Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`),
    'TE.CL': post(`Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n${smuggled}`),
    'two lengths': post(`Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd${smuggled}`),
    'the same length twice': post(`Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd${smuggled}`),
    'a list of lengths': post(`Content-Length: 4, 4\r\n\r\nabcd${smuggled}`),
    'a signed length': post(`Content-Length: +4\r\n\r\nabcd${smuggled}`),
    'a negative length': post(`Content-Length: -4\r\n\r\nabcd${smuggled}`),
    'a length in hex': post(`Content-Length: 0x4\r\n\r\nabcd${smuggled}`),
    'a length beyond 64 bits': post(`Content-Length: 18446744073709551620\r\n\r\nabcd${smuggled}`),
    'an empty length': post(`Content-Length: \r\n\r\n${smuggled}`),
    'a length with a vertical tab': post(`Content-Length: \x0b4\r\n\r\nabcd${smuggled}`),
    'a length on a folded line': post(`Content-Length:\r\n 4\r\n\r\nabcd${smuggled}`),
    'chunked twice': post(`Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`),
    'chunked and identity': post(`Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${smuggled}`),
    identity: post(`Transfer-Encoding: identity\r\nContent-Length: 4\r\n\r\nabcd${smuggled}`),
    'a quoted coding': post(`Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n${smuggled}`),
    'a coding with a tab': post(`Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n${smuggled}`),
    'an unknown coding': post(`Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${smuggled}`),
    'a space before the colon': post(`Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n${smuggled}`),
    'chunks in HTTP/1.0': post('Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n').replace('HTTP/1.1', 'HTTP/1.0'),
    'a chunk size in 0x': post('Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n'),
    'a chunk size below zero': post('Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n'),
    'a chunk size beyond 64 bits': post('Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n'),
    'a chunk that is longer than it says': post('Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n'),
    'a chunk that ends in a bare LF': post('Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n'),
    'an extension with a bare LF': post(`Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n`),
    'a bare LF in the head': `GET /api/payments HTTP/1.1\nHost: a\n${session}\n\n`,
    'a bare CR in the head': post('X: a\rb\r\n\r\n'),
    'a folded line': post('X: a\r\n b\r\n\r\n'),
    'NUL in a name': post('X\0: a\r\n\r\n'),
    'NUL in a value': post('X: a\0b\r\n\r\n'),
    'a name with a space': post('X Y: a\r\n\r\n'),
    'a line before the first field': post(' X: a\r\n\r\n'),
    'a field without a name': post(': a\r\n\r\n'),
    'a field without a colon': post('X\r\n\r\n'),
    'no version': 'GET /api/payments\r\n\r\n',
    'a tab for a space': `GET\t/api/payments\tHTTP/1.1\r\nHost: a\r\n${session}\r\n`,
  })) {
    const answer = await say(request)
    t.match(answer, /^HTTP\/1\.1 (?:400|413|501) /, name)
    t.equal(answer.match(/HTTP\/1\.1 \d/g)?.length, 1, `${name}: one answer, and the connection is closed`)
  }
  t.same(
    upstream.seen.filter(({ url }) => url.includes('smuggled')),
    [],
  )
  t.equal((await person.fetch('/oauth2/userinfo')).statusCode, 200)
})

t.test('answers requests in a row in their order, and none of them for another', async t => {
  const { say, session } = await serving(t)
  const one = (n: number) => `GET /api/payments?n=${n}&status=${200 + n} HTTP/1.1\r\nHost: a\r\n${session}\r\n`
  const answer = await say(`${one(1)}${one(2)}GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n${one(3)}${ask('/oauth2/jwks')}`)
  t.same(
    [...answer.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => status),
    ['201', '202', '404', '203', '200'],
  )
})

t.test('goes by the method on the first line, whatever another field says', async t => {
  const { say, session, upstream } = await serving(t)
  for (const name of ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override', '_method'])
    await say(ask('/api/payments?_method=DELETE', `${session}${name}: DELETE\r\n`))
  t.same(
    upstream.seen.map(({ method }) => method),
    ['GET', 'GET', 'GET', 'GET'],
  )
  t.match(await say(ask('/oauth2/sign_out', `${session}X-HTTP-Method-Override: POST\r\n`)), /^HTTP\/1\.1 405 /)
})

t.test('no field of a request changes an answer that somebody else could be given', async t => {
  const { say } = await serving(t)
  const plain = (answer: string) => answer.replace(/^(?:date|x-request-id|traceparent|last-modified): .*\r\n/gim, '')
  for (const path of ['/', '/assets/app-1.js', '/oauth2/page.css', '/oauth2/jwks', '/nothing']) {
    const usual = plain(await say(ask(path)))
    for (const more of [
      'X-Forwarded-Host: evil.example\r\n',
      'X-Forwarded-Proto: gopher\r\nX-Forwarded-Scheme: x\r\n',
      'X-Host: evil.example\r\nForwarded: host=evil.example\r\n',
      'X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n',
      'X-Forwarded-Prefix: /evil\r\n',
      'Accept-Language: xx\r\nAccept-Encoding: gzip, br\r\n',
      'Cookie: theme=evil\r\nOrigin: https://evil.example\r\n',
      'Range: bytes=0-0\r\n',
      `Range: bytes=${Array(500).fill('0-').join()}\r\n`,
      'If-Range: "x"\r\nRange: bytes=5-\r\n',
      'If-Modified-Since: nonsense\r\nIf-None-Match: nonsense\r\n',
    ])
      t.equal(
        plain(await say(ask(path, more))).replace(/urn:request:[^"]+/, ''),
        usual.replace(/urn:request:[^"]+/, ''),
        `${path} ${JSON.stringify(more.slice(0, 40))}`,
      )
  }
})

t.test('a thousand idle connections keep nobody out', async t => {
  const { person, open, say } = await serving(t)
  const idle = Array.from({ length: 900 }, () => open())
  const dripping = Array.from({ length: 50 }, () => open()).map(socket => socket.write('GET / HTTP/1.1\r\nX: '))
  t.equal(dripping.length, 50)
  t.match(await say(ask('/oauth2/jwks')), /^HTTP\/1\.1 200 /)
  t.equal((await person.fetch('/api/payments')).statusCode, 200)
  for (const socket of idle) socket.destroy()
})
