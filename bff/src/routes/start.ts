import { problem } from '@banking/contracts'
import { refusals, type Server } from '@banking/http'
import Type from 'typebox'
import type { Login } from '../login/login.ts'
import type { LoopBreaker } from '../login/loop-breaker.ts'
import { returnAddress } from '../login/return-address.ts'
import type { Pages } from '../pages/pages.ts'
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

/** Begins a login. Safe to link to: who comes from another site and is not signed in sees the sign-in page first. */
export default async function start(
  app: Server,
  options: { login: Login; sessions: Sessions; pages: Pages; publicOrigin: string; breaker: LoopBreaker },
): Promise<void> {
  const { login, sessions, pages, publicOrigin, breaker } = options
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
      const cookie = sessionCookieOf(request)
      // With a session at the provider a login asks nothing. Another site could begin them one after another, unseen, and
      // push the person's other devices out: there the person says so first.
      if (isFromAnotherSite(request.headers) && cookie === undefined) return pages.bounceBack(reply, returnTo)
      const found = await sessions.find(cookie)
      const restarted = request.query.again !== undefined
      if (restarted && 'session' in found) return reply.redirect(returnTo, 302)
      breaker.count(request, reply)
      const replaces = 'session' in found ? { replaces: found.session.id } : {}
      return reply.redirect(await login.begin(request, reply, { returnTo, ...replaces }, { restarted }), 302)
    },
  )
}
