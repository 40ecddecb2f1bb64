import { problem } from '@banking/contracts'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Admission } from '../proxy/limits.ts'
import { isForOwnPage, isFromOwnScript } from './csrf.ts'
import { loginRequired, type Session, type Sessions } from './sessions.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The session of this request; null before {@link FastifyInstance.requireSession} has run. */
    session: Session | null
  }
  interface FastifyInstance {
    sessionCookie: SessionCookie & { pattern: RegExp }
    /** onRequest hook: from our own script and logged in, or 403 `csrf_refused`, 401 `login_required`. */
    requireSession: (request: FastifyRequest, reply: FastifyReply) => Promise<void>
    /** The same for pages and forms, which cannot send X-CSRF: where the request comes from decides. */
    requirePageSession: (request: FastifyRequest, reply: FastifyReply) => Promise<void>
  }
}

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

/** A cookie of exactly this name, where a cookie begins: not one that ends like it, nor a value that quotes it. */
const exactly = (name: string): RegExp => new RegExp(`(?:^|;)[ \\t]*${name}[ \\t]*=`, 'g')

/** The cookie, unless it came twice: then somebody put one beside it, and neither is believed. */
export function sessionCookieOf(request: FastifyRequest): string | undefined {
  const { name, pattern } = request.server.sessionCookie
  const occurrences = request.headers.cookie?.match(pattern)?.length
  return occurrences === 1 ? request.cookies[name] : undefined
}

/** Cookie ↔ session. The session decides who asks; no other part of a request does. */
export default fp(
  async (app, options: { sessions: Sessions; publicOrigin: string; admission: Admission; cookie: SessionCookie }) => {
    const { sessions, publicOrigin, admission, cookie: named } = options
    app.decorate('sessionCookie', { ...named, pattern: exactly(named.name) })
    app.decorateRequest('session', null)
    const guard = (isOurs: typeof isFromOwnScript) => async (request: FastifyRequest, reply: FastifyReply) => {
      if (!isOurs(request.method, request.headers, publicOrigin)) throw problem('csrf_refused')
      const cookie = sessionCookieOf(request)
      const found = await sessions.find(cookie)
      if ('over' in found) {
        if (cookie !== undefined) clearSessionCookie(reply)
        throw loginRequired(found.over)
      }
      const admitted = admission.admitSession(request, reply, found.session.id)
      if (admitted !== undefined) await admitted
      request.session = found.session
    }
    app.decorate('requireSession', guard(isFromOwnScript))
    app.decorate('requirePageSession', guard(isForOwnPage))
  },
  { name: 'session', dependencies: ['@fastify/cookie'] },
)
