import { once } from 'node:events'
import { Agent, get, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { problem } from '@banking/contracts'
import { createLogger, createMetrics } from '@banking/telemetry'
import type { InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import Type from 'typebox'
import { createServer } from '../src/index.ts'

async function testServer(t: Test) {
  const lines: string[] = []
  const destination = new Writable({ write: (chunk, _encoding, done) => done(void lines.push(String(chunk))) })
  const metrics = createMetrics('test')
  const app = await createServer({
    title: 'Test',
    description: 'A server for tests.',
    logger: createLogger({ name: 'test', destination }),
    metrics,
    bodyLimit: 1024,
    // As a database's translator would: a lost connection is a code that sockets of clients have too.
    translators: [
      error => ((error as { code?: unknown }).code === 'ECONNRESET' ? problem('database_unavailable') : undefined),
    ],
  })
  t.teardown(() => app.close())
  app.post(
    '/things/:id',
    {
      schema: {
        body: Type.Object(
          { count: Type.Integer(), name: Type.Optional(Type.String()) },
          { additionalProperties: false },
        ),
        querystring: Type.Object({ limit: Type.Optional(Type.Integer({ maximum: 10 })) }),
        response: { 200: Type.Object({ count: Type.Integer() }) },
      },
    },
    async request => ({ count: request.body.count, secret: 'not in the schema' }),
  )
  app.get('/endless', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: begun\n\n')
  })
  app.get('/slow/:id', { schema: { params: Type.Object({ id: Type.String({ format: 'uuid' }) }) } }, async () => {
    await new Promise(resolve => setTimeout(resolve, 200))
    return 'done'
  })
  app.get('/broken', async () => {
    throw new Error('password=hunter2')
  })
  app.get('/refused', async () => {
    throw problem('insufficient_funds', 'Only 3.00 EUR are available.', { headers: { 'x-extra': '1' } })
  })
  return { app, lines, metrics }
}

const post = (payload: object, more: InjectOptions = {}): InjectOptions => ({
  method: 'POST',
  url: '/things/1',
  payload,
  ...more,
})

t.test('answers with what the response schema names and nothing else', async t => {
  const { app } = await testServer(t)
  const response = await app.inject(post({ count: 3 }))
  t.equal(response.statusCode, 200)
  t.same(response.json(), { count: 3 })
  t.equal(response.headers['cache-control'], 'no-store', 'and nobody keeps a copy')
})

t.test('takes bodies literally and names the wrong field', async t => {
  const { app } = await testServer(t)
  for (const [payload, field] of [
    [{ count: '3' }, '/count'],
    [{}, '/count'],
    [{ count: 3, extra: true }, '/extra'],
    [{ count: 1.5 }, '/count'],
  ] as const) {
    const response = await app.inject(post(payload))
    t.equal(response.statusCode, 400)
    t.match(response.headers['content-type'], 'application/problem+json')
    t.match(response.json(), { code: 'request_invalid', status: 400, errors: [{ field }] })
  }
})

t.test('refuses bytes and members that another parser may read otherwise', async t => {
  const { app } = await testServer(t)
  const send = (payload: string | Buffer, headers: Record<string, string> = {}) =>
    app.inject({
      method: 'POST',
      url: '/things/1',
      payload,
      headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
    })
  t.equal((await send('{"count":1,"name":"\\"count\\":2 ü"}')).statusCode, 200, 'a look-alike inside a string is none')
  t.equal((await send('{"count":1}', { 'content-encoding': 'identity' })).statusCode, 200)
  for (const [body, why] of [
    ['{"count":1,"count":2}', 'a member twice'],
    ['{"count":1,"\\u0063ount":2}', 'a member twice, spelled differently'],
    [Buffer.from('{"count":1,"name":"\xff"}', 'latin1'), 'not UTF-8'],
    [Buffer.from('{"count":1,"name":"\xc0\xaf"}', 'latin1'), 'an overlong form'],
    [Buffer.from('{"count":1}', 'utf16le'), 'UTF-16'],
    [`${'['.repeat(500)}${']'.repeat(500)}`, 'deep nesting'],
  ] as const)
    t.match((await send(body)).json(), { code: 'body_malformed', status: 400 }, why)
  for (const headers of [{ 'content-encoding': 'gzip' }, { 'content-type': 'text/plain' }])
    t.match((await send('{"count":1}', headers)).json(), { code: 'media_type_unsupported', status: 415 })
})

t.test('converts the query and refuses what cannot be converted', async t => {
  const { app } = await testServer(t)
  t.equal((await app.inject(post({ count: 1 }, { url: '/things/1?limit=5' }))).statusCode, 200)
  t.match((await app.inject(post({ count: 1 }, { url: '/things/1?limit=eleven' }))).json(), { code: 'request_invalid' })
})

t.test('turns the refusals of the framework into problems', async t => {
  const { app } = await testServer(t)
  const cases = [
    [
      await app.inject({
        method: 'POST',
        url: '/things/1',
        payload: '{"count":',
        headers: { 'content-type': 'application/json' },
      }),
      400,
      'body_malformed',
    ],
    [
      await app.inject({
        method: 'POST',
        url: '/things/1',
        payload: '',
        headers: { 'content-type': 'application/json' },
      }),
      400,
      'body_malformed',
    ],
    [
      await app.inject({ method: 'POST', url: '/things/1', payload: 'a=1', headers: { 'content-type': 'text/html' } }),
      415,
      'media_type_unsupported',
    ],
    [await app.inject(post({ count: 1, name: 'x'.repeat(2000) })), 413, 'body_too_large'],
    [
      await app.inject(
        post(
          { count: 1 },
          { payload: '{"count":1,"__proto__":{"x":1}}', headers: { 'content-type': 'application/json' } },
        ),
      ),
      400,
      'body_malformed',
    ],
    [await app.inject('/nothing'), 404, 'not_found'],
    [await app.inject('/%zz'), 400, 'path_malformed'],
    [await app.inject({ method: 'GET', url: '/things/1' }), 405, 'method_not_allowed'],
  ] as const
  for (const [response, status, code] of cases) {
    t.equal(response.statusCode, status)
    t.equal(response.headers['content-type'], 'application/problem+json')
    t.equal(response.headers['x-content-type-options'], 'nosniff')
    t.match(response.json(), { code, status })
  }
  t.equal(cases[7][0].headers.allow, 'POST')
})

/** Writes bytes as no HTTP client would, and reads until the server closes. */
async function speak(t: Test, app: Awaited<ReturnType<typeof testServer>>['app'], first: string, then?: string) {
  if (!app.server.listening) await app.listen({ host: '127.0.0.1', port: 0 })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  // A reset is an end too.
  const said = text(socket).catch(() => '(reset)')
  socket.write(first)
  if (then !== undefined) {
    await once(socket, 'readable')
    socket.write(then)
  }
  return said
}

const uuid = '0198f0a4-2f1d-7cc3-8f55-1d2f3a4b5c6d'

t.test('never writes a refusal into an answer that has begun', async t => {
  const { app } = await testServer(t)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => app.server.closeAllConnections())
  let said = ''
  socket.on('data', chunk => {
    said += chunk
  })
  socket.write('GET /endless HTTP/1.1\r\nhost: x\r\n\r\n')
  await once(socket, 'data')
  socket.write('NOT HTTP\r\n\r\n')
  await new Promise(resolve => setTimeout(resolve, 100))
  t.match(said, 'data: begun')
  t.notMatch(said, 'request_malformed', 'a proxy in front would take it for the answer to somebody else')
  socket.destroy()
})

t.test('never gives the refusal of a later request as the answer to an earlier one', async t => {
  const { app } = await testServer(t)
  const said = await speak(t, app, `GET /slow/${uuid} HTTP/1.1\r\nhost: x\r\n\r\nNOT HTTP\r\n\r\n`)
  t.match(said, /^HTTP\/1\.1 200 .*doneHTTP\/1\.1 400 .*request_malformed/s)
})

t.test('has no time limit for a whole request: a large body that comes fast may take as long as it needs', async t => {
  const { app } = await testServer(t)
  t.equal(app.server.requestTimeout, 0)
  t.equal(app.server.headersTimeout, 10_000, 'a head has one')
})

t.test('takes a body that breaks off for what it is, and not for a failure of ours', async t => {
  const { app, lines } = await testServer(t)
  await app.listen({ host: '127.0.0.1', port: 0 })
  lines.length = 0
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  socket.write(
    'POST /things/1 HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"count"',
  )
  await once(app.server, 'request')
  socket.destroy()
  for (let tries = 0; tries < 100 && lines.length === 0; tries++) await new Promise(resolve => setTimeout(resolve, 20))
  t.match(
    lines.map(line => JSON.parse(line)),
    [{ level: 'info', msg: 'client went away', method: 'POST', route: '/things/:id' }],
  )
  t.equal(lines.length, 1)
})

t.test('refuses what is not HTTP with a problem, and an HTTP/1.1 request without a host too', async t => {
  const { app } = await testServer(t)
  for (const request of ['NOT HTTP\r\n\r\n', 'GET /broken HTTP/1.1\r\nconnection: close\r\n\r\n']) {
    const said = await speak(t, app, request)
    t.match(said, /^HTTP\/1\.1 400 /)
    t.match(said, 'application/problem+json')
    t.match(said, 'request_malformed')
    t.match(said, 'no-store')
    t.match(said, 'nosniff')
  }
})

t.test('tells its refusal to a client that goes on sending', async t => {
  const { app } = await testServer(t)
  const long = `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(1024 * 1024)}\r\n\r\n`
  t.match(await speak(t, app, long), /^HTTP\/1\.1 431 /, 'and not a reset, which could overtake it')
})

t.test('ends a connection that it has refused, whatever the client does', async t => {
  const { app } = await testServer(t)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  t.teardown(() => socket.destroy())
  let said = ''
  socket.on('data', chunk => {
    said += chunk
  })
  socket.write('NOT HTTP\r\n\r\n')
  await once(socket, 'end')
  t.match(said, 'request_malformed')
  t.ok(socket.writable, 'its half is still open')
  const begun = performance.now()
  const open = () => new Promise<number>(resolve => app.server.getConnections((_error, count) => resolve(count)))
  while ((await open()) > 0) await new Promise(resolve => setTimeout(resolve, 20))
  // Node's own limits would let it have ten seconds more.
  t.ok(performance.now() - begun < 8_000, `${performance.now() - begun} ms`)
})

t.test('treats an expectation that it does not know as not there', async t => {
  const { app } = await testServer(t)
  const request = 'GET /refused HTTP/1.1\r\nhost: x\r\nexpect: magic\r\nconnection: close\r\n\r\n'
  const said = await speak(t, app, request)
  t.match(said, 'insufficient_funds', 'RFC 9110 §10.1.1 allows it, and the answer has all our header fields')
})

t.test('takes an id in one spelling only', async t => {
  const { app } = await testServer(t)
  t.equal((await app.inject(`/slow/${uuid}`)).statusCode, 200)
  for (const other of [`urn:uuid:${uuid}`, `{${uuid}}`, uuid.replaceAll('-', '')])
    t.match((await app.inject(`/slow/${other}`)).json(), { code: 'request_invalid' }, other)
})

t.test('repeats no more of a field that it does not know than helps to find it', async t => {
  const { app } = await testServer(t)
  const response = await app.inject(post({ count: 1, ['x'.repeat(900)]: 1 }))
  t.match(response.json(), { code: 'request_invalid' })
  t.ok(response.body.length < 700)
})

t.test('says nothing of the cause of a 500 to the client, and everything to the log', async t => {
  const { app, lines } = await testServer(t)
  const response = await app.inject('/broken')
  t.equal(response.statusCode, 500)
  t.notMatch(response.body, 'hunter2')
  t.match(response.json(), { code: 'internal' })
  t.match(lines.join(''), 'hunter2')
})

t.test('sends a problem with its detail, its headers and the id of the request', async t => {
  const { app } = await testServer(t)
  const response = await app.inject({ url: '/refused', headers: { 'x-request-id': 'abcdefgh-1' } })
  t.equal(response.statusCode, 409)
  t.equal(response.headers['x-extra'], '1')
  t.equal(response.headers['x-request-id'], 'abcdefgh-1')
  t.equal(response.headers['cache-control'], 'no-store')
  t.match(response.json(), {
    code: 'insufficient_funds',
    detail: 'Only 3.00 EUR are available.',
    instance: 'urn:request:abcdefgh-1',
  })
})

t.test('continues a well-formed trace and starts its own for any other', async t => {
  const { app } = await testServer(t)
  const given = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const continued = String(
    (await app.inject({ url: '/refused', headers: { traceparent: given } })).headers['traceparent'],
  )
  t.match(continued, /^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/)
  t.notMatch(continued, 'b7ad6b7169203331')
  const fresh = (await app.inject({ url: '/refused', headers: { traceparent: '00-0-0-00', 'x-request-id': 'a\nb' } }))
    .headers
  t.match(fresh['traceparent'], /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
  t.match(fresh['x-request-id'], /^[0-9a-f-]{36}$/)
})

t.test('writes one line and one latency sample per request, without bodies or secrets', async t => {
  const { app, lines, metrics } = await testServer(t)
  await app.inject(
    post({ count: 3, name: 'Alice' }, { headers: { authorization: 'Bearer secret', cookie: 'a=secret' } }),
  )
  const requests = lines.map(line => JSON.parse(line)).filter(line => line.msg === 'request')
  t.equal(requests.length, 1)
  t.match(requests[0], { app: 'test', method: 'POST', route: '/things/:id', status: 200, traceId: /^[0-9a-f]{32}$/ })
  t.notMatch(lines.join(''), 'secret')
  t.notMatch(lines.join(''), 'Alice')
  t.match(
    await metrics.text(),
    'http_request_duration_seconds_count{app="test",method="POST",route="/things/:id",status="200"} 1',
  )
})

t.test('publishes OpenAPI 3.1', async t => {
  const { app } = await testServer(t)
  await app.ready()
  t.match(app.swagger(), { openapi: '3.1.0', paths: { '/things/{id}': { post: {} } } })
})

t.test('two listeners of one process count into the same instruments', async t => {
  const metrics = createMetrics('test')
  const options = {
    title: 'Test',
    description: 'A listener.',
    logger: createLogger({ name: 'test', level: 'silent' }),
    metrics,
  }
  const apps = [await createServer(options), await createServer(options)]
  const agents = await Promise.all(
    apps.map(async app => {
      t.teardown(() => app.close())
      const address = await app.listen({ host: '127.0.0.1', port: 0 })
      const agent = new Agent({ keepAlive: true })
      t.teardown(() => agent.destroy())
      const [answer] = (await once(get(address, { agent }), 'response')) as [IncomingMessage]
      answer.resume()
      return agent
    }),
  )
  t.equal(agents.length, 2)
  t.match(await metrics.text(), /^http_connections\{app="test"\} 2$/m)
  for (const agent of agents) agent.destroy()
  while (!/^http_connections\{app="test"\} 0$/m.test(await metrics.text())) await new Promise(setImmediate)
})
