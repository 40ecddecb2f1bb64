import { problem } from '@banking/contracts'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Admission } from '../admission/limits.ts'
import { onlyCookie } from './cookies.ts'
import { isForOwnPage, isFromOwnScript } from './csrf.ts'
import { type Lookup, loginRequired, type Session, type Sessions } from './sessions.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The session of its cookie, if it was found at hand in this turn of the loop; its guard still decides. */
    knownSession: Session | undefined
    /** What {@link sessionCookieOf} found; null before it has looked. */
    presentedCookie: string | undefined | null
    /** The session of this request; null before {@link FastifyInstance.requireSession} has run. */
    session: Session | null
  }
  interface FastifyInstance {
    sessionCookie: SessionCookie
    /** onRequest hook: from our own script and logged in, or 403 `csrf_refused`, 401 `login_required`. */
    requireSession: Guard
    /** The same for pages and forms, which cannot send X-CSRF: where the request comes from decides. */
    requirePageSession: Guard
  }
}

/** An onRequest hook that is done at once when the session is at hand, without a promise. */
type Guard = (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => void

/** The session cookie's name, which begins with `__Host-`, and whether links from other sites bring it along. */
type SessionCookie = { name: string; sameSite: 'strict' | 'lax' }

/** RFC 6265bis: with the prefix a browser takes it from us alone, over HTTPS, for all paths and no other host. */
const attributes = ({ sameSite }: SessionCookie) => ({ path: '/', secure: true, httpOnly: true, sameSite })

export function setSessionCookie(reply: FastifyReply, value: string): FastifyReply {
  const { sessionCookie } = reply.server
  return reply.setCookie(sessionCookie.name, value, attributes(sessionCookie))
}

/** Deletes it with the same attributes: without Secure a browser would not let go of a `__Host-` cookie. */
export function clearSessionCookie(reply: FastifyReply): FastifyReply {
  const { sessionCookie } = reply.server
  return reply.setCookie(sessionCookie.name, '', { ...attributes(sessionCookie), maxAge: 0 })
}

/** The cookie, unless it came twice: then somebody put one beside it, and neither is believed. */
export function sessionCookieOf(request: FastifyRequest): string | undefined {
  if (request.presentedCookie === null) {
    const { cookie } = request.raw.headers
    request.presentedCookie = cookie === undefined ? undefined : onlyCookie(cookie, request.server.sessionCookie.name)
  }
  return request.presentedCookie
}

/** @throws Problem `login_required` when there is none, and takes its cookie back */
function requireFound(found: Lookup, request: FastifyRequest, reply: FastifyReply): Session {
  if ('session' in found) return found.session
  if (sessionCookieOf(request) !== undefined) clearSessionCookie(reply)
  throw loginRequired(found.over)
}

/**
 * Looks again whether the session of a request lives, for one that had to wait after its guard.
 *
 * @throws Problem `login_required`
 */
export async function confirmSession(
  sessions: Pick<Sessions, 'find'>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  requireFound(await sessions.find(sessionCookieOf(request)), request, reply)
}

/** Cookie ↔ session. The session decides who asks; no other part of a request does. */
export default fp(
  async (app, options: { sessions: Sessions; publicOrigin: string; admission: Admission; cookie: SessionCookie }) => {
    const { sessions, publicOrigin, admission, cookie: named } = options
    app.decorate('sessionCookie', named)
    app.decorateRequest('session', null)
    app.decorateRequest('presentedCookie', null)
    app.decorateRequest('knownSession', undefined)
    const guard = (isOurs: typeof isFromOwnScript): Guard => {
      const admit = (request: FastifyRequest, reply: FastifyReply, session: Session) => {
        const waiting = admission.admitSession(request, reply, session.id)
        if (waiting === undefined) request.session = session
        return waiting?.then(() => {
          request.session = session
        })
      }
      const admitFound = (request: FastifyRequest, reply: FastifyReply, found: Lookup) =>
        admit(request, reply, requireFound(found, request, reply))
      const find = (request: FastifyRequest, reply: FastifyReply) => {
        const found = sessions.find(sessionCookieOf(request))
        return found instanceof Promise
          ? found.then(late => admitFound(request, reply, late))
          : admitFound(request, reply, found)
      }
      return (request, reply, done) => {
        let waiting: Promise<void> | undefined
        try {
          if (!isOurs(request.method, request.raw.headers, publicOrigin)) throw problem('csrf_refused')
          const { knownSession } = request
          waiting = knownSession === undefined ? find(request, reply) : admit(request, reply, knownSession)
        } catch (error) {
          return done(error as Error)
        }
        if (waiting === undefined) done()
        else waiting.then(() => done(), done)
      }
    }
    app.decorate('requireSession', guard(isFromOwnScript))
    app.decorate('requirePageSession', guard(isForOwnPage))
  },
  { name: 'session', dependencies: ['@fastify/cookie'] },
)
