import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { mock } from 'node:test'
import { eventually } from '@banking/testkit'
import t, { type Test } from 'tap'
import { type Dispatcher, Pool } from 'undici'
import { Http1Answer } from '../src/proxy/http1-answer.ts'
import { createHttp1Pool } from '../src/proxy/http1-pool.ts'

const limits = {
  connections: 2,
  connectTimeout: 2_000,
  headersTimeout: 5_000,
  bodyTimeout: 5_000,
  maxHeaderSize: 16_384,
}

/** A server that answers with exactly these bytes, and what it was sent. */
async function speaking(t: Test, answer: (socket: Socket, request: string, count: number) => void) {
  const requests: string[] = []
  const sockets: Socket[] = []
  const server: Server = createServer(socket => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    let head = ''
    socket.on('data', chunk => {
      head += chunk.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      requests.push(head)
      const request = head
      head = ''
      answer(socket, request, requests.length)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, sockets, server }
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

/** Asks and tells all that the handler was told. */
function ask(
  way: { dispatch: (request: never, handler: Dispatcher.DispatchHandler) => unknown },
  more: { method?: string; path?: string; headers?: string[]; body?: Buffer | null } = {},
  onStart: (controller: Dispatcher.DispatchController) => void = () => undefined,
): Promise<Told> {
  return new Promise((resolve, reject) => {
    const told: Told = { body: '', end: 'whole' }
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart: onStart,
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
    }
    try {
      way.dispatch({ method: 'GET', path: '/', headers: [], body: null, ...more } as never, handler)
    } catch (error) {
      reject(error)
    }
  })
}

const good: Record<string, string> = {
  'a length': 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello',
  'an empty body': 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  chunks: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n',
  'chunks in capitals': 'HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n',
  'chunks with extensions and trailers':
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n',
  'a body until the end': 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end',
  'HTTP/1.0': 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok',
  'HTTP/1.0 until the end': 'HTTP/1.0 200 OK\r\n\r\nall of it',
  204: 'HTTP/1.1 204 No Content\r\nETag: "1"\r\n\r\n',
  '304 with a length': 'HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n',
  'interim answers':
    'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx',
  'sixteen interim answers': `${'HTTP/1.1 102 Processing\r\n\r\n'.repeat(16)}HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx`,
  'no reason': 'HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nx',
  'bytes above ASCII': 'HTTP/1.1 200 OK\r\nX-A: caf\xe9\xa0\r\nContent-Length: 1\r\n\r\n\xff',
  'spaces around values': 'HTTP/1.1 200 OK\r\nX-A: \t b c\r\nX-B:\r\nContent-Length:1\r\n\r\nx',
  'a field twice': 'HTTP/1.1 599 Odd\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 1\r\n\r\nx',
}

const bad: Record<string, string> = {
  'another protocol': 'SMTP READY\r\n\r\n',
  'HTTP/2.0': 'HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n',
  'a status of two digits': 'HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n',
  'a status of four digits': 'HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n',
  'an upgrade that nobody asked for': 'HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello',
  'interim answers without end': `${'HTTP/1.1 102 Processing\r\n\r\n'.repeat(17)}HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx`,
  'a length beside chunks':
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'chunks beside a length':
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'two lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!',
  'a length twice': 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello',
  'a list of lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello',
  'a signed length': 'HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello',
  'a hexadecimal length': 'HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello',
  'an empty length': 'HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nhello',
  'an endless length': `HTTP/1.1 200 OK\r\nContent-Length: ${'9'.repeat(30)}\r\n\r\nhello`,
  'an unknown coding': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'two codings': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'a coding twice': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'chunks in HTTP/1.0': 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'a line without a colon': 'HTTP/1.1 200 OK\r\nContent-Length\r\n\r\n',
  'a space before the colon': 'HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello',
  'a space before the name': 'HTTP/1.1 200 OK\r\n X-A: b\r\nContent-Length: 0\r\n\r\n',
  'an empty name': 'HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 0\r\n\r\n',
  'a folded line': 'HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n',
  'a bare LF': 'HTTP/1.1 200 OK\r\nX-A: b\nContent-Length: 5\r\n\r\nhello',
  'a bare CR': 'HTTP/1.1 200 OK\r\nX-A: b\rX-B: c\r\nContent-Length: 0\r\n\r\n',
  'only LF': 'HTTP/1.1 200 OK\nContent-Length: 5\n\nhello',
  NUL: 'HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 0\r\n\r\n',
  'a chunk without a size': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n0\r\n\r\n',
  'a negative chunk': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n',
  'a chunk of 0x5': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n',
  'a chunk too large to be': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello',
  'a chunk longer than it said': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n',
  'a chunk that ends with LF': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n',
  'an extension that is too long': `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;${'a'.repeat(1024)}\r\nhello\r\n0\r\n\r\n`,
  'a trailer that is none': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX T: 1\r\n\r\n',
  'a trailer that is too large': `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: ${'x'.repeat(20_000)}\r\n\r\n`,
  'trailers that are too large together': `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${'X-T: 0123456789\r\n'.repeat(1_200)}\r\n`,
  'a head without an end': `HTTP/1.1 200 OK\r\nX-A: ${'x'.repeat(20_000)}`,
  'a head that is too large': `HTTP/1.1 200 OK\r\nX-A: ${'x'.repeat(20_000)}\r\n\r\n`,
  'an end in the head': 'HTTP/1.1 200 OK\r\nContent-Le',
  'an end in the body': 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello',
  'an end in a chunk': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello',
  'an end before the last chunk': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
  'an end in the trailers': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\n',
  nothing: '',
}

t.test('reads what undici reads, and refuses all that undici refuses', async t => {
  for (const [name, bytes] of [...Object.entries(good), ...Object.entries(bad)])
    for (const method of ['GET', 'HEAD']) {
      const { origin } = await speaking(t, socket => void socket.end(bytes, 'latin1'))
      const theirs = new Pool(origin, { pipelining: 1, maxHeaderSize: limits.maxHeaderSize })
      const [mine, reference] = await Promise.all([ask(pool(t, origin), { method }), ask(theirs as never, { method })])
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

t.test('uses a connection again, and never one that said more than it was asked', async t => {
  // Long enough that no connection ends because it has rested.
  const ok = 'HTTP/1.1 200 OK\r\nKeep-Alive: timeout=600\r\nContent-Length: 2\r\n\r\nok'
  const evil = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'
  for (const name of ['in the same piece', 'while it rests']) {
    const { origin, sockets } = await speaking(t, (socket, _request, count) => {
      socket.write(count === 1 && name === 'in the same piece' ? ok + evil : ok)
    })
    const mine = pool(t, origin, { connections: 1 })
    t.equal((await ask(mine)).body, 'ok', name)
    if (name === 'while it rests') sockets[0]?.write(evil)
    await once(sockets[0] as Socket, 'close')
    t.equal((await ask(mine)).body, 'ok')
    t.equal((await ask(mine)).body, 'ok')
    t.equal(sockets.length, 2, 'the second one is used again')
  }
})

t.test('takes what came before a request was written for nobody’s answer', async t => {
  const ok = 'HTTP/1.1 200 OK\r\nKeep-Alive: timeout=600\r\nContent-Length: 2\r\n\r\nok'
  const { origin, sockets, requests } = await speaking(t, socket => void socket.write(ok))
  const mine = pool(t, origin, { connections: 1 })
  await ask(mine)
  await ask(mine)
  t.equal(sockets.length, 1)
  // In one turn of the loop, and with time for the kernel: it is there to be read before the request can go out.
  sockets[0]?.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
  t.match(await ask(mine), { body: '', end: 'error', error: { code: 'UND_ERR_SOCKET' } })
  t.equal(requests.length, 2, 'it was never sent, so it may be sent again')
  t.equal((await ask(mine)).body, 'ok')
})

t.test('gives memory that a handler keeps to nobody else until it is given back', async t => {
  const size = 200_000
  const { origin } = await speaking(t, (socket, request) => {
    const letter = request.slice('GET /'.length, 'GET /x'.length)
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${letter.repeat(size)}`)
  })
  const mine = pool(t, origin, { connections: 4 })
  type Piece = { letter: string; chunk: Buffer; giveBack: () => void }
  const get = (letter: string): Promise<Piece[]> =>
    new Promise((resolve, reject) => {
      const kept: Piece[] = []
      mine.dispatch(
        { method: 'GET', path: `/${letter}`, headers: [], body: null },
        {
          onResponseData(controller, chunk) {
            const { keep } = controller as unknown as { keep(): () => void }
            kept.push({ letter, chunk, giveBack: keep.call(controller) })
          },
          onResponseEnd: () => resolve(kept),
          onResponseError: (_controller, error) => reject(error),
        },
      )
    })
  const kept: Piece[] = []
  for (const letters of ['abcd', 'efgh', 'ijkl']) {
    kept.push(...(await Promise.all([...letters].map(get))).flat())
    for (const { letter, chunk } of kept) t.ok(chunk.equals(Buffer.alloc(chunk.length, letter)))
    // Half of it is given back, and may be read into from now on.
    for (const { giveBack } of kept.splice(0, kept.length / 2)) giveBack()
  }
  t.ok(kept.length > 0)
})

t.test('gives memory back once nobody keeps any piece of it', async t => {
  const size = 20_000
  const chunk = (letter: string) => `${size.toString(16)}\r\n${letter.repeat(size)}\r\n`
  const { origin } = await speaking(t, (socket, request) => {
    const letter = request.slice('GET /'.length, 'GET /x'.length)
    // Two pieces in one read.
    socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunk(letter)}${chunk(letter)}0\r\n\r\n`)
  })
  const mine = pool(t, origin, { connections: 4 })
  const kept: { chunk: Buffer; giveBack: () => void }[] = []
  const get = (letter: string): Promise<void> =>
    new Promise((resolve, reject) => {
      mine.dispatch(
        { method: 'GET', path: `/${letter}`, headers: [], body: null },
        {
          onResponseData(controller, chunk) {
            const { keep } = controller as unknown as { keep(): () => void }
            if (letter === 'a') kept.push({ chunk, giveBack: keep.call(controller) })
          },
          onResponseEnd: () => resolve(),
          onResponseError: (_controller, error) => reject(error),
        },
      )
    })
  await get('a')
  kept[0]?.giveBack()
  for (let n = 0; n < 3; n++) await Promise.all([...'bcde'].map(get))
  for (const { chunk } of kept.slice(1))
    t.ok(chunk.equals(Buffer.alloc(chunk.length, 'a')), 'what is still kept is nobody else’s')
  t.ok(kept.length > 1)
})

t.test('takes nothing that came before a request for the answer to it', async t => {
  const small = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
  const evil = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'
  // One read of Node's is full where the answer ends, and the next one follows before the loop goes on.
  const head = 'HTTP/1.1 200 OK\r\nContent-Length: '
  const length = 65_536 - `${head}65432\r\n\r\n`.length
  const large = `${head}${length}\r\n\r\n${'x'.repeat(length)}`
  const { origin, sockets } = await speaking(t, (socket, _request, count) => {
    socket.write(count === 1 ? large + evil : small)
  })
  const mine = pool(t, origin, { connections: 1 })
  const bodies = (await Promise.all([ask(mine), ask(mine), ask(mine)])).map(({ body }) => body)
  t.same(bodies, ['x'.repeat(length), 'ok', 'ok'])
  t.equal(sockets.length, 2)
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
    await new Promise<void>((resolve, reject) =>
      mine.dispatch(
        { method: 'GET', path: '/', headers: [], body: null },
        {
          onResponseStart: () => undefined,
          onResponseData: controller => controller.pause(),
          onResponseEnd: () => resolve(),
          onResponseError: (_controller, error) => reject(error),
        },
      ),
    )
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
    ['Keep-Alive: timeout=999999\r\n', 598_900],
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
  const asked = ['/1', '/2', '/3', '/4'].map(path =>
    ask(mine, { path }, controller => path === '/3' && controller.abort(gone)),
  )
  await eventually(() => open.length >= 2)
  t.equal(requests.length, 2)
  const [first] = open.splice(0, 1)
  first?.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
  t.equal((await asked[2])?.error, gone)
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
  const giveUp = (controller: Dispatcher.DispatchController): void => controller.abort(gone)
  // The first one while its connection is opened, the third when there is one at rest.
  const asked = [ask(mine, {}, giveUp), ask(mine)]
  t.equal((await asked[0])?.error, gone)
  t.equal((await asked[1])?.body, 'ok')
  t.equal((await ask(mine, {}, giveUp)).error, gone)
  t.equal((await ask(mine)).body, 'ok')
  t.equal(requests.length, 2)
  t.equal(sockets.length, 1)
})

t.test('gives up what does not come: a head, a body, a connection', async t => {
  const silent = await speaking(t, () => undefined)
  t.match((await ask(pool(t, silent.origin, { headersTimeout: 100 }))).error, { code: 'UND_ERR_HEADERS_TIMEOUT' })
  await once(silent.sockets[0] as Socket, 'close')
  const stuck = await speaking(t, socket => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf'))
  const half = await ask(pool(t, stuck.origin, { bodyTimeout: 100 }))
  t.match(half, { status: 200, body: 'half', error: { code: 'UND_ERR_BODY_TIMEOUT' } })
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
  let received = 0
  let begun: Dispatcher.DispatchController | undefined
  const answering = Promise.withResolvers<void>()
  const done = new Promise<void>((resolve, reject) => {
    mine.dispatch(
      { method: 'GET', path: '/', headers: [], body: null },
      {
        onRequestStart: controller => {
          begun = controller
        },
        onResponseStart: controller => {
          controller.pause()
          answering.resolve()
        },
        onResponseData: (_controller, chunk) => {
          received += chunk.length
        },
        onResponseEnd: () => resolve(),
        onResponseError: (_controller, error) => reject(error),
      },
    )
  })
  await answering.promise
  // What could flow would have, while so many whole requests went the same way.
  for (let before = -1; before !== written; ) {
    before = written
    for (let n = 0; n < 50; n++) await ask(mine, { path: '/small' })
  }
  t.ok(received < 1024 * 1024)
  t.ok(written < size, `${written} bytes were written and no more`)
  for (let n = 0; n < 10; n++) pass(20_000)
  begun?.resume()
  // The silence before was the client's: the upstream has its time from now on.
  pass(20_000)
  await done
  t.equal(received, size)
})

t.test('ends everything when destroyed', async t => {
  const { origin } = await speaking(t, () => undefined)
  const mine = pool(t, origin, { connections: 1 })
  const asked = [ask(mine), ask(mine)]
  await mine.destroy()
  for (const each of asked) t.match((await each).error, { code: 'UND_ERR_DESTROYED' })
  await t.rejects(ask(mine), { code: 'UND_ERR_DESTROYED' })
})
