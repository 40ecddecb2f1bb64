import type { Server } from '@banking/http'
import Type from 'typebox'
import type { LoopBreaker } from '../login/loop-breaker.ts'
import { returnAddress } from '../login/return-address.ts'
import type { Pages } from '../pages/pages.ts'
import { clearSessionCookie, sessionCookieOf } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'

const query = Type.Object({ return_to: Type.Optional(Type.String({ maxLength: 4096 })) })

/**
 * Where a link from another site goes first: that one came without our Strict cookie, this one is our own page's and
 * has it. Whoever is signed in goes on to where they wanted, fragment included; the others see the sign-in page.
 */
export default async function signIn(
  app: Server,
  options: { sessions: Sessions; pages: Pages; publicOrigin: string; breaker: LoopBreaker },
): Promise<void> {
  const { sessions, pages, publicOrigin, breaker } = options
  app.get(
    '/oauth2/sign_in',
    { exposeHeadRoute: false, schema: { querystring: query, hide: true } },
    async (request, reply) => {
      const address = returnAddress(request.query.return_to, publicOrigin) ?? '/'
      const cookie = sessionCookieOf(request)
      const found = await sessions.find(cookie)
      if ('over' in found && cookie !== undefined) clearSessionCookie(reply)
      if ('over' in found) return pages.signIn(reply, 401, address, found.over)
      breaker.count(request, reply)
      return reply.redirect(address, 302)
    },
  )
}
