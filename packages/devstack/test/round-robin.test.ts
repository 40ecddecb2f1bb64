import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { type Backend, startRoundRobin } from '../src/round-robin.ts'

/** A server that says its name, and its `/ready` that the test decides about. */
async function backend(t: Test, name: string, onSocket: (socket: Socket) => void = socket => void socket.end(name)) {
  let status = 200
  const health = createHttpServer((_request, response) => response.writeHead(status).end())
  const server = createServer({ allowHalfOpen: true }, onSocket)
  const port = await listening(server)
  const healthUrl = `http://127.0.0.1:${await listening(health)}`
  t.teardown(() => {
    health.closeAllConnections()
    health.close()
    server.close()
  })
  return {
    port,
    healthUrl,
    answer: (code: number) => {
      status = code
    },
    stop: () => server.close(),
  }
}

async function listening(server: { listen(port: number, host: string): unknown; address(): unknown }): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server as never, 'listening')
  return (server.address() as AddressInfo).port
}

/** A round-robin at a free port. */
async function balancing(t: Test, ...backends: Backend[]): Promise<number> {
  const probe = createServer()
  const port = await listening(probe)
  await new Promise(resolve => probe.close(resolve))
  const balancer = await startRoundRobin(port, backends)
  t.teardown(() => balancer.close())
  return port
}

/** Everything that one new connection says, or why it broke. */
async function said(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1').end()
  return buffer(socket).then(String, (error: NodeJS.ErrnoException) => error.code ?? 'failed')
}

/** Waits until the next connections reach these backends and no other. */
async function reaches(t: Test, port: number, ...names: string[]): Promise<void> {
  const seen = async () => new Set(await Promise.all(Array.from({ length: 12 }, () => said(port))))
  let last = await seen()
  for (let tries = 0; tries < 100 && [...last].sort().join() !== names.join(); tries++) {
    await new Promise(resolve => setTimeout(resolve, 50))
    last = await seen()
  }
  t.same([...last].sort(), names)
}

t.test('new connections go to each ready backend in turn, and to no other', async t => {
  const [a, b, c] = [await backend(t, 'a'), await backend(t, 'b'), await backend(t, 'c')]
  const port = await balancing(t, a, b, c)
  await reaches(t, port, 'a', 'b', 'c')
  t.same([await said(port), await said(port), await said(port)].sort(), ['a', 'b', 'c'], 'in turn')
  b.answer(503)
  await reaches(t, port, 'a', 'c')
  b.answer(200)
  await reaches(t, port, 'a', 'b', 'c')
})

t.test('a backend that has just gone is passed over', async t => {
  const [a, b] = [await backend(t, 'a'), await backend(t, 'b')]
  const port = await balancing(t, a, b)
  await reaches(t, port, 'a', 'b')
  a.stop()
  t.same(await Promise.all(Array.from({ length: 10 }, () => said(port))), Array(10).fill('b'))
})

t.test('when none is ready all are tried, and when none listens the connection is reset at once', async t => {
  const [a, b] = [await backend(t, 'a'), await backend(t, 'b')]
  a.answer(503)
  b.answer(503)
  const port = await balancing(t, a, b)
  await reaches(t, port, 'a', 'b')
  a.stop()
  b.stop()
  t.equal(await said(port), 'ECONNRESET')
})

t.test('a connection stays where it is when its backend is no longer ready', async t => {
  const echo = await backend(t, 'echo', socket => void socket.pipe(socket))
  const other = await backend(t, 'other')
  other.answer(503)
  const port = await balancing(t, echo, other)
  await reaches(t, port, '')
  const socket = connect(port, '127.0.0.1')
  socket.write('before ')
  await once(socket, 'data')
  other.answer(200)
  echo.answer(503)
  await reaches(t, port, 'other')
  socket.end('after')
  t.equal(String(await buffer(socket)), 'after')
})

t.test('every byte arrives both ways, whoever ends first and however slowly it is read', async t => {
  const sum = (bytes: Buffer) => bytes.reduce((total, byte) => (total + byte) % 65_521, 0)
  const big = Buffer.alloc(4 * 1024 * 1024, 'some bytes that are no text \u0000\u0001')
  const received: Buffer[] = []
  const port = await balancing(
    t,
    await backend(t, 'big', socket => {
      // The whole answer and its end are written long before they are read.
      socket.on('data', chunk => received.push(chunk as Buffer)).once('end', () => socket.end(big))
    }),
  )
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.end(big)
  let length = 0
  for await (const chunk of socket) {
    length += (chunk as Buffer).length
    if (length < 1024 * 1024) await new Promise(resolve => setTimeout(resolve, 5))
  }
  t.equal(length, big.length)
  t.equal(sum(Buffer.concat(received)), sum(big))
})

t.test('a connection that breaks on one side breaks on the other', async t => {
  const sockets: Socket[] = []
  const port = await balancing(
    t,
    await backend(t, 'x', socket => {
      sockets.push(socket)
      socket.on('error', () => {})
      socket.write('hello')
    }),
  )
  const broken = connect(port, '127.0.0.1')
  await once(broken, 'data')
  sockets[0]?.resetAndDestroy()
  const [error] = (await once(broken, 'error')) as [NodeJS.ErrnoException]
  t.equal(error.code, 'ECONNRESET')

  const leaving = connect(port, '127.0.0.1')
  await once(leaving, 'data')
  const closed = new Promise(resolve => sockets[1]?.once('close', resolve))
  leaving.resetAndDestroy()
  await closed
})
