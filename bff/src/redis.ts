import { createHash } from 'node:crypto'
import { problem } from '@banking/contracts'
import type { Logger, Metrics } from '@banking/telemetry'
import { RESP_TYPES } from 'redis'
import { type Client, keepConnection, serverOf, type Target, targetOf, within } from './redis/connection.ts'
import { type SentinelConfig, type Sentinels, watchSentinels } from './redis/sentinel.ts'
import { type Tracking, type TrackingListener, trackKeys } from './redis/tracking.ts'

/** Which Redis: one server by its URL, or the master that Sentinel names. */
export type RedisConfig = (
  | { url: string }
  | { sentinel: SentinelConfig; username?: string; password?: string; tls?: boolean; database?: number }
) & {
  /** Before each key, so that others may use the same server. */
  prefix?: string
}

/** What Redis answers, with binary-safe strings. */
type Reply = Buffer | number | null | Reply[]

/**
 * Redis as the edge uses it: an answer within the time limit, or `sessions_unavailable`. Keys are named without the
 * prefix that is configured.
 */
export type Redis = {
  /** Runs a command of one key, or of none. */
  run(command: string, key?: string, ...args: (string | Buffer)[]): Promise<Reply>
  /** Runs commands in this order by one round trip; one without an answer is all without. */
  runAll(commands: readonly (readonly [command: string, key: string, ...args: string[]])[]): Promise<Reply[]>
  /** Deletes any number of keys by one command. */
  remove(keys: readonly string[]): Promise<void>
  /** Runs a Lua script, sent as a whole only to a server that does not have it: atomic, and its keys must share one hash tag. */
  script(text: string, keys: readonly string[], args: readonly (string | Buffer)[]): Promise<Reply>
  /**
   * Makes what was written so far likely to outlive a failover: waits up to 100 ms until a replica has it. Without
   * Sentinel there is no failover, and nothing to wait for. Never rejects: the write itself has happened.
   */
  settle(): Promise<void>
  /**
   * Tells every change of a key that begins with `space`, by Redis itself.
   *
   * @returns whether what the listener remembers may be used now: every change up to 600 ms ago has been told, by the
   * server that commands go to
   */
  track(space: string, listener: TrackingListener): () => boolean
  check(): Promise<void>
  close(): Promise<void>
}

/** ms that Redis may be silent while a command waits. node-redis's own option does not reach a command that was already written. */
const commandTimeout = 250
/** Half time limits that a command may take in all while answers to others keep coming. */
const patience = 8
/** ms that a write may wait for a replica. */
const settleTimeout = 100
/** What a server answers that cannot speak for the master's data: not yet, or no longer. */
const notTheMaster = /^(?:READONLY|LOADING|MASTERDOWN)\b/

/**
 * Connects in the background and keeps doing so for ever. Nothing is queued while there is no connection: a command
 * fails at once, and an error is never taken for an answer.
 */
export function connectRedis(options: RedisConfig & { logger: Logger; metrics: Metrics }): Redis {
  const { logger, metrics, prefix = '' } = options
  const seconds = metrics.histogram('redis_command_duration_seconds', 'Time until Redis answered.', ['command'])
  const failures = metrics.counter('redis_failures_total', 'Commands without an answer.', ['command'])
  const settles = metrics.counter('redis_settles_total', 'Waits for a replica by outcome.', ['outcome'])
  const losses = metrics.counter('redis_tracking_losses_total', 'Times that the local cache had to be forgotten.')
  const trackings: Tracking[] = []
  metrics.gauge('redis_connected', 'Whether commands can be sent: 1 or 0.', [], gauge => {
    gauge.set(commands.client === undefined ? 0 : 1)
  })
  metrics.gauge('redis_tracking_current', 'Whether local caches hear every change: 1 or 0.', [], gauge => {
    gauge.set(trackings.every(tracking => tracking.isCurrent()) ? 1 : 0)
  })

  const sentinels =
    'sentinel' in options
      ? watchSentinels(options.sentinel, master => {
          for (const connection of [commands, settling, ...trackings]) connection?.follow(master)
        })
      : undefined
  const find = async (): Promise<Target> => {
    if ('url' in options) return targetOf(options.url)
    const { tls = false, username, password, database } = options
    return {
      ...(await (sentinels as Sentinels).master()),
      tls,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      ...(database === undefined ? {} : { database }),
    }
  }
  /** Sentinel's clients are asked to see for themselves: it may name a master that has just been replaced. */
  const prepare = async (client: Client): Promise<string> => {
    if (sentinels !== undefined) {
      const [role] = (await client.sendCommand(['ROLE'])) as unknown as unknown[]
      if (String(role) !== 'master') throw new Error(`sentinel named a server that is a ${String(role)}`)
    }
    return serverOf(client)
  }

  const commands = keepConnection({
    find,
    prepare,
    settings: {
      commandsQueueMaxLength: 10_000,
      commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
    },
    onReady(_client, target) {
      logger.info({ host: target.host, port: target.port }, 'connected to redis')
      // One must not read from one server and hear of the changes of another.
      for (const tracking of trackings) tracking.join()
    },
    onAway: err => logger.error({ err }, 'no connection to redis'),
  })
  // WAIT holds up its whole connection.
  const settling = sentinels && keepConnection({ find, prepare })

  /** Answers that came. They come in order: while they do, Redis is not silent but this process behind. */
  let heard = 0
  const timed = async (command: string, work: (client: Client) => Promise<unknown>): Promise<Reply> => {
    const started = performance.now()
    const { client } = commands
    let timer: NodeJS.Timeout | undefined
    try {
      if (client === undefined) throw new Error('no connection to redis')
      const late = new Promise<never>((_resolve, reject) => {
        let known = heard
        let silent = 0
        let looks = 0
        const look = () => {
          silent = heard === known ? silent + 1 : 0
          known = heard
          if (silent === 2 || ++looks === patience)
            reject(new Error(`redis did not answer within ${Math.round(performance.now() - started)} ms`))
          else timer = setTimeout(look, commandTimeout / 2)
        }
        timer = setTimeout(look, commandTimeout / 2)
      })
      const reply = await Promise.race([work(client), late])
      heard++
      seconds.observe({ command }, (performance.now() - started) / 1000)
      return reply as Reply
    } catch (cause) {
      failures.inc({ command })
      if (client === commands.client && notTheMaster.test((cause as Error).message)) commands.drop(cause as Error)
      throw problem('sessions_unavailable', undefined, { headers: { 'retry-after': '1' }, cause })
    } finally {
      clearTimeout(timer)
    }
  }
  const run: Redis['run'] = (command, key, ...args) =>
    timed(command, client => client.sendCommand(key === undefined ? [command] : [command, prefix + key, ...args]))

  const hashes = new Map<string, string>()
  /** The name by which a server knows a script. */
  const hashOf = (script: string): string => {
    let hash = hashes.get(script)
    if (hash === undefined) {
      hash = createHash('sha1').update(script).digest('hex')
      hashes.set(script, hash)
    }
    return hash
  }

  /** WAIT counts what its own connection has written; the master's order makes that cover everything before. */
  const wait = async (): Promise<void> => {
    let outcome: 'replicated' | 'alone' | 'failed' = 'failed'
    try {
      const client = settling?.client
      if (client === undefined) throw new Error('no connection to redis')
      if (settling?.server !== commands.server) throw new Error('commands go to another server')
      const marked = client.sendCommand(['SET', `${prefix}settle`, '1', 'PX', '60000'])
      const waited = client.sendCommand(['WAIT', '1', String(settleTimeout)])
      const [, replicas] = await within(settleTimeout + commandTimeout, Promise.all([marked, waited]))
      outcome = Number(replicas) > 0 ? 'replicated' : 'alone'
      if (outcome === 'alone') logger.warn('no replica of redis has the last write: a failover now would lose it')
    } catch (err) {
      logger.warn({ err }, 'it is not known whether a replica of redis has the last write')
    }
    settles.inc({ outcome })
  }
  let waiting: Promise<void> | undefined
  let next: Promise<void> | undefined

  return {
    run,
    runAll: async commands => {
      const work = (client: Client) =>
        Promise.all(commands.map(([command, key, ...args]) => client.sendCommand([command, prefix + key, ...args])))
      return (await timed(commands[0]?.[0] as string, work)) as Reply[]
    },
    async remove(keys) {
      if (keys.length > 0) await timed('DEL', client => client.sendCommand(['DEL', ...keys.map(key => prefix + key)]))
    },
    script: (text, keys, args) =>
      timed('EVALSHA', client => {
        const rest = [String(keys.length), ...keys.map(key => prefix + key), ...args]
        return client.sendCommand(['EVALSHA', hashOf(text), ...rest]).catch(error => {
          // A server that has just started or become the master: whoever asks first brings it along.
          if (!(error as Error).message.startsWith('NOSCRIPT')) throw error
          return client.sendCommand(['EVAL', text, ...rest])
        })
      }),
    async settle() {
      if (settling === undefined) return
      // Who comes while one waits has written after its mark; all of them share the next one.
      next ??= (waiting ?? Promise.resolve()).then(() => {
        next = undefined
        waiting = wait()
        return waiting
      })
      return next
    },
    track(space, listener) {
      const tracking = trackKeys({
        find,
        prefix: prefix + space,
        listener: { ...listener, invalidated: key => listener.invalidated(key.slice(prefix.length)) },
        commandsAt: () => commands.server,
        onLost(err, isFirst) {
          if (isFirst) losses.inc()
          logger.warn({ err }, 'not told of changes by redis: nothing is cached')
        },
      })
      trackings.push(tracking)
      return tracking.isCurrent
    },
    check: async () => {
      await run('PING')
    },
    close: async () => {
      sentinels?.close()
      settling?.close()
      for (const tracking of trackings) tracking.close()
      commands.close()
    },
  }
}
