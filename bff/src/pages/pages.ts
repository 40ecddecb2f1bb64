import { type ProblemCode, type ProblemDocument, problemContentType, problems } from '@banking/contracts'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { isNavigation } from '../sessions/csrf.ts'

/** Where the pages' only style sheet is served: nothing is inline, so the policy needs no exception. */
const pageStyles = '/oauth2/page.css'

type Page = {
  title: string
  text: string
  action?: { href: string; label: string }
  /** Where the browser goes by itself, after these seconds. */
  next?: { href: string; after: number }
  requestId?: string
}

/** A whole page that works without script. Every text is escaped here and nowhere else. */
function renderPage({ title, text, action, next, requestId }: Page): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
${next === undefined ? '' : `<meta http-equiv="refresh" content="${next.after};url=${escapeHtml(next.href)}">\n`}<title>${escapeHtml(title)} – Banking Local</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${pageStyles}">
</head>
<body>
<main>
<p class="brand">Banking Local</p>
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(text)}</p>
${action === undefined ? '' : `<p><a class="action" href="${escapeHtml(action.href)}">${escapeHtml(action.label)}</a></p>\n`}${
  requestId === undefined ? '' : `<p class="reference">Reference <code>${escapeHtml(requestId)}</code></p>\n`
}</main>
</body>
</html>
`
}

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, character => escapes[character] as string)

function send(reply: FastifyReply, status: number, page: Page): FastifyReply {
  return reply
    .code(status)
    .type('text/html; charset=utf-8')
    .header('cache-control', 'no-store')
    .serializer((payload: unknown) => String(payload))
    .send(renderPage(page))
}

/**
 * A page that goes on to `href` from our own site: the browser then sends the Strict cookie, which it held back on
 * the way here from another site.
 */
export const bouncePage = (reply: FastifyReply, href: string): FastifyReply =>
  send(reply, 200, {
    title: 'One moment',
    text: 'You came here from another site. We are taking you to your bank.',
    action: { href, label: 'Continue' },
    next: { href, after: 0 },
  })

/** A login that cannot be finished is begun anew, once and by itself. */
export const restartPage = (reply: FastifyReply, href: string): FastifyReply =>
  send(reply, problems.login_expired.status, {
    title: 'Signing you in again',
    text: 'This sign-in took too long or was used before. We are starting a new one.',
    action: { href, label: 'Continue' },
    next: { href, after: 0 },
  })

/** While `vite build` has not run. */
export const unbuiltPage = (reply: FastifyReply): FastifyReply =>
  send(reply, 503, {
    title: 'The web app has not been built yet',
    text: 'Build it with "vite build" in bff/web; the development command does that by itself. Then load this page again.',
    action: { href: '/', label: 'Load again' },
  })

const signIn = { href: '/oauth2/start', label: 'Sign in again' }
const home = { href: '/', label: 'To the start page' }
const actions: Readonly<Partial<Record<ProblemCode, { href: string; label: string }>>> = {
  login_failed: signIn,
  login_expired: signIn,
  login_looping: signIn,
  login_required: { href: '/', label: 'Sign in' },
  provider_unavailable: { href: '/oauth2/start', label: 'Try again' },
  sessions_unavailable: { href: '/', label: 'Try again' },
}

/** Turns each problem that a person would see as raw JSON into a page that says what happened and what to do. */
export default fp(
  async (app: FastifyInstance) => {
    app.get(pageStyles, { schema: { hide: true } }, (_request, reply) =>
      reply.type('text/css; charset=utf-8').header('cache-control', 'public, max-age=300').send(styles),
    )
    app.addHook('onSend', async (request, reply, payload) => {
      if (typeof payload !== 'string' || !isProblem(reply) || !wantsPage(request)) return payload
      const { code, title, detail } = JSON.parse(payload) as ProblemDocument
      const { remedy } = problems[code as ProblemCode] ?? problems.internal
      reply.type('text/html; charset=utf-8').removeHeader('content-length')
      return renderPage({
        title,
        text: detail ?? remedy,
        action: actions[code as ProblemCode] ?? home,
        requestId: request.id,
      })
    })
  },
  { name: 'pages' },
)

const isProblem = (reply: FastifyReply): boolean =>
  String(reply.getHeader('content-type')).startsWith(problemContentType)

/** The callback is only ever opened by a browser, whatever it says about itself. */
const wantsPage = (request: FastifyRequest): boolean =>
  isNavigation(request.method, request.headers) ||
  request.routeOptions.url === '/oauth2/callback' ||
  (request.method === 'POST' && request.headers['sec-fetch-mode'] === 'navigate')

const styles = `:root {
  color-scheme: light dark;
  --ground: #f5f6f4;
  --card: #ffffff;
  --text: #16201c;
  --muted: #5a6761;
  --accent: #0b5d46;
  --on-accent: #ffffff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0f1513;
    --card: #18211e;
    --text: #e8efeb;
    --muted: #9fb0a8;
    --accent: #6fd3ae;
    --on-accent: #06231a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0;
  min-height: 100vh;
  display: grid;
  place-items: center;
  padding: 1.5rem;
  background: var(--ground);
  color: var(--text);
  font: 1rem/1.6 system-ui, sans-serif;
}
main {
  width: 100%;
  max-width: 30rem;
  padding: 2.5rem 2rem;
  background: var(--card);
  border-radius: 1rem;
}
h1 { margin: 0 0 0.75rem; font-size: 1.5rem; line-height: 1.25; }
p { margin: 0 0 1.25rem; }
p:last-child { margin-bottom: 0; }
.brand { color: var(--accent); font-weight: 600; letter-spacing: 0.01em; }
.action {
  display: inline-block;
  padding: 0.7rem 1.4rem;
  border-radius: 0.6rem;
  background: var(--accent);
  color: var(--on-accent);
  font-weight: 600;
  text-decoration: none;
}
.action:focus-visible { outline: 3px solid var(--text); outline-offset: 3px; }
.reference { color: var(--muted); font-size: 0.85rem; }
code { overflow-wrap: anywhere; }
`
