import { problemContentType } from '@banking/contracts'
import type { Server } from '@banking/http'
import Type from 'typebox'
import type { Session } from '../sessions.ts'

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
const Refusal = Type.Object(
  { type: Type.String(), title: Type.String(), status: Type.Integer(), code: Type.String() },
  { additionalProperties: true, description: problemContentType },
)

/** Who is logged in and how long yet. Asking never extends the session. */
export default async function userinfo(app: Server, options: { idle: number }): Promise<void> {
  app.get(
    '/oauth2/userinfo',
    {
      exposeHeadRoute: false,
      onRequest: app.requireSession,
      schema: {
        operationId: 'getUserinfo',
        summary: 'The person of this session and when it ends; needs X-CSRF: 1',
        response: { 200: Userinfo, 401: Refusal, 403: Refusal, 503: Refusal },
      },
    },
    async (request, reply) => {
      const { person, createdAt, expiresAt, lastSeenAt } = request.session as Session
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
          idleTimeoutAt: iso(lastSeenAt + options.idle),
          absoluteTimeoutAt: iso(expiresAt),
        },
      }
    },
  )
}
