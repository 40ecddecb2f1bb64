import { problem } from '@banking/contracts'
import type { Logger, Metrics } from '@banking/telemetry'
import { createClient, RESP_TYPES } from 'redis'

/** What Redis answers, with binary-safe strings. */
type Reply = Buffer | number | null | Reply[]

/** Redis as the edge uses it: an answer within the time limit, or `sessions_unavailable`. */
export type Redis = {
  run(command: string, ...args: (string | Buffer)[]): Promise<Reply>
  /** Runs a Lua script: atomic, and its keys must share one hash tag. */
  script(text: string, keys: readonly string[], args: readonly (string | Buffer)[]): Promise<Reply>
  check(): Promise<void>
  close(): Promise<void>
}

/** ms that Redis may be silent while a command waits. node-redis's own option does not reach a command that was already written. */
const commandTimeout = 250
/** Half time limits that a command may take in all while answers to others keep coming. */
const patience = 8
const connectTimeout = 1_000
/** ms; a connection that answers no ping for this long is given up, so a half-open one cannot last. */
const silence = 3_000

/**
 * Connects in the background and keeps doing so for ever. Nothing is queued while there is no connection: a command
 * fails at once, and an error is never taken for an answer.
 */
export function connectRedis(options: { url: string; logger: Logger; metrics: Metrics }): Redis {
  const { logger } = options
  const seconds = options.metrics.histogram('redis_command_duration_seconds', 'Time until Redis answered.', ['command'])
  const failures = options.metrics.counter('redis_failures_total', 'Commands without an answer.', ['command'])
  const client = createClient({
    url: options.url,
    name: 'bff',
    disableOfflineQueue: true,
    pingInterval: silence / 3,
    maintNotifications: 'disabled',
    commandsQueueMaxLength: 10_000,
    commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
    socket: {
      connectTimeout,
      socketTimeout: silence,
      reconnectStrategy: retries => Math.min(20 * 2 ** retries, 500) + Math.random() * 50,
    },
  })
  let isAway = false
  client.on('ready', () => {
    isAway = false
    logger.info('connected to redis')
  })
  client.on('error', (err: Error) => {
    // One line when it goes, or was never there; each failed try to reconnect would be another.
    if (!isAway) logger.error({ err }, 'no connection to redis')
    isAway = true
  })
  client.connect().catch((err: Error) => logger.debug({ err }, 'no longer connecting to redis'))

  /** Answers that came. They come in order: while they do, Redis is not silent but this process behind. */
  let heard = 0
  const timed = async (command: string, work: () => Promise<unknown>): Promise<Reply> => {
    const started = performance.now()
    let timer: NodeJS.Timeout | undefined
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
    try {
      const reply = await Promise.race([work(), late])
      heard++
      seconds.observe({ command }, (performance.now() - started) / 1000)
      return reply as Reply
    } catch (cause) {
      failures.inc({ command })
      throw problem('sessions_unavailable', undefined, { headers: { 'retry-after': '1' }, cause })
    } finally {
      clearTimeout(timer)
    }
  }
  const run: Redis['run'] = (command, ...args) => timed(command, () => client.sendCommand([command, ...args]))

  return {
    run,
    script: (text, keys, args) => run('EVAL', text, String(keys.length), ...keys, ...args),
    check: async () => {
      await run('PING')
    },
    close: async () => {
      if (client.isOpen) client.destroy()
    },
  }
}
