import { problem } from '@banking/contracts'
import { refusals, type Server } from '@banking/http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { clearSessionCookie } from '../sessions/session.ts'
import type { Session, Sessions } from '../sessions/sessions.ts'

const time = Type.String({ format: 'date-time' })
const Item = Type.Object({
  id: Type.String({ description: 'names the session here; it opens nothing' }),
  current: Type.Boolean({ description: 'the session that asks' }),
  device: Type.String({ description: 'what the browser called itself at the login' }),
  createdAt: time,
  lastSeenAt: time,
  expiresAt: time,
})
const Items = Type.Object({ items: Type.Array(Item) }, { description: 'newest first' })
const Ended = Type.Object({ ended: Type.Integer({ description: 'how many sessions that were' }) })
const Id = Type.Object({ id: Type.String() })

/** A session's id, {@link Session}: anything else is nobody's. */
const idPattern = /^[A-Za-z0-9_-]{43}$/

/**
 * The sessions of the person who asks: seen, ended one by one, or all but this one. Nothing here extends a session.
 * Scripts use GET and DELETE with `X-CSRF: 1`; forms of our own pages POST and are led back to `/`.
 */
export default async function ownSessions(app: Server, { sessions }: { sessions: Sessions }): Promise<void> {
  // A form of our own page sends its fields; there is nothing in them that we need.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { bodyLimit: 16 * 1024, parseAs: 'string' }, (_request, _body, done) => done(null))

  /** @throws Problem `not_found` for what is not this person's: it looks the same as what does not exist */
  const endOne = async (request: FastifyRequest, reply: FastifyReply, id: string): Promise<void> => {
    const session = request.session as Session
    if (id === session.id) {
      await sessions.end(session, 'ended')
      clearSessionCookie(reply)
      sessions.revoke(session)
    } else if (!idPattern.test(id) || !(await sessions.endOne(session.person.sub, id))) throw problem('not_found')
    request.log.info('ended a session of their own')
  }
  const endOthers = async (request: FastifyRequest): Promise<number> => {
    const ended = await sessions.endOthers(request.session as Session)
    request.log.info({ ended }, 'ended all other sessions of their own')
    return ended
  }

  const security = [{ session: [] }]
  const tags = ['session']

  app.get(
    '/oauth2/sessions',
    {
      exposeHeadRoute: false,
      onRequest: app.requireSession,
      schema: {
        operationId: 'listSessions',
        summary: 'The sessions of this person; needs X-CSRF: 1',
        tags,
        security,
        response: { 200: Items, ...refusals },
      },
    },
    async request => {
      const own = request.session as Session
      const iso = (at: number): string => new Date(at).toISOString()
      const found = await sessions.list(own.person.sub)
      return {
        items: found.map(({ id, device, createdAt, lastSeenAt, expiresAt }) => ({
          id,
          current: id === own.id,
          device,
          createdAt: iso(createdAt),
          lastSeenAt: iso(lastSeenAt),
          expiresAt: iso(expiresAt),
        })),
      }
    },
  )

  app.delete(
    '/oauth2/sessions/:id',
    {
      onRequest: app.requireSession,
      schema: {
        operationId: 'endSession',
        summary: 'Ends one session of this person; needs X-CSRF: 1',
        params: Id,
        tags,
        security,
        response: { 204: Type.Null({ description: 'it is over, on every replica' }), ...refusals },
      },
    },
    async (request, reply) => {
      await endOne(request, reply, request.params.id)
      return reply.code(204).send(null)
    },
  )

  app.delete(
    '/oauth2/sessions',
    {
      onRequest: app.requireSession,
      schema: {
        operationId: 'endOtherSessions',
        summary: 'Ends all other sessions of this person; needs X-CSRF: 1',
        tags,
        security,
        response: { 200: Ended, ...refusals },
      },
    },
    async request => ({ ended: await endOthers(request) }),
  )

  const form = { onRequest: app.requirePageSession, schema: { hide: true } }
  app.post('/oauth2/sessions/:id/end', form, async (request, reply) => {
    await endOne(request, reply, (request.params as { id: string }).id)
    return reply.redirect('/', 303)
  })
  app.post('/oauth2/sessions/end_others', form, async (request, reply) => {
    await endOthers(request)
    return reply.redirect('/', 303)
  })
}
