import type { Logger, Metrics } from '@banking/telemetry'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController, type RouteHandlerMethod } from 'fastify'
import { handleProblems } from './problem-handler.ts'

/** One thing a process cannot work without; rejects or throws while it is missing. */
export type Check = {
  name: string
  check: () => Promise<void>
  /** A failure is shown but does not flip `/ready`. */
  optional?: boolean
}

const checkTimeout = 1_000

/**
 * `/ping` (the process answers), `/ready` (it can work: 200 or 503 with the failed checks by name, never their
 * errors; also at `/`, the address that is told to programs) and `/metrics`, on a port of their own that no route from
 * outside leads to.
 */
export function healthServer(options: {
  checks: readonly Check[]
  metrics: Metrics
  logger: Logger
  isDraining: () => boolean
}): FastifyInstance {
  const app = Fastify({
    loggerInstance: options.logger as FastifyBaseLogger,
    // It is asked every few seconds: only what goes wrong is worth a line.
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: true,
  })
  handleProblems(app, [])
  app.get('/ping', async () => ({ status: 'ok' }))
  const ready: RouteHandlerMethod = async (_request, reply) => {
    const results = await Promise.all(options.checks.map(async check => ({ ...check, ok: await passes(check) })))
    const failed = results.filter(result => !result.ok && result.optional !== true)
    const checks = Object.fromEntries(results.map(result => [result.name, result.ok ? 'ok' : 'failed']))
    const draining = options.isDraining()
    const isReady = failed.length === 0 && !draining
    const status = draining ? 'draining' : isReady ? 'ready' : 'not ready'
    return reply.code(isReady ? 200 : 503).send({ status, checks })
  }
  for (const url of ['/', '/ready']) app.get(url, ready)
  app.get('/metrics', async (_request, reply) =>
    reply.type(options.metrics.contentType).send(await options.metrics.text()),
  )
  return app
}

async function passes({ check }: Check): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>(resolve => {
    timer = setTimeout(resolve, checkTimeout, false)
  })
  const done = check().then(
    () => true,
    () => false,
  )
  return Promise.race([done, late]).finally(() => clearTimeout(timer))
}
