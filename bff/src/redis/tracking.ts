import { type Client, type Connection, keepConnection, serverOf, type Target } from './connection.ts'

/** What a local cache must hear. */
export type TrackingListener = {
  /** A key was written, deleted, or has expired. */
  invalidated(key: string): void
  /** From now on changes may go unseen: whatever was remembered must be forgotten. */
  lost(): void
  /** From now on every change is told. */
  ready(): void
}

export type Tracking = Pick<Connection, 'follow' | 'close'> & {
  /**
   * Whether every change up to 600 ms ago has been told, of the server that commands go to. Asks the clock: right also
   * when this process was paused.
   */
  isCurrent(): boolean
  /** Commands have a connection now. Changes are of use only if they come from the same server. */
  join(): void
}

const elsewhere = 'commands go to another server'
/** ms between two pings. */
const pingEvery = 200
/** ms that a local cache may be behind. */
const patience = 600

/**
 * Server-assisted invalidation (Redis, "Client-side caching", broadcasting mode) on a connection of its own. Redis
 * sends its answers and its invalidations in order, so a pong proves that every change up to its ping has been told.
 */
export function trackKeys(options: {
  find(): Promise<Target>
  prefix: string
  listener: TrackingListener
  /** The server that commands go to, if there is one. */
  commandsAt(): string | undefined
  onLost(cause: Error, isFirst: boolean): void
}): Tracking {
  const { listener } = options
  /** Whether commands have been seen to go to the server that tells. */
  let isJoined = false
  /** When the last ping that was answered had been sent. */
  let knownAt = Number.NEGATIVE_INFINITY
  let pings: NodeJS.Timeout | undefined
  let deadline: NodeJS.Timeout | undefined

  const ping = async (client: Client): Promise<void> => {
    const sentAt = performance.now()
    await client.ping()
    if (connection.client !== client) return
    knownAt = Math.max(knownAt, sentAt)
    expect()
  }
  const expect = (): void => {
    clearTimeout(deadline)
    const late = () => connection.drop(new Error(`redis answered no ping for ${patience} ms`))
    deadline = setTimeout(late, knownAt + patience - performance.now())
  }
  const forget = (): void => {
    isJoined = false
    knownAt = Number.NEGATIVE_INFINITY
    clearInterval(pings)
    clearTimeout(deadline)
    listener.lost()
  }

  const connection = keepConnection({
    find: options.find,
    settings: { emitInvalidate: true },
    async prepare(client) {
      client.on('invalidate', (key: string | Buffer | null) => {
        if (connection.client !== client) return
        if (key !== null) return listener.invalidated(String(key))
        // FLUSHALL names no key.
        listener.lost()
        if (isJoined) listener.ready()
      })
      // node-redis has switched the plain mode on, and from that one Redis lets nobody change to broadcasting.
      await client.sendCommand(['CLIENT', 'TRACKING', 'OFF'])
      await client.sendCommand(['CLIENT', 'TRACKING', 'ON', 'BCAST', 'PREFIX', options.prefix])
      const server = await serverOf(client)
      // Looked for again until both lead to one: the address that was found may be the old one, or that of commands.
      if ((options.commandsAt() ?? server) !== server) throw new Error(elsewhere)
      return server
    },
    onReady(client) {
      knownAt = performance.now()
      expect()
      pings = setInterval(() => ping(client).catch(connection.drop), pingEvery)
      join()
    },
    onAway(cause, isFirst) {
      if (isFirst) forget()
      options.onLost(cause, isFirst)
    },
  })
  const join = (): void => {
    const server = options.commandsAt()
    if (server === undefined || connection.server === undefined) return
    if (connection.server !== server) connection.drop(new Error(elsewhere))
    else if (!isJoined) {
      isJoined = true
      listener.ready()
    }
  }
  return {
    isCurrent: () => isJoined && performance.now() - knownAt < patience,
    join,
    follow: connection.follow,
    close() {
      connection.close()
      forget()
    },
  }
}
