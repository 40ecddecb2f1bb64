import { refusals, type Server } from '@banking/http'
import Type from 'typebox'
import type { Events } from '../events/events.ts'
import type { Sessions } from '../sessions/sessions.ts'

const Subject = Type.Object({ sub: Type.String({ minLength: 1, maxLength: 255, description: 'the person’s `sub`' }) })
const Ended = Type.Object({ ended: Type.Integer({ description: 'how many sessions that were' }) })

/**
 * Ends every session of one person, on every replica, and keeps logins that began before from finishing. For staff,
 * through the service that decided it; on the internal listener alone.
 */
export default async function endUserSessions(
  app: Server,
  options: {
    /** Client ids of the services that may, and the scope that their tokens need. */
    callers: readonly string[]
    scope: string
    sessions: Sessions
    events: Events
  },
): Promise<void> {
  const { callers, scope, sessions, events } = options
  app.delete(
    '/internal/users/:sub/sessions',
    {
      config: { access: { services: callers, scope } },
      schema: {
        operationId: 'endSessionsOfUser',
        summary: 'Ends all sessions of a person, everywhere',
        params: Subject,
        response: { 200: Ended, ...refusals },
      },
    },
    async request => {
      const { sub } = request.params
      const about = { trace: request.trace }
      const ended = await sessions.endBy({ sub })
      request.log.info({ client: request.user.client, ended }, 'ended all sessions of a person')
      events.record('logout.received', sub, { from: 'staff', actor: { sub }, sessions: ended }, about)
      return { ended }
    },
  )
}
