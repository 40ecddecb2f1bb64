import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Readable } from 'node:stream'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { eventually } from '@banking/testkit'
import t, { type Test } from 'tap'
import type { CreateHttpClient } from '../src/proxy/http-client.ts'
import { createPipe, type Outcome, type PipeOptions } from '../src/proxy/pipe.ts'
import { bad, good, speaking } from './raw-upstream.ts'

type Kind = 'a whole request' | 'an upload' | 'a stream'
const kinds: readonly Kind[] = ['a whole request', 'an upload', 'a stream']

/** Far longer than any test: whoever is held by a time limit fails its test. */
const patient = { headersTimeout: 600_000, bodyTimeout: 600_000 }

/** A server that forwards each request through one pipe, and passes on the fields that frame. */
async function forwarding(t: Test, origin: string, options: Partial<PipeOptions> = {}) {
  const pipe = createPipe({ origin, ...patient, ...options })
  const outcomes: Outcome[] = []
  const server = createServer((request, response) => {
    const kind = request.headers['x-kind'] as Kind
    const size = Number(request.headers['x-size'] ?? 0)
    const isUpload = kind === 'an upload'
    const body = isUpload
      ? Readable.from([Buffer.from('hel'), Buffer.from('lo')])
      : size > 0
        ? Buffer.alloc(size)
        : null
    const outbound = { path: request.url as string, headers: [], token: undefined, body, endless: kind === 'a stream' }
    const method = body === null ? (request.method as string) : 'POST'
    pipe.forward(
      { ...outbound, method },
      response,
      (_status, fields) =>
        fields.flatMap((name, at) =>
          at % 2 === 0 && /^(?:content-length|x-)/i.test(name) ? [name, fields[at + 1] as string] : [],
        ),
      outcome => {
        outcomes.push(outcome)
        if (outcome.kind === 'failed') response.writeHead(outcome.problem.status, outcome.problem.headers).end()
      },
    )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    await pipe.close()
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const ask = (kind: Kind, path = '/', more: { method?: string; size?: number } = {}) => {
    const headers = { 'x-kind': kind, 'x-size': String(more.size ?? 0) }
    const request = httpRequest({ port, host: '127.0.0.1', path, method: more.method ?? 'GET', headers, agent: false })
    request.on('error', () => undefined)
    request.end()
    return request
  }
  return { outcomes, ask }
}

type Got = { status: number; headers: IncomingMessage['headers']; body: string; isWhole: boolean }

/** What a client is told; without a status when the connection ended first. */
async function answerTo(request: ReturnType<typeof httpRequest>): Promise<Got> {
  const response = await new Promise<IncomingMessage | undefined>(resolve =>
    request.on('response', resolve).on('close', () => resolve(undefined)),
  )
  if (response === undefined) return { status: 0, headers: {}, body: '', isWhole: false }
  let body = ''
  response.setEncoding('latin1')
  response.on('error', () => undefined)
  response.on('data', chunk => {
    body += chunk
  })
  await new Promise(resolve => response.on('close', resolve))
  const { statusCode: status = 0, headers } = response
  return { status, headers, body, isWhole: response.complete }
}

t.test('one table of answers, one verdict, whatever was asked', async t => {
  for (const [name, bytes] of [...Object.entries(good), ...Object.entries(bad)]) {
    // What is refused is refused as it comes, and not when the upstream ends the connection.
    const needsEnd = name in good || /^(?:an end|nothing)/.test(name)
    const { origin } = await speaking(t, socket => {
      socket.write(bytes, 'latin1')
      if (needsEnd) socket.end()
    })
    const { ask } = await forwarding(t, origin)
    const [whole, ...others] = await Promise.all(kinds.map(kind => answerTo(ask(kind))))
    const verdict = ({ status, body, isWhole }: Got) => (isWhole ? { status, body } : 'broken off')
    for (const other of others) t.same(verdict(other), verdict(whole as Got), name)
    if (name in good) t.equal(whole?.isWhole && whole.status !== 502, true, `${name} is passed on`)
    else t.ok(whole?.status === 502 || whole?.isWhole === false, `${name} is no answer`)
  }
})

t.test('what has no body gets none, and no length', async t => {
  const answers: [string, number, string | undefined, string][] = [
    ['HTTP/1.1 204 No Content\r\n\r\n', 204, undefined, ''],
    ['HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n', 204, undefined, ''],
    ['HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello', 204, undefined, ''],
    ['HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n', 204, undefined, ''],
    ['HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n', 205, '0', ''],
    ['HTTP/1.1 205 Reset Content\r\nContent-Length: 5\r\n\r\nhello', 205, '0', ''],
    ['HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n', 205, '0', ''],
    ['HTTP/1.1 205 Reset Content\r\nConnection: close\r\n\r\nhello', 205, '0', ''],
    ['HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n', 304, '5', ''],
    ['HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello', 304, '5', ''],
  ]
  for (const [bytes, status, length, body] of answers)
    for (const kind of kinds) {
      const { origin } = await speaking(t, socket => {
        socket.write(bytes)
        if (bytes.includes('close')) socket.end()
      })
      const { ask } = await forwarding(t, origin)
      const got = await answerTo(ask(kind))
      t.same([got.status, got.headers['content-length'], got.body], [status, length, body], `${kind}: ${bytes}`)
      t.equal(got.isWhole, true)
    }
})

t.test('the body of an answer that has none is nobody else’s answer', async t => {
  const evil = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'
  for (const head of [
    `HTTP/1.1 204 No Content\r\nContent-Length: ${evil.length}\r\n\r\n`,
    'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n',
    'HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n',
  ])
    for (const kind of kinds) {
      const { origin, sockets } = await speaking(t, (socket, _request, count) => {
        // Its head alone at first; what follows comes when the connection would be somebody else's.
        if (count === 1) socket.write(head)
        else socket.write(socket === sockets[0] ? evil : 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      })
      const { ask } = await forwarding(t, origin)
      await answerTo(ask(kind))
      t.equal((await answerTo(ask(kind))).body, 'ok', `${kind}: ${head}`)
      t.equal(sockets.length, 2, 'its connection is not used again')
    }
})

t.test('an answer that nobody asked for comes to nobody while the connection is idle', async t => {
  for (const kind of kinds) {
    const { origin, sockets } = await speaking(
      t,
      socket => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
    )
    const { ask } = await forwarding(t, origin)
    t.equal((await answerTo(ask(kind))).body, 'ok')
    const [first] = sockets as [Socket]
    const closed = once(first, 'close')
    first.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil')
    await closed
    t.equal((await answerTo(ask(kind))).body, 'ok')
    t.equal(sockets.length, 2)
  }
})

t.test('a request that is given up while it waits leaves its place and its memory at once', async t => {
  for (const kind of kinds) {
    const waiting: Socket[] = []
    const { origin, requests } = await speaking(t, socket => void waiting.push(socket))
    const { ask, outcomes } = await forwarding(t, origin, { connections: 1, streams: 1, connectTimeout: 600_000 })
    const first = ask(kind, '/first')
    await eventually(() => waiting.length === 1)
    // Thrice as many as there are places.
    for (let round = 0; round < 3; round++) {
      const left = Array.from({ length: 1_000 }, () => ask(kind, '/left'))
      await Promise.all(left.map(request => once(request, 'socket')))
      const before = outcomes.length
      await eventually(() => {
        for (const request of left) if (request.socket?.connecting === false) request.destroy()
        return outcomes.length - before === 1_000
      })
    }
    t.same(new Set(outcomes.map(outcome => outcome.kind)), new Set(['abandoned']), `${kind}: none was refused`)
    const next = ask(kind, '/next')
    waiting[0]?.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    t.equal((await answerTo(first)).body, 'ok')
    await eventually(() => requests.length === 2)
    t.match(requests[1], / \/next /, 'the next one is who is still there')
    waiting.at(-1)?.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    t.equal((await answerTo(next)).body, 'ok')
  }
})

t.test('so many requests wait for a connection, so many bytes of them, and the next is refused at once', async t => {
  for (const [size, most] of [
    [0, 1_000],
    [16_000, 524],
  ] as const) {
    const waiting: Socket[] = []
    const { origin } = await speaking(t, socket => void waiting.push(socket))
    const { ask, outcomes } = await forwarding(t, origin, { connections: 1, connectTimeout: 600_000 })
    ask('a whole request')
    await eventually(() => waiting.length === 1)
    for (let n = 0; n < 1_200; n++) ask('a whole request', '/', { size })
    await eventually(() => outcomes.length === 1_200 - most)
    t.match(outcomes[0], { kind: 'failed', isReset: false, problem: { status: 503, headers: { 'retry-after': '2' } } })
    t.equal((await answerTo(ask('a whole request', '/', { size }))).status, 503)
  }
})

t.test('an idle stream holds less than 32 KB, its two ends included', async t => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const { origin, sockets } = await speaking(t, socket => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n')
  })
  const { ask } = await forwarding(t, origin)
  const open = async (count: number): Promise<void> => {
    const requests = Array.from({ length: count }, () => ask('a stream'))
    await Promise.all(
      requests.map(async request => {
        const [response] = (await once(request, 'response')) as [IncomingMessage]
        await once(response, 'data')
      }),
    )
  }
  const held = (): number => {
    collect()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  await open(100)
  const before = held()
  await open(300)
  const each = (held() - before) / 300
  t.ok(each < 32 * 1024, `${each} bytes each`)
  t.equal(sockets.length, 400)
})

t.test('a process without a free descriptor is busy, and its upstream is not to blame', async t => {
  for (const code of ['EMFILE', 'ENFILE']) {
    const client: CreateHttpClient = () => ({
      send(_request, handler) {
        setImmediate(() => handler.onError(Object.assign(new Error(`connect ${code}`), { code })))
        return { abort: () => undefined, pause: () => undefined, resume: () => undefined }
      },
      destroy: async () => undefined,
    })
    const { ask, outcomes } = await forwarding(t, 'http://127.0.0.1:1', { client })
    for (const kind of kinds) {
      const { status, headers } = await answerTo(ask(kind))
      t.match({ status, headers }, { status: 503, headers: { 'retry-after': '2' } }, `${code}, ${kind}`)
      t.match(outcomes.at(-1), { kind: 'failed', problem: { code: 'overloaded' } }, `${code}, ${kind}`)
    }
  }
})
