import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { loginOf } from '../login/login-transaction.ts'
import { identityOf } from '../sessions/seal.ts'
import { sessionCookieOf } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { actorOf, type Events } from './events.ts'

const ofSessions: ReadonlySet<string> = new Set(['csrf_refused', 'rate_limited'])
const ofLogins: ReadonlySet<string> = new Set(['/oauth2/start', '/oauth2/callback'])
/** ms in which a session is told of once for each kind of refusal: a flood must not become a flood of events. */
const quiet = 10_000

/** Tells what was refused to somebody who holds a session's cookie, or was logging in, or spoke for the provider. */
export default fp(
  async (app: FastifyInstance, { events, sessions }: { events: Events; sessions: Sessions }) => {
    let told = new Set<string>()
    let since = performance.now()

    app.addHook('onResponse', async request => {
      const { problemCode: code, trace } = request
      if (code === undefined) return
      if (ofLogins.has(request.routeOptions.url ?? '')) {
        const state = new URLSearchParams(request.raw.url?.split('?')[1]).get('state') ?? ''
        return events.record('login.refused', loginOf(state) ?? request.id, { code }, { trace })
      }
      if (request.routeOptions.url === '/oauth2/backchannel_logout')
        return events.record('logout.refused', request.id, { code }, { trace })
      if (!ofSessions.has(code)) return
      const cookie = sessionCookieOf(request)
      const identity = identityOf(cookie)
      if (cookie === undefined || identity === undefined) return
      if (performance.now() - since > quiet || told.size > 10_000) {
        told = new Set()
        since = performance.now()
      }
      const kind = `${code} ${identity.id}`
      if (told.has(kind)) return
      told.add(kind)
      const person = sessions.cached(cookie)?.person
      const data = { code, ...(person === undefined ? {} : { actor: actorOf(person) }) }
      events.record('session.refused', identity.id, data, { trace })
    })
  },
  { name: 'refusal-events', dependencies: ['@fastify/cookie'] },
)
