import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { problem } from '@banking/contracts'
import { createLogger, createMetrics } from '@banking/telemetry'
import t, { type Test } from 'tap'
import { createServer } from '../src/index.ts'

/** A server that counts what it was asked, and answers `/held` when the test says so. */
async function testServer(t: Test) {
  const metrics = createMetrics('test')
  const app = await createServer({
    title: 'Test',
    description: 'A server for tests.',
    logger: createLogger({ name: 'test', level: 'silent' }),
    metrics,
    bodyLimit: 256 * 1024,
  })
  t.teardown(() => app.close())
  const asked: string[] = []
  const held: (() => void)[] = []
  const under = { now: 0, most: 0 }
  app.addHook('onRequest', (request, reply, done) => {
    asked.push(request.url)
    under.now++
    under.most = Math.max(under.most, under.now)
    reply.raw.once('close', () => under.now--)
    done()
  })
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body))
  app.get('/now/*', (request, reply) => void reply.send(`<${request.url}>`))
  app.get('/soon/*', async request => {
    await new Promise(setImmediate)
    return `<${request.url}>`
  })
  app.get('/large', async () => 'x'.repeat(256 * 1024))
  app.get('/held', (_request, reply) => void held.push(() => reply.send('<held>')))
  app.get('/refused', async () => {
    throw problem('rate_limited')
  })
  app.post('/echo', async request => `<${String(request.body).length}>`)
  app.post('/early', { onRequest: (_request, reply) => void reply.code(403).send('<early>') }, async () => '')
  await app.listen({ host: '127.0.0.1', port: 0 })
  const connections: Socket[] = []
  app.server.on('connection', socket => connections.push(socket))
  const dial = (): Socket => {
    const socket = connect({ port: (app.server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true })
    t.teardown(() => socket.destroy())
    return socket.on('error', () => undefined)
  }
  return { app, metrics, asked, held, under, dial, connections }
}

const get = (url: string, more = '') => `GET ${url} HTTP/1.1\r\nhost: a\r\n${more}\r\n`
const post = (url: string, body: string, more = '') =>
  `POST ${url} HTTP/1.1\r\nhost: a\r\ncontent-type: x/y\r\n${more}content-length: ${body.length}\r\n\r\n${body}`
const chunked = (url: string, parts: readonly string[], trailer = '') =>
  `POST ${url} HTTP/1.1\r\nhost: a\r\ncontent-type: x/y\r\ntransfer-encoding: chunked\r\n\r\n` +
  `${parts.map(part => `${part.length.toString(16)}\r\n${part}\r\n`).join('')}0\r\n${trailer}\r\n`
const close = 'connection: close\r\n'
const times = <T>(count: number, make: (n: number) => T): T[] => Array.from({ length: count }, (_, n) => make(n))
const bodiesOf = (said: string): string[] => said.match(/<[^>]*>/g) ?? []

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise(resolve => setTimeout(resolve, 5))
}

/** Long enough for everything that would happen at once. */
const aWhile = () => new Promise(resolve => setTimeout(resolve, 100))

const blank = '\r\n\r\nGET /now/evil HTTP/1.1\r\n\r\n'
const pipelines: Record<string, { requests: string[]; bodies: string[] }> = {
  'three thousand, answered at once': {
    requests: times(3_000, n => get(`/now/${n}`)),
    bodies: times(3_000, n => `</now/${n}>`),
  },
  'two hundred, answered later': {
    requests: times(200, n => get(`/soon/${n}`)),
    bodies: times(200, n => `</soon/${n}>`),
  },
  'bodies of every size, and such as look like requests': {
    requests: [0, 1, 3, 4, 5, 1_000, 70_000].flatMap(size => [
      post('/echo', blank + 'x'.repeat(size)),
      get(`/now/${size}`),
    ]),
    bodies: [0, 1, 3, 4, 5, 1_000, 70_000].flatMap(size => [`<${blank.length + size}>`, `</now/${size}>`]),
  },
  'bodies in chunks, with and without a trailer': {
    requests: [
      chunked('/echo', []),
      chunked('/echo', ['a'], 'x: y\r\n'),
      chunked('/echo', [blank, '\r\n', '\r', '\n\r\n', 'x'.repeat(70_000)]),
      chunked(
        '/echo',
        times(3_000, () => '\r\n\r\n'),
      ),
      get('/now/last'),
    ],
    bodies: ['<0>', '<1>', `<${blank.length + 6 + 70_000}>`, '<12000>', '</now/last>'],
  },
  'empty lines between them, and expectations': {
    requests: [
      `\r\n\r\n${get('/now/1')}`,
      `\r\n${post('/echo', 'abc', 'expect: 100-continue\r\n')}`,
      `${'\r\n'.repeat(4)}${get('/now/2', 'expect: magic\r\n')}`,
      get('/now/3', 'upgrade: websocket\r\nconnection: upgrade\r\n'),
    ],
    bodies: ['</now/1>', '<3>', '</now/2>', '</now/3>'],
  },
  'an answer before the end of its body': {
    requests: [
      post('/early', 'x'.repeat(70_000)),
      get('/now/1'),
      chunked(
        '/early',
        times(50, () => 'y'),
      ),
      get('/now/2'),
    ],
    bodies: ['<early>', '</now/1>', '<early>', '</now/2>'],
  },
}

for (const [name, { requests, bodies }] of Object.entries(pipelines))
  t.test(`answers what comes in one go, one after the other: ${name}`, async t => {
    const { dial, under } = await testServer(t)
    // What asks for another protocol is the last of its connection.
    const isLast = requests.at(-1)?.includes('upgrade:') === true
    for (const size of [Number.POSITIVE_INFINITY, 1_000, 61, 1]) {
      const bytes = requests.join('')
      // Byte by byte is for what is short.
      if (bytes.length / size > 20_000) continue
      const socket = dial().setNoDelay()
      const said = text(socket)
      for (let at = 0; at < bytes.length; at += size) {
        socket.write(bytes.slice(at, at + size), 'latin1')
        if (size < 1_000) await new Promise(setImmediate)
      }
      socket.write(get('/now/end', close))
      t.same(bodiesOf(await said), isLast ? bodies : [...bodies, '</now/end>'], `in pieces of ${size}`)
    }
    t.equal(under.most, 1)
  })

for (const [many, more] of [
  [1, 2_300],
  [10, 2_300],
  [200, 50],
] as const)
  t.test(`of ${many} × ${more} requests it takes ${many}, and answers somebody else meanwhile`, async t => {
    const { dial, asked, held } = await testServer(t)
    const sockets = times(many, () => {
      const socket = dial()
      socket.write(get('/held') + get('/now/1').repeat(more - 1) + get('/now/1', close))
      return socket
    })
    await until(() => held.length === many)
    await aWhile()
    t.equal(asked.length, many)
    const other = dial()
    other.write(get('/now/other', close))
    t.same(bodiesOf(await text(other)), ['</now/other>'])
    for (const [n, socket] of sockets.entries()) if (n % 2 === 1) socket.destroy()
    await aWhile()
    const rest = sockets.filter((_, n) => n % 2 === 0)
    const answers = rest.map(text)
    for (const answer of held) answer()
    for (const said of await Promise.all(answers))
      t.ok(said.includes('<held>') && said.split('</now/1>').length === more + 1, 'all of them')
    const left = asked.length - (many + 1 + rest.length * more)
    t.ok(left <= 2 * (many - rest.length), `that somebody has left is seen when an answer cannot be written: ${left}`)
  })

t.test('reads no more while an answer is owed', async t => {
  const { dial, held, connections } = await testServer(t)
  const socket = dial()
  const bytes = get('/now/1').repeat(250_000)
  socket.write(get('/held') + bytes)
  await until(() => held.length === 1)
  await aWhile()
  const [served] = connections
  t.teardown(() => held[0]?.())
  t.ok((served?.bytesRead ?? 0) < 256 * 1024, `${served?.bytesRead} bytes of ${bytes.length}`)
})

t.test('makes no answers for who does not read them', async t => {
  const { dial, asked, metrics } = await testServer(t)
  const socket = dial()
  socket.pause()
  socket.write(get('/large').repeat(1_000))
  await until(() => asked.length > 0)
  await aWhile()
  const before = asked.length
  t.ok(before < 100, `${before}`)
  await aWhile()
  t.equal(asked.length, before, 'it waits')
  socket.destroy()
  await until(async () => /^http_connections\{app="test"\} 0$/m.test(await metrics.text()))
})

const leaving: Record<string, (socket: Socket) => void> = {
  'closes its side': socket => socket.end(),
  'closes both': socket => socket.destroy(),
  'breaks it off': socket => socket.resetAndDestroy(),
}
const surplus = ['', '\r\n', 'G', get('/now/1'), get('/now/1').repeat(3), post('/echo', 'x'.repeat(10_000))]

for (const [how, leave] of Object.entries(leaving))
  t.test(`who ${how} before the answer is gone at once, whatever it has sent behind its request`, async t => {
    const { dial, asked, held, metrics } = await testServer(t)
    for (const more of surplus) {
      const socket = dial()
      const before = held.length
      socket.write(get('/held') + more)
      await until(() => held.length > before)
      await aWhile()
      leave(socket)
      await until(async () => /^http_connections\{app="test"\} 0$/m.test(await metrics.text()))
    }
    t.equal(asked.length, surplus.length, 'nothing of what was sent behind it is begun')
    for (const answer of held) answer()
  })

t.test('bears with few empty lines, and takes no more of them', async t => {
  const { dial, asked } = await testServer(t)
  const socket = dial()
  socket.write(`${'\r\n'.repeat(100_000)}${get('/now/1')}`)
  t.match(await text(socket), /^HTTP\/1\.1 400 /)
  t.same(asked, [])
})

t.test('a refusal for the rate ends a connection that has sent more, and no other', async t => {
  const { dial, asked } = await testServer(t)
  const flood = dial()
  flood.write(get('/refused') + get('/now/1').repeat(1_000))
  const said = await text(flood)
  t.match(said, /^HTTP\/1\.1 429 .*\r\nconnection: close\r\n/s)
  t.same(asked, ['/refused'], 'the rest is dropped')
  const patient = dial()
  patient.write(get('/refused'))
  const [first] = await once(patient, 'data')
  t.match(String(first), /^HTTP\/1\.1 429 /)
  t.notMatch(String(first), /connection: close/)
  patient.write(get('/now/1', close))
  t.match(await text(patient), '</now/1>')
})

for (const [what, last, answer] of [
  ['no request', 'NONSENSE\r\n\r\n', /<\/now\/1>HTTP\/1\.1 400 /],
  ['a way to somewhere', 'CONNECT b:443 HTTP/1.1\r\nhost: b\r\n\r\n', /<\/now\/1>HTTP\/1\.1 405 /],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', /<\/now\/1>HTTP\/1\.1 400 /],
  ['too large a head', get('/', `x: ${'y'.repeat(20_000)}\r\n`), /<\/now\/1>HTTP\/1\.1 431 /],
  ['the last request', get('/now/2', close), /<\/now\/1>HTTP\/1\.1 200 .*<\/now\/2>$/s],
] as const)
  t.test(`after ${what} nothing of that connection is answered, and what was before it is`, async t => {
    const { dial, asked } = await testServer(t)
    const socket = dial()
    socket.write(get('/now/1') + last + get('/now/victim').repeat(10))
    t.match(await text(socket), answer)
    t.notOk(asked.includes('/now/victim'))
  })
