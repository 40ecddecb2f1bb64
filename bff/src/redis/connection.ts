import { createClient, type RESP_TYPES } from 'redis'

/** A server and how it lets us in. */
export type Target = {
  host: string
  port: number
  tls: boolean
  username?: string
  password?: string
  database?: number
}

/** Reads `redis://` or `rediss://`, `user:password@host:port/database`. */
export function targetOf(url: string): Target {
  const { protocol, hostname, port, username, password, pathname } = new URL(url)
  return {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port || 6379),
    tls: protocol === 'rediss:',
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    ...(pathname.length < 2 ? {} : { database: Number(pathname.slice(1)) }),
  }
}

/** The name that a server gave itself as it started: behind one address there may be another by now. */
export async function serverOf(client: Client): Promise<string> {
  const name = /^run_id:(\w+)/m.exec(String(await client.sendCommand(['INFO', 'server'])))?.[1]
  if (name === undefined) throw new Error('redis does not tell its run_id')
  return name
}

/** The work's result, or an error after `ms`. The work itself is not stopped. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

type Settings = {
  emitInvalidate?: boolean
  commandOptions?: { typeMapping: { [RESP_TYPES.BLOB_STRING]: typeof Buffer } }
  commandsQueueMaxLength?: number
}

function newClient({ host, port, tls, ...rest }: Target, settings: Settings) {
  const secured = tls ? { tls } : {}
  return createClient({
    ...rest,
    ...settings,
    RESP: 3,
    name: 'bff',
    disableOfflineQueue: true,
    maintNotifications: 'disabled',
    // The next connection may lead elsewhere, so a client lives as long as its connection.
    socket: { host, port, connectTimeout: openLimit, reconnectStrategy: false, ...secured },
  })
}

/** One connection of node-redis; strings unless its settings say otherwise. */
export type Client = ReturnType<typeof newClient>

export type Connection = {
  /** Undefined while there is none. */
  readonly client: Client | undefined
  /** What `prepare` called the process at the other end. */
  readonly server: string | undefined
  /** Gives the present connection up; another is opened where `find` leads then. */
  drop(cause: Error): void
  /** Gives the present connection up if it leads to another server than this. */
  follow(server: { host: string; port: number }): void
  close(): void
}

/** ms between two pings. */
const pingEvery = 1_000
/**
 * Pings without an answer after which a connection is given up, so that a half-open one cannot last. A time-out of its
 * socket would not do: what is written counts there, too, and is written all the time.
 */
const patience = 3
/** ms from the first packet until a connection is of use. */
const openLimit = 1_000
/** ms that a connection must last before the next one after it is opened without a pause. */
const steady = 1_000

/** Keeps one connection open for ever: each time it is lost, the server is looked for anew. */
export function keepConnection(options: {
  find(): Promise<Target>
  settings?: Settings
  /** What a connection needs before it is of use, and the server's name; when it rejects, the connection is given up. */
  prepare?(client: Client): Promise<string>
  onReady?(client: Client, target: Target): void
  /**
   * Called at once when an outage begins, also when there never was a connection; and again for each other reason that
   * a try meets: who has repaired one must see the next.
   */
  onAway?(cause: Error, isFirst: boolean): void
}): Connection {
  let client: Client | undefined
  let target: Target | undefined
  let server: string | undefined
  let tries = 0
  let readyAt = 0
  /** Reasons that were told of the present outage. */
  const told = new Set<string>()
  let closed = false
  let pause: NodeJS.Timeout | undefined
  let beat: NodeJS.Timeout | undefined
  let lose: (cause: Error) => void = () => undefined

  const open = (): void => {
    let opened: Client | undefined
    let isLost = false
    const limit = setTimeout(() => lost(new Error(`no connection within ${openLimit} ms`)), openLimit)
    const lost = (cause: Error): void => {
      if (isLost) return
      isLost = true
      clearTimeout(limit)
      clearInterval(beat)
      if (client !== undefined && performance.now() - readyAt >= steady) tries = 0
      client = target = server = undefined
      opened?.destroy()
      if (closed) return
      const isFirst = told.size === 0
      const reason = cause.message || String((cause as NodeJS.ErrnoException).code)
      if (!told.has(reason)) options.onAway?.(cause, isFirst)
      told.add(reason)
      pause = setTimeout(open, Math.min(20 * 2 ** tries++, 500) + Math.random() * 50)
    }
    lose = lost
    const prepared = async (): Promise<void> => {
      const found = await options.find()
      if (isLost) return
      opened = newClient(found, options.settings ?? {})
      opened.on('error', lost)
      await opened.connect()
      const name = isLost ? undefined : await options.prepare?.(opened)
      // Given up while its socket was being opened: node-redis knows that socket only now.
      if (isLost) return opened.destroy()
      clearTimeout(limit)
      told.clear()
      readyAt = performance.now()
      client = opened
      target = found
      server = name
      let unanswered = 0
      const heard = () => {
        unanswered = 0
      }
      // Not node-redis's own pings: when too many commands wait for one more, it takes that for an error of the connection.
      const ping = (client: Client) => {
        if (unanswered === patience) return lost(new Error(`redis answered no ping for ${patience * pingEvery} ms`))
        unanswered++
        client.ping().then(heard, () => undefined)
      }
      beat = setInterval(ping, pingEvery, opened)
      options.onReady?.(opened, found)
    }
    prepared().catch(lost)
  }
  open()

  return {
    get client() {
      return client
    },
    get server() {
      return server
    },
    drop: cause => lose(cause),
    follow({ host, port }) {
      if (target !== undefined && (target.host !== host || target.port !== port))
        lose(new Error('another server is the master now'))
    },
    close() {
      closed = true
      clearTimeout(pause)
      lose(new Error('closed'))
    },
  }
}
