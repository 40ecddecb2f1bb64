import auth from '@banking/auth'
import { audienceOf } from '@banking/contracts'
import { createServer, type Server } from '@banking/http'
import type { Logger, Metrics } from '@banking/telemetry'
import type { Events } from './events/events.ts'
import endUserSessions from './routes/end-user-sessions.ts'
import type { Sessions } from './sessions/sessions.ts'

export type InternalOptions = {
  issuer: string
  /** Where the issuer's keys are, when not where Keycloak has them. */
  jwksUrl?: string
  sessions: Sessions
  events: Events
  logger: Logger
  metrics: Metrics
  now: () => number
}

/**
 * What other services ask of the edge: bearer tokens, no cookies, on a host and port that no browser reaches. Each
 * route states who may call it, as in every service.
 */
export async function buildInternal(options: InternalOptions): Promise<Server> {
  const { issuer, jwksUrl, sessions, events, logger, metrics, now } = options
  const app = await createServer({
    title: 'Edge, internal',
    description: 'What other services ask of the edge. Not reachable for browsers.',
    logger,
    metrics,
  })
  await app.register(auth, {
    issuer,
    audience: audienceOf('bff'),
    logger,
    metrics,
    now,
    ...(jwksUrl === undefined ? {} : { jwksUrl }),
  })
  await app.register(endUserSessions, { sessions, events })
  return app
}
