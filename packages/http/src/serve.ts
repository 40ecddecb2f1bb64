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
  /** Ends what holds requests open (streams), before connections are drained. */
  onDrain?: () => Promise<void> | void
  /** Closes what the app stood on, after the last request. */
  onClose?: () => Promise<void>
}

/** ms until a process that does not finish by itself is ended. */
const grace = 10_000

/**
 * Listens, answers health on its own port, and stops in order on SIGTERM or SIGINT: not ready, streams told to
 * reconnect, requests finished, connections closed, exit 0. An uncaught error is logged and stops it the same way.
 */
export async function serve(app: FastifyInstance, options: ServeOptions): Promise<void> {
  const { logger } = options
  let draining = false
  const health = healthServer({ checks: options.checks, metrics: options.metrics, logger, isDraining: () => draining })
  // With our logger: a close that fails, or takes longer than its grace, ends the process with a reason.
  closeWithGrace({ delay: grace, logger }, async ({ err, signal }) => {
    draining = true
    if (err) logger.fatal({ err }, 'stopping after an uncaught error')
    else logger.info({ signal }, 'stopping')
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
