import type { Server } from '@banking/http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Admission } from '../admission/limits.ts'
import { isFromAnotherSite } from '../sessions/csrf.ts'
import type { SessionSummary } from '../sessions/register.ts'
import { clearSessionCookie, sessionCookieOf } from '../sessions/session.ts'
import type { Session, Sessions } from '../sessions/sessions.ts'
import { type Html, html } from './html.ts'
import type { Pages } from './pages.ts'

/**
 * `/` where neither a web app nor an upstream is: who is signed in, where else, and how to end it. Plain forms: it
 * works without script.
 */
export default async function startPage(
  app: Server,
  options: { sessions: Sessions; admission: Admission; pages: Pages; now: () => number },
): Promise<void> {
  const { sessions, admission, pages, now } = options
  app.get('/', { schema: { hide: true } }, async (request: FastifyRequest, reply: FastifyReply) => {
    const cookie = sessionCookieOf(request)
    if (cookie === undefined && isFromAnotherSite(request.headers)) return pages.bounceBack(reply, '/')
    const found = await sessions.find(cookie)
    if ('over' in found) {
      if (cookie !== undefined) clearSessionCookie(reply)
      // Nobody asked for anything that they may not see: this is the front door.
      return pages.signIn(reply, 200, '/', found.over)
    }
    const { session } = found
    // A list of sessions costs more than most: it is the person's to pay, as everywhere.
    await admission.admitSession(request, reply, session.id)
    const { name, email } = session.person
    const listed = await sessions.list(session.person.sub)
    const items = listed.toSorted((one, other) => Number(other.id === session.id) - Number(one.id === session.id))
    return pages.send(reply, 200, {
      title: `Signed in as ${name}`,
      wide: true,
      body: html`${email === undefined ? undefined : html`<p class="muted">${email}</p>`}
<h2>Your sessions</h2>
${list(items, session, now())}
<div class="actions">
<form method="post" action="/oauth2/sign_out"><button class="action">Sign out</button></form>
${
  items.length > 1
    ? html`<form method="post" action="/oauth2/sessions/end_others"><button class="action quiet">Sign out everywhere else</button></form>`
    : undefined
}
</div>`,
    })
  })
}

function list(items: readonly SessionSummary[], own: Session, now: number): Html {
  return html`<ul class="sessions">${items.map(
    ({ id, device, createdAt, lastSeenAt }) => html`<li>
<div>
<p class="device">${device}${id === own.id ? html` <span class="tag">This device</span>` : undefined}</p>
<p class="muted">Signed in ${time(createdAt)}, last active ${id === own.id ? html`now` : ago(lastSeenAt, now)}</p>
</div>
${
  id === own.id
    ? undefined
    : html`<form method="post" action="/oauth2/sessions/${id}/end"><button class="action quiet" aria-label="End the session on ${device}, signed in ${new Date(createdAt).toUTCString()}">End</button></form>`
}
</li>`,
  )}</ul>`
}

const time = (at: number): Html => {
  const iso = new Date(at).toISOString()
  return html`<time datetime="${iso}">${iso.slice(0, 16).replace('T', ' ')} UTC</time>`
}

function ago(at: number, now: number): Html {
  const minutes = Math.max(0, Math.round((now - at) / 60_000))
  const text = minutes < 1 ? 'just now' : minutes < 60 ? `${minutes} min ago` : `${Math.round(minutes / 60)} h ago`
  return html`<time datetime="${new Date(at).toISOString()}">${text}</time>`
}
