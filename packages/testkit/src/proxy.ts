import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Transform } from 'node:stream'
import type { Test } from 'tap'

export type Proxy = {
  host: string
  port: number
  /** Connections that pass through now. */
  connections(): number
  /** Breaks every connection and refuses new ones, as the machine of a crashed server does. */
  cut(): void
  /** Keeps connections open but passes nothing on, as a hung server or a lost network does. */
  stall(): void
  /** Lets everything through again; what was held back is delivered. */
  mend(): Promise<void>
  /** Leads new connections to another server; those that are open stay where they are. */
  lead(target: { host: string; port: number }): void
  /** From now on an answer takes so many ms, and the one after it as many more, as from an overloaded part. */
  slow(ms: number): void
}

/** A TCP proxy in front of a real part, so that a test can take the part away without touching it. */
export async function testProxy(t: Test, target: { host: string; port: number }): Promise<Proxy> {
  const sockets = new Set<Socket>()
  let stalled = false
  let leadsTo = target
  let late = 0
  const lateness = () =>
    new Transform({
      transform(chunk, _encoding, done) {
        if (late === 0) done(null, chunk)
        else setTimeout(done, late, null, chunk)
      },
    })
  const server = createServer(client => {
    const upstream = connect(leadsTo)
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from)
      if (from === client) from.pipe(to)
      else from.pipe(lateness()).pipe(to)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
      if (stalled) from.pause()
    }
  })
  const listen = (port: number) => new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  await listen(0)
  const { port } = server.address() as AddressInfo
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    host: '127.0.0.1',
    port,
    connections: () => sockets.size / 2,
    cut: () => {
      server.close()
      for (const socket of sockets) socket.resetAndDestroy()
    },
    stall: () => {
      stalled = true
      for (const socket of sockets) socket.pause()
    },
    mend: async () => {
      stalled = false
      for (const socket of sockets) socket.resume()
      if (!server.listening) await listen(port)
    },
    lead: next => {
      leadsTo = next
    },
    slow: ms => {
      late = ms
    },
  }
}
