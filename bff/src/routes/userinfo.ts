import { Problem } from '@banking/contracts'
import { refusals, type Server } from '@banking/http'
import type { onRequestHookHandler } from 'fastify'
import Type from 'typebox'
import type { Session, Sessions } from '../sessions/sessions.ts'

const time = Type.String({ format: 'date-time' })
const Userinfo = Type.Object({
  sub: Type.String(),
  name: Type.String(),
  givenName: Type.String(),
  email: Type.Optional(Type.String()),
  roles: Type.Array(Type.String()),
  session: Type.Object({
    createdAt: time,
    authTime: time,
    lastSeenAt: time,
    idleTimeoutAt: time,
    absoluteTimeoutAt: time,
  }),
})
const Nobody = Type.Object({ reason: Type.String({ description: 'how the last session ended, or none' }) })
const Query = Type.Object({
  anonymous: Type.Optional(Type.Literal('1', { description: 'nobody is an answer too: 200 with a reason, not 401' })),
})

/**
 * Who is logged in and how long yet. Asking never extends the session. A page that must ask before it knows says
 * `anonymous=1`: browsers report every 401 as an error on their console, and that nobody is there is none.
 */
export default async function userinfo(
  app: Server,
  { sessions, idle }: { sessions: Sessions; idle: number },
): Promise<void> {
  const findSession: onRequestHookHandler = (request, reply, done) => {
    app.requireSession(request, reply, error => {
      const isAsked = (request.query as { anonymous?: unknown }).anonymous === '1'
      if (!isAsked || !(error instanceof Problem) || error.code !== 'login_required') done(error)
      else reply.header('cache-control', 'no-store').send({ reason: error.extensions['reason'] })
    })
  }

  app.get(
    '/oauth2/userinfo',
    {
      exposeHeadRoute: false,
      onRequest: findSession,
      schema: {
        operationId: 'getUserinfo',
        summary: 'The person of this session and when it ends; needs X-CSRF: 1',
        querystring: Query,
        tags: ['session'],
        security: [{ session: [] }],
        response: { 200: Type.Union([Userinfo, Nobody], { description: 'who, or nobody' }), ...refusals },
      },
    },
    async (request, reply) => {
      const session = request.session as Session
      // Nobody is told that all is well by one route while the others cannot serve them.
      const { person, createdAt, expiresAt, lastSeenAt } = sessions.isStranded(session)
        ? await sessions.fresh(session)
        : session
      reply.header('cache-control', 'no-store')
      const iso = (at: number): string => new Date(at).toISOString()
      return {
        sub: person.sub,
        name: person.name,
        givenName: person.givenName,
        ...(person.email === undefined ? {} : { email: person.email }),
        roles: person.roles,
        session: {
          createdAt: iso(createdAt),
          authTime: iso(person.authTime),
          lastSeenAt: iso(lastSeenAt),
          idleTimeoutAt: iso(lastSeenAt + idle),
          absoluteTimeoutAt: iso(expiresAt),
        },
      }
    },
  )
}
