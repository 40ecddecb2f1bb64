import { timingSafeEqual } from 'node:crypto'
import { problem } from '@banking/contracts'
import { refusals, type Server } from '@banking/http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { edgeCookiePrefix } from '../login/login-transaction.ts'
import type { Pages } from '../pages/pages.ts'
import { newNonce, type Provider } from '../provider/oidc.ts'
import { cookiesOf } from '../sessions/cookies.ts'
import { isFromOwnPage } from '../sessions/csrf.ts'
import { clearSessionCookie, sessionCookieOf } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'

const Location = Type.Object({
  location: Type.String({ description: 'where to go now: the provider’s logout, which leads back here' }),
})

/**
 * Ends the session: here first, then the refresh token at the provider, which nobody waits for, and the provider's own
 * session in the browser. A provider that does not answer keeps nobody logged in, and nobody waiting.
 */
export default async function signOut(
  app: Server,
  options: {
    sessions: Sessions
    provider: Provider
    /** The provider's; its logout may be at another host. */
    issuer: string
    pages: Pages
    hasWebApp: boolean
    publicOrigin: string
  },
): Promise<void> {
  const { sessions, provider, pages, hasWebApp, publicOrigin } = options
  // Where `form-action` lets a form of ours be redirected to.
  const formTargets = [publicOrigin, new URL(options.issuer).origin]
  // A form of our own page sends its fields; there is nothing in them that we need.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { bodyLimit: 16 * 1024, parseAs: 'string' }, (_request, _body, done) => done(null))

  app.post(
    '/oauth2/sign_out',
    {
      schema: {
        operationId: 'signOut',
        summary: 'Ends the session; a script sends X-CSRF: 1, a form of this site needs nothing',
        tags: ['session'],
        security: [{ session: [] }, {}],
        response: { 200: Location, 303: Type.Null({ description: 'a form’s answer' }), ...refusals },
      },
    },
    async (request, reply) => {
      if (!isFromOwnPage(request.method, request.headers, publicOrigin)) throw problem('csrf_refused')
      const isScript = request.headers['x-csrf'] === '1'
      if (!isScript && request.headers['x-csrf'] !== undefined) throw problem('csrf_refused')
      const location = await end(request, reply)
      reply.header('cache-control', 'no-store').header('clear-site-data', '"storage"')
      if (isScript) return { location }
      const isFormTarget = formTargets.includes(new URL(location, publicOrigin).origin)
      return isFormTarget ? reply.redirect(location, 303) : pages.signOutAt(reply, location)
    },
  )

  const end = async (request: FastifyRequest, reply: FastifyReply): Promise<string> => {
    const cookie = sessionCookieOf(request)
    const found = await sessions.find(cookie)
    if (!('session' in found)) {
      if (request.headers.cookie !== undefined) clearSessionCookie(reply)
      return '/'
    }
    const { session } = found
    await sessions.end(session, 'ended')
    clearSessionCookie(reply)
    request.log.info('logged out')
    sessions.revoke(session)
    const state = newNonce()
    const back = `/oauth2/signed_out?state=${state}`
    reply.setCookie(stateCookie, state, { ...stateAttributes, maxAge: 600 })
    try {
      return (await provider.endSessionUrl(session.tokens.idToken, state)) ?? back
    } catch (err) {
      request.log.warn({ err }, 'the provider’s logout cannot be offered')
      return back
    }
  }

  app.get('/oauth2/signed_out', { exposeHeadRoute: false, schema: { hide: true } }, async (request, reply) => {
    const given = new URLSearchParams((request.raw.url as string).split('?')[1] ?? '').getAll('state')
    const expected = cookiesOf(request)[stateCookie]
    if (expected === undefined || given.length !== 1 || !isSame(given[0] as string, expected))
      throw problem('logout_unconfirmed')
    reply.setCookie(stateCookie, '', { ...stateAttributes, maxAge: 0 })
    // The web app says it in its own words.
    return hasWebApp ? reply.redirect('/', 303) : pages.signedOut(reply)
  })
}

/** Binds the provider's way back (RP-Initiated Logout §2, `state`) to the browser that asked for it. */
const stateCookie = `${edgeCookiePrefix}signing-out`
/** Lax: the provider is another site. */
const stateAttributes = { path: '/', secure: true, httpOnly: true, sameSite: 'lax' } as const

function isSame(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)]
  return a.length === b.length && timingSafeEqual(a, b)
}
