import { problem } from '@banking/contracts'
import { refusals, type Server } from '@banking/http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { Login } from '../login/login.ts'
import { returnAddress } from '../login/return-address.ts'
import { isFromAnotherSite, isNavigation } from '../sessions/csrf.ts'
import { sessionCookieOf } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'

const query = Type.Object({
  return_to: Type.Optional(
    Type.String({ maxLength: 4096, description: 'path of this site to come back to; anything else means "/"' }),
  ),
  again: Type.Optional(
    Type.String({ maxLength: 8, description: 'set when a login is begun anew by itself: a live session is kept' }),
  ),
})

/** Begins a login. Safe to link to: all it does is ask the provider who this is. */
export default async function start(
  app: Server,
  options: { login: Login; sessions: Sessions; publicOrigin: string; now: () => number },
): Promise<void> {
  const { login, sessions, publicOrigin, now } = options
  app.get(
    '/oauth2/start',
    {
      exposeHeadRoute: false,
      schema: {
        operationId: 'startLogin',
        summary: 'Redirects to the identity provider’s login page',
        querystring: query,
        tags: ['login'],
        response: { 302: Type.Null({ description: 'to the identity provider' }), ...refusals },
      },
    },
    async (request, reply) => {
      // An image or script of another site could make us push requests at the provider for every visitor it has.
      if (isFromAnotherSite(request.headers) && !isNavigation(request.method, request.headers))
        throw problem('csrf_refused')
      const returnTo = returnAddress(request.query.return_to, publicOrigin) ?? '/'
      const found = await sessions.find(sessionCookieOf(request))
      const restarted = request.query.again !== undefined
      if (restarted && 'session' in found) return reply.redirect(returnTo, 302)
      countAttempt(request, reply, now())
      const replaces = 'session' in found ? { replaces: found.session.id } : {}
      return reply.redirect(await login.begin(request, reply, { returnTo, ...replaces }, { restarted }), 302)
    },
  )
}

const attemptsCookie = '__Host-attempts'
const window = 60_000
const attempts = 8

/**
 * Stops a browser that is sent round in circles, e.g. because it does not keep our session cookie. The count is the
 * browser's own: it protects nobody but the person before it.
 */
function countAttempt(request: FastifyRequest, reply: FastifyReply, now: number): void {
  const [count = 0, since = now] = (request.cookies[attemptsCookie] ?? '')
    .split('.')
    .map(Number)
    .filter(part => Number.isSafeInteger(part) && part > 0)
  const isSameWindow = since <= now && now - since < window
  const next = isSameWindow ? count + 1 : 1
  const start = isSameWindow ? since : now
  if (next > attempts)
    throw problem('login_looping', undefined, {
      headers: { 'retry-after': String(Math.ceil((start + window - now) / 1000)) },
    })
  reply.setCookie(attemptsCookie, `${next}.${start}`, {
    path: '/',
    secure: true,
    httpOnly: true,
    sameSite: 'lax',
    maxAge: window / 1000,
  })
}
