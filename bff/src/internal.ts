import auth, { type AuthOptions } from '@banking/auth'
import { createServer, type Server } from '@banking/http'
import type { Logger, Metrics } from '@banking/telemetry'
import type { BffConfig } from './config/config.ts'
import type { Events } from './events/events.ts'
import endUserSessions from './routes/end-user-sessions.ts'
import type { Sessions } from './sessions/sessions.ts'

/** Which tokens open the listener, and where it is. */
type InternalConfig = NonNullable<BffConfig['internal']>

export type InternalOptions = Omit<InternalConfig, 'host' | 'port' | 'jwksUrl'> & {
  issuer: string
  /** The client of the edge: a person's token that it holds is known for one, and opens nothing here. */
  clientId: string
  jwksUrl: NonNullable<AuthOptions['jwksUrl']>
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
  const { callers, scope, sessions, events, logger, metrics } = options
  const { issuer, audience, algorithms, tokenType, clientClaim, jwksUrl, now } = options
  const app = await createServer({
    title: 'Edge, internal',
    description: 'What other services ask of the edge. Not reachable for browsers.',
    logger,
    metrics,
  })
  await app.register(auth, {
    issuer,
    audience,
    algorithms,
    tokenType,
    jwksUrl,
    now,
    ...(clientClaim === undefined ? {} : { clientClaim }),
    clients: [options.clientId],
    // Keycloak's claim; others have none.
    kindClaim: false,
    maxLifetime: options.tokenLifetime / 1000,
    logger,
    metrics,
  })
  await app.register(endUserSessions, { callers, scope, sessions, events })
  return app
}
