import { connect, type Socket } from 'node:net'
import { browserFields } from '../edge/load.ts'

/** Who wants to do harm, from an address of its own. */
export type Attack = {
  kind: 'flood' | 'leave' | 'slow'
  port: number
  /** Value of the Cookie field of somebody who is logged in. */
  cookie: string
  /** Path with an answer of 100 KB. */
  large: string
  connections: number
  /** Requests of a flood on each connection, in one go. */
  requests?: number
  seconds: number
}

/** What became of it: connections that the server ended, answers that came, by status. */
export type Effect = { cut: number; statuses: Record<string, number> }

/* One attack, in a process of its own. Its input is its one argument, its output one message. */
if (import.meta.main) {
  const attack = JSON.parse(process.argv[2] ?? '') as Attack
  const effect: Effect = { cut: 0, statuses: {} }
  const end = performance.now() + attack.seconds * 1_000
  const fields = Object.entries({ host: 'a', cookie: attack.cookie, ...browserFields })
  const head = (line: string) => `${line}\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')}`

  const dial = (): Socket => {
    const socket = connect({ port: attack.port, host: '127.0.0.1', localAddress: '127.0.0.2', noDelay: true })
    socket.on('error', () => undefined)
    return socket
  }
  const wait = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

  /** Thousands of requests in one go on each connection; the answers are read. */
  const flood = async (): Promise<void> => {
    const bytes = Buffer.from('GET /x HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(attack.requests ?? 0))
    const sockets = Array.from({ length: attack.connections }, () => {
      const socket = dial()
      socket.on('data', chunk => {
        for (const [, status = ''] of chunk.toString('latin1').matchAll(/HTTP\/1\.1 (\d{3})/g))
          effect.statuses[status] = (effect.statuses[status] ?? 0) + 1
      })
      socket.on('close', () => {
        if (performance.now() < end) effect.cut++
      })
      socket.write(bytes)
      return socket
    })
    await wait(attack.seconds * 1_000)
    for (const socket of sockets) socket.destroy()
  }

  /** Connections that go away in the middle of what they send or are sent, one after the other. */
  const leave = async (): Promise<void> => {
    const ask = head(`GET ${attack.large} HTTP/1.1`)
    const send = `${head(`POST ${attack.large} HTTP/1.1`)}content-type: application/json\r\norigin: http://localhost:3000\r\n`
    const ways = [
      ask.slice(0, 40),
      `${ask}\r\n`,
      `${send}content-length: 100000\r\n\r\n${'x'.repeat(50_000)}`,
      `${send}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n`,
    ]
    await Promise.all(
      Array.from({ length: attack.connections }, async (_, n) => {
        for (let turn = n; performance.now() < end; turn++) {
          const socket = dial()
          socket.write(ways[turn % ways.length] as string)
          await wait(1 + (turn % 10))
          if (turn % 2 === 0) socket.destroy()
          else socket.resetAndDestroy()
          effect.statuses['left'] = (effect.statuses['left'] ?? 0) + 1
        }
      }),
    )
  }

  /** A third sends its head, and a third its body, byte by byte; a third reads nothing of its answers. */
  const slow = async (): Promise<void> => {
    const ways: { first: string; more: string; reads: boolean }[] = [
      { first: 'GET /x HTTP/1.1\r\n', more: 'x', reads: true },
      {
        first: `${head(`POST ${attack.large} HTTP/1.1`)}origin: http://localhost:3000\r\ncontent-length: 100000\r\n\r\n`,
        more: 'x',
        reads: true,
      },
      { first: `${head(`GET ${attack.large} HTTP/1.1`)}\r\n`.repeat(30), more: '', reads: false },
    ]
    const sockets = Array.from({ length: attack.connections }, (_, n) => {
      const way = ways[n % ways.length] as (typeof ways)[number]
      const socket = dial()
      if (way.reads) socket.resume()
      else socket.pause()
      socket.on('close', () => {
        if (performance.now() < end) effect.cut++
      })
      socket.write(way.first)
      return { socket, more: way.more }
    })
    while (performance.now() < end) {
      await wait(1_000)
      for (const { socket, more } of sockets) if (more !== '' && socket.writable) socket.write(more)
    }
    for (const { socket } of sockets) socket.destroy()
  }

  await { flood, leave, slow }[attack.kind]()
  process.send?.(effect)
  process.disconnect?.()
}
