import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { mock } from 'node:test'
import { createMetrics } from '@banking/telemetry'
import t, { type Test } from 'tap'
import { guardConnections } from '../src/connections.ts'

const seconds = 1_000

/** A server that answers by `handle`, with connections that are looked at when the test says so. */
async function guarded(t: Test, handle: (response: ServerResponse, server: Server) => void, bodyRate = 4 * 1024) {
  const server = createServer((_request, response) => handle(response, server))
  const metrics = createMetrics('test')
  let time = 0
  const refused: Socket[] = []
  const look = guardConnections(server, {
    limits: undefined,
    bodyRate,
    metrics,
    now: () => time,
    refuse: socket => {
      refused.push(socket)
      socket.end('HTTP/1.1 408 Request Timeout\r\n\r\n')
    },
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    metrics,
    refused,
    speak(data: string): Socket {
      const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
      t.teardown(() => socket.destroy())
      socket.on('error', () => undefined)
      socket.write(data)
      return socket
    },
    /** So much time passes without a look. */
    wait(ms: number) {
      time += ms
    },
    /** So much time passes, with a look every five seconds. */
    pass(ms: number) {
      for (let passed = 0; passed < ms; passed += 5 * seconds) {
        time += 5 * seconds
        look()
      }
    },
    server,
  }
}

const get = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'
const turn = () => new Promise(resolve => setTimeout(resolve, 20))

t.test('cuts an answer of which the client takes nothing for half a minute', async t => {
  let isClosed = false
  const { speak, pass, metrics, server } = await guarded(t, response => {
    response.on('close', () => {
      isClosed = true
    })
    response.end(Buffer.alloc(64 * 1024 * 1024))
  })
  const socket = speak(get)
  socket.pause()
  await once(server, 'request')
  await turn()
  pass(30 * seconds)
  t.notOk(isClosed, 'not before')
  pass(5 * seconds)
  await turn()
  t.ok(isClosed, 'and what makes the answer hears of it')
  t.match(await metrics.text(), 'http_connections_cut_total{reason="slow_reader",app="test"} 1')
})

t.test('cuts a stream whose events nobody takes, though new ones keep coming', async t => {
  let response: ServerResponse | undefined
  const { speak, pass } = await guarded(t, one => {
    response = one
    one.writeHead(200)
    one.write(Buffer.alloc(16 * 1024 * 1024))
  })
  speak(get).pause()
  while (response === undefined) await turn()
  const closed = once(response, 'close')
  for (let n = 0; n < 8; n++) {
    response.write(': ping\n\n')
    pass(5 * seconds)
  }
  await closed
  t.pass()
})

t.test('lets a client read as slowly as it likes, while it reads', async t => {
  const size = 32 * 1024 * 1024
  const { speak, pass } = await guarded(t, response => void response.end(Buffer.alloc(size)))
  const socket = speak(get)
  let received = 0
  for await (const chunk of socket) {
    const before = received
    received += (chunk as Buffer).length
    // A window opens in steps: a megabyte is more than one.
    if (received >> 20 !== before >> 20) {
      await turn()
      pass(10 * seconds)
    }
    if (received > size) break
  }
  t.ok(received > size, 'all of it arrives, in more than five minutes')
})

t.test('lets a client read for which ever more is waiting', async t => {
  let response: ServerResponse | undefined
  const { speak, pass } = await guarded(t, one => {
    response = one
    one.flushHeaders()
  })
  const socket = speak(get)
  const closed = once(socket, 'close').then(() => 'closed')
  let received = 0
  socket.on('data', chunk => {
    received += chunk.length
  })
  while (response === undefined || received === 0) await turn()
  // Each time it has taken everything, and each time it lags behind by more than the last.
  for (let n = 1; n <= 10; n++) {
    const before = received
    socket.pause()
    response.write(Buffer.alloc(n * 4 * 1024 * 1024))
    await turn()
    pass(5 * seconds)
    socket.resume()
    while (received < before + n * 4 * 1024 * 1024)
      if ((await Promise.race([turn(), closed])) === 'closed') return t.fail(`cut after ${received} bytes`)
  }
  t.pass()
})

t.test('leaves a quiet stream alone', async t => {
  let isClosed = false
  const { speak, pass } = await guarded(t, response => {
    response.on('close', () => {
      isClosed = true
    })
    response.writeHead(200)
    response.write(': hello\n\n')
  })
  const socket = speak(get)
  await once(socket, 'data')
  pass(600 * seconds)
  await turn()
  t.notOk(isClosed)
})

t.test('says 408 to a body that comes byte by byte', async t => {
  const { speak, pass, metrics } = await guarded(t, response => response.req.resume())
  const socket = speak('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n')
  const said = text(socket)
  await turn()
  for (let n = 0; n < 3; n++) {
    socket.write('x'.repeat(100))
    await turn()
    pass(5 * seconds)
  }
  t.match(await said, /^HTTP\/1\.1 408 /)
  t.match(await metrics.text(), 'http_connections_cut_total{reason="slow_body",app="test"} 1')
})

t.test('takes a body that comes slowly but steadily, and one that waits for us', async t => {
  const steady = await guarded(t, response => response.req.resume().on('end', () => response.end('done')), 512)
  const socket = steady.speak('POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 60000\r\n\r\n')
  const said = text(socket)
  await turn()
  for (let n = 0; n < 20; n++) {
    socket.write('x'.repeat(3_000))
    await turn()
    steady.pass(5 * seconds)
  }
  t.match(await said, /^HTTP\/1\.1 200 /)

  const busy = await guarded(t, () => undefined)
  busy.speak(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n${'x'.repeat(50_000)}`)
  await once(busy.server, 'request')
  await turn()
  busy.pass(60 * seconds)
  t.equal(busy.refused.length, 0, 'nobody read it: that is not the client’s fault')
})

t.test('a body has as long as its size and the least rate give it, however large it is', async t => {
  for (const [perLook, length, status] of [
    [5 * 1024, 40, 200],
    [5 * 1024 + 1_000, 40, 200],
    [5 * 1024 - 1_000, 40, 408],
    [100_000, 12, 200],
  ] as const) {
    const { speak, pass } = await guarded(t, response => response.req.resume().on('end', () => response.end()), 1024)
    const socket = speak(
      `POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: ${perLook * length}\r\n\r\n`,
    )
    const said = text(socket)
    await turn()
    // With 40 looks at five seconds each it takes more than three minutes.
    for (let n = 0; n < length && !socket.destroyed; n++) {
      socket.write('x'.repeat(perLook))
      await turn()
      pass(5 * seconds)
    }
    t.match(await said, new RegExp(`^HTTP/1\\.1 ${status} `), `${perLook} bytes in five seconds`)
  }
})

t.test('a stalled body may go on, if the rest of it came fast', async t => {
  const { speak, pass, refused } = await guarded(t, response => response.req.resume(), 1024)
  const socket = speak('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n')
  await turn()
  socket.write('x'.repeat(50 * 1024))
  await turn()
  pass(55 * seconds)
  t.equal(refused.length, 0)
  pass(5 * seconds)
  t.equal(refused.length, 1)
})

t.test('cuts a body that goes on byte by byte after its answer, without a second one', async t => {
  const { speak, pass, refused, metrics } = await guarded(t, response => {
    response.req.resume()
    response.end('early')
  })
  const socket = speak('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nx')
  const said = text(socket).catch(() => '')
  await once(socket, 'data')
  await turn()
  pass(10 * seconds)
  t.notMatch(await said, '408')
  t.equal(refused.length, 0)
  t.match(await metrics.text(), 'http_connections_cut_total{reason="slow_body",app="test"} 1')
})

t.test('gives every body its ten seconds, also on a connection that was there before', async t => {
  const { speak, pass, wait, refused, server } = await guarded(t, response => response.req.resume())
  const connected = once(server, 'connection')
  const socket = speak('')
  await connected
  pass(5 * seconds)
  wait(5 * seconds)
  socket.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nx')
  await once(server, 'request')
  await turn()
  pass(5 * seconds)
  t.equal(refused.length, 0)
  pass(5 * seconds)
  t.equal(refused.length, 1)
})

t.test('an answer may take as long as it likes, and is not cut for a body that is not needed', async t => {
  const late = await guarded(t, () => undefined)
  late.speak(get)
  await once(late.server, 'request')
  late.pass(600 * seconds)
  t.equal(late.refused.length, 0, 'the request came whole')

  const early = await guarded(t, response => {
    response.req.resume()
    response.writeHead(200)
    response.write('begun')
  })
  const socket = early.speak('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nx')
  await once(socket, 'data')
  early.pass(600 * seconds)
  t.equal(early.refused.length, 0, 'no refusal is written into an answer')
})

t.test('looks at its connections by itself', async t => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  const { speak, wait, refused, server } = await guarded(t, response => response.req.resume())
  speak('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nx')
  await once(server, 'request')
  await turn()
  wait(10 * seconds)
  mock.timers.tick(5 * seconds)
  t.equal(refused.length, 1)
})
