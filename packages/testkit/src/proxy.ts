import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
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
}

/** A TCP proxy in front of a real part, so that a test can take the part away without touching it. */
export async function testProxy(t: Test, target: { host: string; port: number }): Promise<Proxy> {
  const sockets = new Set<Socket>()
  let stalled = false
  const server = createServer(client => {
    const upstream = connect(target)
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from)
      from.pipe(to)
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
  }
}
