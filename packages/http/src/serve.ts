import type { Logger, Metrics } from '@banking/telemetry'
import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import { type Check, healthServer } from './health.ts'

export type ServeOptions = {
  host: string
  port: number
  healthPort: number
  checks: readonly Check[]
  metrics: Metrics
  logger: Logger
  /**
   * ms that a process which was told to stop still accepts connections while `/ready` answers 503: until whoever
   * balances has noticed. 0 where nobody does.
   */
  drainDelay?: number
  /** Ends what holds requests open (streams), before connections are drained. */
  onDrain?: () => Promise<void> | void
  /** Closes what the app stood on, after the last request. */
  onClose?: () => Promise<void>
}

/** ms until a process that does not finish by itself is ended, beside the delay. */
const grace = 10_000

/**
 * Listens, answers health on its own port, and stops in order on SIGTERM or SIGINT: not ready, each connection told to
 * go with its next answer, no new ones, streams told to reconnect, requests finished, connections closed, exit 0. An
 * uncaught error is logged and stops it the same way, without the delay.
 */
export async function serve(app: FastifyInstance, options: ServeOptions): Promise<void> {
  const { logger, drainDelay = 0 } = options
  let draining = false
  const health = healthServer({ checks: options.checks, metrics: options.metrics, logger, isDraining: () => draining })
  // With our logger: a close that fails, or takes longer than its grace, ends the process with a reason.
  closeWithGrace({ delay: drainDelay + grace, logger }, async ({ err, signal }) => {
    draining = true
    if (err) logger.fatal({ err }, 'stopping after an uncaught error')
    else logger.info({ signal }, 'stopping')
    // RFC 9112 §9.6: who is told beforehand sends nothing more on a connection that is about to close.
    app.server.prependListener('request', (_request, response) => response.setHeader('connection', 'close'))
    if (!err) await new Promise(resolve => setTimeout(resolve, drainDelay))
    await options.onDrain?.()
    await app.close()
    await options.onClose?.()
    await health.close()
    logger.info('stopped')
    // The exit writes at once what is left, before what is being written: the last lines would change places.
    await new Promise(resolve => logger.flush(resolve))
  })
  await app.listen({ host: options.host, port: options.port })
  await health.listen({ host: options.host, port: options.healthPort })
  logger.info({ port: options.port, healthPort: options.healthPort }, 'listening')
}
