import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { mock } from 'node:test'
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates, type TLSSocket } from 'node:tls'
import { eventually } from '@banking/testkit'
import t, { type Test } from 'tap'
import { Pool } from 'undici'
import type { HttpClient, SentRequest } from '../src/proxy/http-client.ts'
import { Http1Answer } from '../src/proxy/http1-answer.ts'
import { createHttp1Pool } from '../src/proxy/http1-pool.ts'
import { selfSigned } from './certificate.ts'
import { bad, good, speaking } from './raw-upstream.ts'

const limits = {
  connections: 2,
  connectTimeout: 2_000,
  headersTimeout: 5_000,
  bodyTimeout: 5_000,
  maxHeaderSize: 16_384,
}

function pool(t: Test, origin: string, more: Partial<typeof limits> = {}) {
  const made = createHttp1Pool({ ...limits, ...more, origin })
  t.teardown(() => made.destroy())
  return made
}

/** Time passes when the test says so, and not else: a machine that is busy is no upstream that is silent. */
function clock(t: Test) {
  let now = performance.now()
  mock.method(performance, 'now', () => now)
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => {
    mock.timers.reset()
    mock.restoreAll()
  })
  return {
    /** So many ms, and a look of the pool at its connections. */
    pass(ms: number) {
      now += ms
      mock.timers.tick(250)
    },
  }
}

type Told = { status?: number; fields?: string[]; body: string; end: 'whole' | 'error'; error?: Error }
type Asked = { method?: string; path?: string; headers?: string[]; body?: Buffer | Readable | null }

/** Asks and tells all that the handler was told. */
const ask = async (client: HttpClient, more: Asked = {}): Promise<Told> => begin(client, more).told

/** @param on what is done beside as it is told */
function begin(
  client: HttpClient,
  more: Asked = {},
  on: { sent?: () => void; head?: () => void; data?: () => void } = {},
): { sent: SentRequest; told: Promise<Told> } {
  const { promise, resolve } = Promise.withResolvers<Told>()
  const told: Told = { body: '', end: 'whole' }
  const sent = client.send(
    { method: 'GET', path: '/', headers: [], body: null, ...more },
    {
      onSent: () => on.sent?.(),
      onHead(status, fields) {
        on.head?.()
        told.status = status
        told.fields = fields
      },
      onData(chunk) {
        on.data?.()
        told.body += chunk.toString('latin1')
      },
      onEnd: () => resolve(told),
      onError(error) {
        told.end = 'error'
        told.error = error
        resolve(told)
      },
    },
  )
  return { sent, told: promise }
}

/** The same of undici. */
function askUndici(pool: Pool, method: string): Promise<Told> {
  const { promise, resolve } = Promise.withResolvers<Told>()
  const told: Told = { body: '', end: 'whole' }
  pool.dispatch(
    { method: method as 'GET', path: '/', headers: [], body: null },
    {
      onRequestStart: () => undefined,
      onResponseStart(controller, status) {
        if (status < 200) return
        told.status = status
        told.fields = (controller.rawHeaders as (string | Buffer)[]).map(part =>
          typeof part === 'string' ? part : part.toString('latin1'),
        )
      },
      onResponseData(_controller, chunk) {
        told.body += chunk.toString('latin1')
      },
      onResponseEnd: () => resolve(told),
      onResponseError(_controller, error) {
        told.end = 'error'
        told.error = error
        resolve(told)
      },
    },
  )
  return promise
}

t.test('reads what undici reads, and refuses all that undici refuses', async t => {
  for (const [name, bytes] of [...Object.entries(good), ...Object.entries(bad)])
    for (const method of ['GET', 'HEAD']) {
      const { origin } = await speaking(t, socket => void socket.end(bytes, 'latin1'))
      const theirs = new Pool(origin, { pipelining: 1, maxHeaderSize: limits.maxHeaderSize })
      const [mine, reference] = await Promise.all([ask(pool(t, origin), { method }), askUndici(theirs, method)])
      await theirs.destroy()
      const { error, ...told } = mine
      if (reference.end === 'error') t.equal(told.end, 'error', `${method}: ${name} is refused`)
      if (told.end === 'whole') t.same(told, { ...reference }, `${method}: ${name} is the same`)
      if (method === 'GET') t.equal(told.end, name in good ? 'whole' : 'error', `${name}: ${error?.message}`)
    }
})

t.test('reads the same wherever the bytes are cut, and holds on to no memory that is read into again', t => {
  const block = Buffer.alloc(200_000)
  for (const [name, bytes] of [...Object.entries(good), ...Object.entries(bad)]) {
    const whole = Buffer.from(bytes, 'latin1')
    const read = (...pieces: Buffer[]): string => {
      let told = ''
      const answer = new Http1Answer({
        isHead: false,
        maxHeaderSize: limits.maxHeaderSize,
        onHead: (status, fields) => {
          told += `${status} ${fields.join('|')}\n`
        },
        onData: chunk => {
          told += chunk.toString('latin1')
        },
      })
      try {
        for (const piece of pieces) {
          piece.copy(block)
          answer.read(block.subarray(0, piece.length))
          block.fill('!', 0, piece.length)
        }
        return `${told} ${answer.isWhole} ${answer.endsWithConnection} ${answer.isReusable} ${answer.hasHead}`
      } catch (error) {
        return `${(error as Error).name}`
      }
    }
    const expected = read(whole)
    let differences = 0
    // The longest ones are cut where it matters: near both ends.
    for (let at = 1; at < whole.length; at += whole.length > 2_000 && at > 200 && at < whole.length - 200 ? 997 : 1)
      if (read(whole.subarray(0, at), whole.subarray(at)) !== expected) differences++
    if (whole.length < 2_000 && read(...[...whole].map(byte => Buffer.of(byte))) !== expected) differences++
    t.equal(differences, 0, name)
  }
  t.end()
})

const ok = 'HTTP/1.1 200 OK\r\nKeep-Alive: timeout=600\r\nContent-Length: 2\r\n\r\nok'
const evil = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'

for (const when of ['in the same piece', 'while it is idle'])
  t.test(`uses no connection again for a minute after an answer that nobody asked for, ${when}`, async t => {
    const { pass } = clock(t)
    const { origin, sockets, requests } = await speaking(t, (socket, _request, count) => {
      socket.write(count === 2 && when === 'in the same piece' ? ok + evil : ok)
    })
    const mine = pool(t, origin, { connections: 1 })
    t.equal((await ask(mine)).body, 'ok')
    t.equal((await ask(mine)).body, 'ok')
    t.equal(sockets.length, 1, 'used again')
    if (when === 'while it is idle') sockets[0]?.write(evil)
    await once(sockets[0] as Socket, 'close')
    for (let n = 2; n < 5; n++) {
      t.equal((await ask(mine)).body, 'ok')
      t.equal(sockets.length, n, 'each has a connection of its own')
      t.match(requests.at(-1), 'connection: close')
    }
    pass(59_000)
    t.equal((await ask(mine)).body, 'ok')
    t.equal((await ask(mine)).body, 'ok')
    t.equal(sockets.length, 6, 'not yet')
    pass(1_000)
    t.equal((await ask(mine)).body, 'ok')
    t.equal((await ask(mine)).body, 'ok')
    t.equal(sockets.length, 7, 'used again')
  })

t.test('a server that says why it closes an idle connection is none the worse', async t => {
  const { origin, sockets } = await speaking(t, socket => void socket.write(ok))
  const mine = pool(t, origin, { connections: 1 })
  await ask(mine)
  sockets[0]?.end('HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
  await once(sockets[0] as Socket, 'close')
  await ask(mine)
  await ask(mine)
  t.equal(sockets.length, 2)
})

t.test('uses no connection for longer than some two minutes, and ends none that is answering', async t => {
  const { pass } = clock(t)
  const open: Socket[] = []
  const { origin, sockets } = await speaking(t, (socket, request) => {
    if (request.startsWith('GET /slow')) open.push(socket)
    else socket.write(ok)
  })
  const mine = pool(t, origin, { connections: 1, headersTimeout: 600_000 })
  for (let age = 0; age < 85_000; age += 17_000) {
    await ask(mine)
    pass(17_000)
  }
  t.equal(sockets.length, 1)
  const slow = ask(mine, { path: '/slow' })
  await eventually(() => open.length === 1)
  pass(100_000)
  open[0]?.write(ok)
  t.equal((await slow).body, 'ok')
  await ask(mine)
  t.equal(sockets.length, 2, 'a new one')
  pass(151_000)
  await once(sockets[1] as Socket, 'close')
})

t.test('takes what came before a request was written for nobody’s answer', async t => {
  const { origin, sockets, requests } = await speaking(t, socket => void socket.write(ok))
  const mine = pool(t, origin, { connections: 1 })
  await ask(mine)
  await ask(mine)
  t.equal(sockets.length, 1)
  // In one turn of the loop, and with time for the kernel: it is there to be read before the request can go out.
  sockets[0]?.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
  t.match(await ask(mine), { body: '', end: 'error', error: { code: 'closed' } })
  t.equal(requests.length, 2, 'it was never sent, so it may be sent again')
  t.equal((await ask(mine)).body, 'ok')
})

t.test('takes nothing that came before a request for the answer to it', async t => {
  // One read of Node's is full where the answer ends, and the next one follows before the loop goes on.
  const head = 'HTTP/1.1 200 OK\r\nContent-Length: '
  const length = 65_536 - `${head}65432\r\n\r\n`.length
  const large = `${head}${length}\r\n\r\n${'x'.repeat(length)}`
  const { origin, sockets } = await speaking(t, (socket, _request, count) => {
    socket.write(count === 1 ? large + evil : ok)
  })
  const mine = pool(t, origin, { connections: 1 })
  const bodies = (await Promise.all([ask(mine), ask(mine), ask(mine)])).map(({ body }) => body)
  t.same(bodies, ['x'.repeat(length), 'ok', 'ok'])
  t.equal(sockets.length, 3)
})

t.test(
  'uses a connection again after what has no body, whatever it says, and after a client that had stopped reading',
  async t => {
    const { origin, sockets } = await speaking(t, (socket, _request, count) => {
      if (count === 1) socket.write('HTTP/1.1 204 No Content\r\n\r\n')
      else if (count === 2) socket.write('HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n')
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
    const mine = pool(t, origin, { connections: 1 })
    t.match(await ask(mine), { status: 204, body: '', end: 'whole' })
    t.match(await ask(mine), { status: 304, body: '', end: 'whole' })
    const { sent, told } = begin(mine, {}, { data: () => sent.pause() })
    t.match(await told, { end: 'whole' })
    t.match(await ask(mine), { body: 'ok', end: 'whole' })
    t.equal(sockets.length, 1)
  },
)

t.test('lets a connection rest a second less than the upstream says, else four seconds', async t => {
  const { pass } = clock(t)
  for (const [said, kept] of [
    ['', 3_900],
    ['Keep-Alive: timeout=10, max=5\r\n', 8_900],
    ['Keep-Alive: timeout=2\r\n', 900],
    ['Keep-Alive: timeout=30\r\n', 28_900],
  ] as const) {
    const { origin, sockets } = await speaking(
      t,
      socket => void socket.write(`HTTP/1.1 200 OK\r\n${said}Content-Length: 2\r\n\r\nok`),
    )
    const mine = pool(t, origin, { connections: 1 })
    await ask(mine)
    pass(kept)
    await ask(mine)
    t.equal(sockets.length, 1, `${said || 'nothing'}: still there`)
    pass(kept + 200)
    await ask(mine)
    t.equal(sockets.length, 2, `${said || 'nothing'}: a new one`)
  }
})

t.test('closes after HEAD, HTTP/1.0 and Connection: close', async t => {
  const { origin, sockets, requests } = await speaking(t, (socket, _request, count) => {
    if (count === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n')
    else if (count === 2) socket.write('HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok')
    else socket.write('HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok')
  })
  const mine = pool(t, origin, { connections: 1 })
  t.same((await ask(mine, { method: 'HEAD' })).body, '')
  t.match(requests[0], 'connection: close')
  for (let count = 2; count < 5; count++) t.equal((await ask(mine)).body, 'ok')
  t.equal(sockets.length, 4)
})

t.test('writes a request once, with its body, and nothing that could be read as another', async t => {
  const { origin, requests } = await speaking(
    t,
    socket => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
  )
  const mine = pool(t, origin)
  const body = Buffer.from('{"a":1}')
  await ask(mine, { method: 'POST', path: '/a?b', headers: ['x-a', 'b', 'x-c', 'd'], body })
  const host = origin.slice('http://'.length)
  t.equal(
    requests[0],
    `POST /a?b HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\nx-a: b\r\nx-c: d\r\ncontent-length: 7\r\n\r\n{"a":1}`,
  )
  await ask(mine, { method: 'PUT' })
  t.match(requests[1], 'content-length: 0\r\n')
  for (const unsafe of [
    { path: '/a\r\nX: y' },
    { path: '/a b' },
    { path: '/\u010a' },
    { headers: ['x-a', 'b\r\nX: y'] },
    { headers: ['x-a', 'b\nc'] },
    { headers: ['x-a', 'b\0'] },
    // As latin1 its last byte would be a line feed.
    { headers: ['x-a', 'b \u010aX: y'] },
  ])
    await t.rejects(ask(mine, unsafe), JSON.stringify(unsafe))
  t.equal(requests.length, 2)
})

t.test('keeps to its connections, in order, and forgets who was given up while waiting', async t => {
  const open: Socket[] = []
  const { origin, requests } = await speaking(t, socket => void open.push(socket))
  const mine = pool(t, origin, { connections: 2 })
  const gone = new Error('gone')
  const begun = ['/1', '/2', '/3', '/4'].map(path => begin(mine, { path }))
  const asked = begun.map(({ told }) => told)
  await eventually(() => open.length >= 2)
  t.equal(requests.length, 2)
  begun[2]?.sent.abort(gone)
  t.equal((await asked[2])?.error, gone, 'at once, while both connections are taken')
  const [first] = open.splice(0, 1)
  first?.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
  await eventually(() => open.length >= 2)
  for (const socket of open) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
  t.same(
    (await Promise.all(asked)).map(({ end }) => end),
    ['whole', 'whole', 'error', 'whole'],
  )
  t.notOk(
    requests.some(request => request.startsWith('GET /3')),
    'it was never written',
  )
})

t.test('a request that is given up before it was written leaves a good connection to the next', async t => {
  const { origin, requests, sockets } = await speaking(t, socket => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  })
  const mine = pool(t, origin, { connections: 1 })
  const gone = new Error('gone')
  const givenUp = (): Promise<Told> => {
    const { sent, told } = begin(mine)
    sent.abort(gone)
    return told
  }
  // While a connection is opened, and when there is one at rest.
  t.equal((await givenUp()).error, gone)
  t.equal((await ask(mine)).body, 'ok')
  t.equal(sockets.length, 1)
  t.equal((await givenUp()).error, gone)
  t.equal((await ask(mine)).body, 'ok')
  t.equal(requests.length, 2)
})

t.test('gives up what does not come: a head, a body, a connection', async t => {
  const silent = await speaking(t, () => undefined)
  t.match((await ask(pool(t, silent.origin, { headersTimeout: 100 }))).error, { code: 'headers_timeout' })
  await once(silent.sockets[0] as Socket, 'close')
  const stuck = await speaking(t, socket => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf'))
  const half = await ask(pool(t, stuck.origin, { bodyTimeout: 100 }))
  t.match(half, { status: 200, body: 'half', error: { code: 'body_timeout' } })
  const nobody = await speaking(t, () => undefined)
  nobody.server.close()
  await once(nobody.server, 'close')
  t.match((await ask(pool(t, nobody.origin))).error, { code: 'ECONNREFUSED' })
})

t.test('holds the upstream back while paused, for longer than a body may be silent', async t => {
  const { pass } = clock(t)
  const size = 20 * 1024 * 1024
  let written = 0
  const { origin } = await speaking(t, (socket, request) => {
    if (request.startsWith('GET /small')) return void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`)
    const more = (): void => {
      while (written < size) {
        const piece = Buffer.alloc(Math.min(65_536, size - written))
        written += piece.length
        if (!socket.write(piece)) return
      }
    }
    socket.on('drain', more)
    more()
  })
  const mine = pool(t, origin, { bodyTimeout: 30_000 })
  const answering = Promise.withResolvers<void>()
  const { sent, told } = begin(
    mine,
    {},
    {
      head() {
        sent.pause()
        answering.resolve()
      },
    },
  )
  await answering.promise
  // What could flow would have, while so many whole requests went the same way.
  for (let before = -1; before !== written; ) {
    before = written
    for (let n = 0; n < 50; n++) await ask(mine, { path: '/small' })
  }
  t.ok(written < size, `${written} bytes were written and no more`)
  for (let n = 0; n < 10; n++) pass(20_000)
  sent.resume()
  // The silence before was the client's: the upstream has its time from now on.
  pass(20_000)
  t.equal((await told).body.length, size)
})

t.test('ends everything when destroyed', async t => {
  const { origin } = await speaking(t, () => undefined)
  const mine = pool(t, origin, { connections: 1 })
  const asked = [ask(mine), ask(mine)]
  await mine.destroy()
  for (const each of asked) t.match((await each).error, { code: 'destroyed' })
  await t.rejects(ask(mine), { code: 'destroyed' })
})

t.test('speaks TLS to whom a certificate that is vouched for names, today, and to nobody else', async t => {
  const known = selfSigned()
  const expired = selfSigned('localhost', '250101')
  const another = selfSigned('other.example')
  const before = getCACertificates('default')
  setDefaultCACertificates([...before, known.cert, expired.cert, another.cert])
  t.teardown(() => setDefaultCACertificates(before))
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const)
    for (const [name, certificate, code] of [
      ['good', known, undefined],
      ['expired', expired, 'CERT_HAS_EXPIRED'],
      ['of another name', another, 'ERR_TLS_CERT_ALTNAME_INVALID'],
      ['of an unknown authority', selfSigned(), 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    ] as const) {
      const sockets: TLSSocket[] = []
      let asked = 0
      const server = createTlsServer({ ...certificate, maxVersion }, socket => {
        sockets.push(socket)
        socket.on('error', () => undefined)
        socket.on('data', () => {
          asked++
          socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${asked < 3 ? 5 : 70_000}\r\n\r\n`)
          socket.write(asked < 3 ? 'hello' : Buffer.alloc(70_000, 'x'))
        })
      }).listen(0, '127.0.0.1')
      await once(server, 'listening')
      t.teardown(() => {
        for (const socket of sockets) socket.destroy()
        server.close()
      })
      const { port } = server.address() as AddressInfo
      const mine = pool(t, `https://localhost:${port}`, { connections: 1 })
      const first = await ask(mine)
      t.equal((first.error as NodeJS.ErrnoException | undefined)?.code, code, `${maxVersion}, ${name}`)
      if (code !== undefined) {
        t.equal(asked, 0, 'nothing was asked of it')
        continue
      }
      t.equal(first.body, 'hello')
      t.equal(sockets[0]?.servername, 'localhost', 'its name was said')
      sockets[0]?.end()
      await once(sockets[0] as TLSSocket, 'close')
      t.equal((await ask(mine)).body, 'hello')
      t.equal((await ask(mine)).body.length, 70_000)
      t.equal(sockets.length, 2)
      t.equal(sockets[1]?.isSessionReused(), true, 'the session is resumed')
    }
})
