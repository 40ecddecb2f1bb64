import { problem } from '@banking/contracts'
import { refusals, type Server } from '@banking/http'
import Type from 'typebox'
import type { Login } from '../login/login.ts'
import type { LoopBreaker } from '../login/loop-breaker.ts'
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
  options: { login: Login; sessions: Sessions; publicOrigin: string; breaker: LoopBreaker },
): Promise<void> {
  const { login, sessions, publicOrigin, breaker } = options
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
      breaker.count(request, reply)
      const replaces = 'session' in found ? { replaces: found.session.id } : {}
      return reply.redirect(await login.begin(request, reply, { returnTo, ...replaces }, { restarted }), 302)
    },
  )
}
