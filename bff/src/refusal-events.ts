import type { FastifyRequest } from 'fastify'
import { actorOf, type Events } from './events/events.ts'
import { loginOf } from './login/login-transaction.ts'
import { identityOf } from './sessions/seal.ts'
import { sessionCookieOf } from './sessions/session.ts'
import type { Sessions } from './sessions/sessions.ts'

const ofSessions: ReadonlySet<string> = new Set(['csrf_refused', 'rate_limited'])
const ofLogins: ReadonlySet<string> = new Set(['/oauth2/start', '/oauth2/callback'])
/** ms in which the same is told once, and so much in all: a flood must not become a flood of events. */
const quiet = 10_000
const most = 1_000

/** Tells what was refused to somebody who holds a session's cookie, was logging in, or spoke for the provider. */
export function tellRefusals({ events, sessions }: { events: Events; sessions: Sessions }) {
  let told = new Set<string>()
  let since = performance.now()
  const isNew = (what: string): boolean => {
    if (performance.now() - since > quiet) {
      told = new Set()
      since = performance.now()
    }
    return told.size < most && told.size < told.add(what).size
  }

  return (request: FastifyRequest, code: string): void => {
    const { trace } = request
    const about = { trace }
    const route = request.routeOptions.url ?? ''
    if (ofLogins.has(route)) {
      const state = new URLSearchParams(request.raw.url?.split('?')[1]).get('state') ?? ''
      const login = loginOf(state) ?? request.id
      if (isNew(`${code} ${login}`)) events.record('login.refused', login, { code }, about)
    } else if (route === '/oauth2/backchannel_logout') {
      if (isNew(request.id)) events.record('logout.refused', request.id, { code }, about)
    } else if (ofSessions.has(code)) {
      const cookie = sessionCookieOf(request)
      const identity = identityOf(cookie)
      if (cookie === undefined || identity === undefined || !isNew(`${code} ${identity.id}`)) return
      const person = sessions.cached(cookie)?.person
      const data = { code, ...(person === undefined ? {} : { actor: actorOf(person) }) }
      events.record('session.refused', identity.id, data, about)
    }
  }
}
