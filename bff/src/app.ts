import { type Problem, problem } from '@banking/contracts'
import { createServer, type Server } from '@banking/http'
import { inTrace, type Logger, type Metrics } from '@banking/telemetry'
import cookie from '@fastify/cookie'
import type { FastifyRequest } from 'fastify'
import { isCanonical } from './admission/canonical-path.ts'
import { addressBlock, clientAddress, trustedProxies } from './admission/client-address.ts'
import { createAdmission } from './admission/limits.ts'
import type { BffConfig } from './config/config.ts'
import { type Events, loggedEvents } from './events/events.ts'
import { createLogin } from './login/login.ts'
import { createLoginTransactions } from './login/login-transaction.ts'
import { createLoopBreaker } from './login/loop-breaker.ts'
import { createPages } from './pages/pages.ts'
import { securityHeaders } from './pages/security-headers.ts'
import startPage from './pages/start-page.ts'
import webApp from './pages/web-app.ts'
import type { ClientKeys } from './provider/client-keys.ts'
import { type Provider, ProviderError } from './provider/oidc.ts'
import type { CreateHttpClient } from './proxy/http-client.ts'
import proxy from './proxy/proxy.ts'
import type { Redis } from './redis.ts'
import { tellRefusals } from './refusal-events.ts'
import backchannelLogout from './routes/backchannel-logout.ts'
import callback from './routes/callback.ts'
import jwks from './routes/jwks.ts'
import ownSessions from './routes/sessions.ts'
import signIn from './routes/sign-in.ts'
import signOut from './routes/sign-out.ts'
import start from './routes/start.ts'
import userinfo from './routes/userinfo.ts'
import { createExchange } from './sessions/exchange.ts'
import session, { sessionCookieOf } from './sessions/session.ts'
import { createSessionStore } from './sessions/session-store.ts'
import { createSessions, type Session, type Sessions } from './sessions/sessions.ts'
import { createStreams, type Streams } from './sessions/streams.ts'

export type Dependencies = {
  config: BffConfig
  provider: Provider
  /** What the client publishes, when it has keys and not a secret. */
  keys: ClientKeys | undefined
  redis: Redis
  logger: Logger
  metrics: Metrics
  /** Where the audit trail goes; the log when nothing else is said. */
  events?: Events
  /** What speaks to the upstreams, for measurements of another than our own. */
  client?: CreateHttpClient
  /** Epoch ms. */
  now?: () => number
}

/** ms that the end waits for refreshes: within the time that a process is given to stop. */
const drainAtMost = 5_000

/** The whole edge. What it answers to the browser is all here; what it stands on is given to it. */
export async function buildApp(
  dependencies: Dependencies,
): Promise<{ app: Server; sessions: Sessions; streams: Streams }> {
  const { config, provider, keys, redis, logger, metrics } = dependencies
  const { publicOrigin, sessionKeys, limits } = config
  const isTrusted = trustedProxies(config.trustedProxies)
  const now = dependencies.now ?? Date.now
  const events = dependencies.events ?? loggedEvents(logger)
  const headers = securityHeaders({ issuer: config.provider.issuer, publicOrigin, hsts: config.hsts })

  const { perUser, ...times } = config.session
  const store = createSessionStore(redis, times.absolute)
  const sessions = createSessions({ store, keys: sessionKeys, provider, times, perUser, events, logger, metrics, now })
  const exchange = createExchange({ store, keys: sessionKeys, provider, sessions, logger, metrics, now })
  const streams = createStreams({ sessions, logger, metrics })
  const login = createLogin({
    transactions: createLoginTransactions(redis, sessionKeys, now),
    provider,
    events,
    most: limits.concurrentLogins,
  })
  const pages = createPages(config.brand, publicOrigin)
  const breaker = createLoopBreaker(now)
  sessions.onEnd(id => {
    exchange.forget(id)
    streams.close(id)
  })
  // Another replica may have ended it; if it was only refreshed, its tokens are in the store.
  sessions.onChange(exchange.forget)

  const admission = createAdmission({
    limits,
    trustedProxies: isTrusted,
    redis,
    logger,
    metrics,
  })

  const app = await createServer({
    title: 'Edge',
    description: 'Login, sessions and the way to the services. Browsers only: tokens stay here.',
    securitySchemes: {
      session: {
        type: 'apiKey',
        in: 'cookie',
        name: config.cookie.name,
        description: 'The session cookie; a script sends X-CSRF: 1 beside it.',
      },
    },
    logger,
    metrics,
    continueTrace: false,
    headers,
    pageOf: pages.pageOf,
    translators: [asProviderProblem],
    onRefused: tellRefusals({ events, sessions }),
    bodyRate: limits.bodyRate,
    connections: {
      most: limits.connections,
      mostPerClient: limits.addressConnections,
      clientOf: address => {
        const client = clientAddress(address, [], isTrusted)
        return isTrusted(client) ? undefined : addressBlock(client)
      },
    },
  })
  const admit = (request: FastifyRequest, known: Session | undefined, done: (error?: Error) => void): void => {
    let waiting: Promise<void> | undefined
    try {
      waiting = admission.admitAddress(request, known !== undefined)
    } catch (error) {
      done(error as Error)
      return
    }
    if (waiting !== undefined) return void waiting.then(() => done(), done)
    // Good for this turn only: who had to wait looks again.
    request.knownSession = known
    done()
  }
  // One hook that calls back, for all that a forwarded request passes: each further one, and each promise, would cost it
  // more than most of what is done here.
  app.addHook('onRequest', (request, _reply, done) => {
    const { raw } = request
    const url = raw.url as string
    if (!isCanonical(url)) return done(problem('path_malformed'))
    if (countOf(raw.rawHeaders, 'host') > 1) return done(problem('request_invalid', 'host was sent twice'))
    const cookie = sessionCookieOf(request)
    const known = cookie === undefined ? undefined : sessions.cached(cookie)
    // With a session at hand a request is only forwarded, and what is more than that is done in its name there.
    if (known !== undefined && !url.startsWith('/oauth2/')) admit(request, known, done)
    else inTrace(request.trace, () => admit(request, known, done))
  })
  // Nothing is parsed for every request: see `cookiesOf`.
  await app.register(cookie, { hook: false })
  await app.register(pages.plugin)
  await app.register(session, { sessions, publicOrigin, admission, cookie: config.cookie })
  await app.register(start, { login, sessions, pages, publicOrigin, breaker })
  await app.register(signIn, { sessions, pages, publicOrigin, breaker })
  await app.register(callback, { login, sessions, provider, pages, events, absolute: config.session.absolute, now })
  await app.register(userinfo, { sessions, idle: config.session.idle })
  const { issuer } = config.provider
  await app.register(signOut, { sessions, provider, issuer, pages, hasWebApp: config.web !== undefined, publicOrigin })
  await app.register(ownSessions, { sessions })
  await app.register(backchannelLogout, { sessions, provider, redis, events, now })
  if (keys !== undefined) await app.register(jwks, { keys })
  const { upstreams, web } = config
  await app.register(proxy, {
    admission,
    upstreams,
    sessions,
    exchange,
    streams,
    pages,
    publicOrigin,
    metrics,
    headers,
    sessionCookie: config.cookie.name,
    client: dependencies.client,
  })
  if (web !== undefined) await app.register(webApp, { ...web, pages })
  else if (upstreams.every(({ prefix }) => prefix !== '/'))
    await app.register(startPage, { sessions, admission, pages, now })
  // Before the server waits for its connections: an open stream would hold it for ever.
  app.addHook('preClose', async () => streams.closeAll())
  // After the last request: a refresh that nobody waits for may have begun with it.
  app.addHook('onClose', () => sessions.drain(drainAtMost))
  return { app, sessions, streams }
}

/** What is left of a provider's failure once nobody could use the old token any more. */
function asProviderProblem(error: unknown): Problem | undefined {
  if (!(error instanceof ProviderError)) return undefined
  return problem('provider_unavailable', undefined, { headers: { 'retry-after': '5' }, cause: error })
}

function countOf(rawHeaders: readonly string[], name: string): number {
  let count = 0
  for (let at = 0; at < rawHeaders.length; at += 2)
    if (rawHeaders[at]?.length === name.length && rawHeaders[at]?.toLowerCase() === name) count++
  return count
}
