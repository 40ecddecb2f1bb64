import { connect, createServer, type Socket } from 'node:net'

/** One process behind the round-robin. */
export type Backend = {
  port: number
  /** Asked for `/ready` on its own port. */
  healthUrl: string
}

export type RoundRobin = {
  /** Ends every connection at once and listens no more. */
  close(): Promise<void>
}

/** ms between two looks at a backend. It must be well below the time that a stopping process keeps accepting. */
const lookEvery = 200
/** ms after which a backend that says nothing counts as gone. */
const patience = 2_000

/**
 * A TCP round-robin on 127.0.0.1: each new connection goes to the next backend whose `/ready` answers 200, bytes
 * untouched; a connection that is open stays where it is. A backend that refuses is passed over, which is safe: no byte
 * was sent. When none is ready all are tried: what takes all of them out at once is something they share, and their 503
 * says what it is and when to come back, which a closed connection does not. When all refuse, the connection is reset.
 */
export async function startRoundRobin(port: number, backends: readonly Backend[]): Promise<RoundRobin> {
  const entries = backends.map(backend => ({ backend, isReady: false }))
  const sockets = new Set<Socket>()
  const stopping = new AbortController()
  let turn = 0

  for (const entry of entries) {
    void (async () => {
      while (!stopping.signal.aborted) {
        entry.isReady = await isReady(entry.backend)
        await new Promise(resolve => setTimeout(resolve, lookEvery))
      }
    })()
  }

  /** All that may be tried for one connection, the one whose turn it is first. */
  const candidates = (): Backend[] => {
    const from = turn++ % entries.length
    const inTurn = [...entries.slice(from), ...entries.slice(0, from)]
    const ready = inTurn.filter(entry => entry.isReady)
    return (ready.length > 0 ? ready : inTurn).map(({ backend }) => backend)
  }

  const hold = (socket: Socket) => sockets.add(socket.once('close', () => sockets.delete(socket)))

  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, client => {
    hold(client)
    client.on('error', () => client.destroy())
    const queue = candidates()
    const next = (): void => {
      const backend = queue.shift()
      if (backend === undefined) return void client.resetAndDestroy()
      const upstream = connect({ port: backend.port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
      hold(upstream)
      upstream.once('error', next)
      upstream.once('connect', () => {
        upstream.off('error', next)
        join(client, upstream)
      })
    }
    next()
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
  return {
    close: () =>
      new Promise(resolve => {
        stopping.abort()
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

/** Passes everything on, an end as an end and a reset as a reset. */
function join(client: Socket, upstream: Socket): void {
  for (const [from, to] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    from.on('error', () => to.resetAndDestroy())
    from.pipe(to)
  }
}

async function isReady({ healthUrl }: Backend): Promise<boolean> {
  try {
    const answer = await fetch(`${healthUrl}/ready`, { signal: AbortSignal.timeout(patience) })
    await answer.arrayBuffer()
    return answer.ok
  } catch {
    return false
  }
}
