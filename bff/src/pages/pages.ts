import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ProblemDocument, problemContentType, problems } from '@banking/contracts'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { returnAddress } from '../login/return-address.ts'
import { isNavigation, isSafe } from '../sessions/csrf.ts'
import { explanationOf } from './explanations.ts'
import { html } from './html.ts'
import { type Brand, type Page, pageScript, pageStyles, renderPage } from './page.ts'
import { pageSheet } from './styles.ts'

/** The pages of the edge itself. Each works without script and says what happened, why, and what to do. */
export type Pages = {
  /**
   * Plugin: serves the style sheet and the script, and turns each problem that a person would see as raw JSON into a
   * page.
   */
  plugin: FastifyPluginAsync
  /** The page for a problem, where a person would see it. */
  pageOf(request: FastifyRequest, document: ProblemDocument): string | undefined
  send(reply: FastifyReply, status: number, page: Page): FastifyReply
  /**
   * Goes on to `href` from our own site: the browser then sends the Strict cookie, which it held back on the way here
   * from another site.
   */
  bounce(reply: FastifyReply, href: string): FastifyReply
  /** The same to the sign-in page, which leads back to `address` when somebody is signed in, fragment and all. */
  bounceBack(reply: FastifyReply, address: string): FastifyReply
  /** Asks who this is. A link and nothing by itself: however often it is shown, it redirects nobody in circles. */
  signIn(reply: FastifyReply, status: number, address: string, reason?: string): FastifyReply
  /** A login that cannot be finished is begun anew, once and by itself. */
  restart(reply: FastifyReply, href: string): FastifyReply
  /** Goes on to the provider's logout from a page: the policy lets no form of ours be redirected to any other host. */
  signOutAt(reply: FastifyReply, href: string): FastifyReply
  signedOut(reply: FastifyReply): FastifyReply
  /** While `vite build` has not run. */
  unbuilt(reply: FastifyReply): FastifyReply
}

/** Why the person must sign in, by how their last session ended. */
const endings: Readonly<Record<string, string>> = {
  idle: 'You were signed out because nothing happened for a while.',
  absolute: 'Your session has reached its longest time.',
  ended: 'You signed out, or signed in anew, in another tab or window.',
  revoked:
    'Your session was ended from another place: by you on another device, or for your security. If that surprises you, look through your sessions after signing in.',
  limit: 'You signed in on more devices than may be signed in at once, so the oldest session, this one, was ended.',
}

const link = ({ href, label }: { href: string; label: string }) =>
  html`<p class="actions"><a class="action" href="${href}">${label}</a></p>`

const withReturn = (path: string, address: string): string => `${path}?return_to=${encodeURIComponent(address)}`

/** @param publicOrigin against which the address of a page is checked before a link leads back to it */
export function createPages(brand: Brand, publicOrigin: string): Pages {
  const script = readFileSync(join(import.meta.dirname, 'page.js'), 'utf8')
  const sheet = pageSheet(brand)

  const send = (reply: FastifyReply, status: number, page: Page): FastifyReply =>
    reply
      .code(status)
      .type('text/html; charset=utf-8')
      .header('cache-control', 'no-store')
      .serializer((payload: unknown) => String(payload))
      .send(renderPage(brand, page))

  const signInPage = (address: string, reason?: string): Page => {
    const ending = reason === undefined ? undefined : endings[reason]
    return {
      title: ending === undefined ? 'Sign in to continue' : 'Please sign in again',
      script: true,
      body: html`${ending === undefined ? undefined : html`<p class="note">${ending}</p>`}
<p>After signing in you come back to the page that you asked for.</p>
<p class="actions"><a class="action" href="${withReturn('/oauth2/start', address)}" data-return="${address}">Sign in</a></p>
<p class="muted reference">You enter your password at the identity service, never on this page. Check its address before you type.</p>`,
    }
  }

  const problemPage = ({ code, title, detail, status }: ProblemDocument, requestId: string): Page => {
    const { why, remedies, action } = explanationOf(code, status)
    return {
      title,
      body: html`${detail === undefined || !(code in problems) ? undefined : html`<p>${detail}</p>`}
<p>${why}</p>
<h2>What you can do</h2>
<ul>${remedies.map(remedy => html`<li>${remedy}</li>`)}</ul>
${link(action)}
<p class="muted reference">Reference <code>${requestId}</code></p>`,
    }
  }

  const pageOf = (request: FastifyRequest, document: ProblemDocument): string | undefined => {
    if (!wantsPage(request)) return undefined
    if (document.code !== 'login_required') return renderPage(brand, problemPage(document, request.id))
    // What was sent is not sent again after the login: it leads to a page that can be read.
    const address = returnAddress(isSafe(request.method) ? request.raw.url : '/', publicOrigin) ?? '/'
    return renderPage(brand, signInPage(address, String(document['reason'])))
  }

  const plugin: FastifyPluginAsync = fp(
    async (app: FastifyInstance) => {
      const serve = (url: string, type: string, content: string) =>
        app.get(url, { schema: { hide: true } }, (_request, reply) =>
          reply.type(`${type}; charset=utf-8`).header('cache-control', 'public, max-age=300').send(content),
        )
      serve(pageStyles, 'text/css', sheet)
      serve(pageScript, 'text/javascript', script)
      app.addHook('onSend', async (request, reply, payload) => {
        if (typeof payload !== 'string' || !isProblem(reply)) return payload
        const page = pageOf(request, JSON.parse(payload) as ProblemDocument)
        if (page !== undefined) reply.type('text/html; charset=utf-8').removeHeader('content-length')
        return page ?? payload
      })
    },
    { name: 'pages' },
  )

  return {
    plugin,
    pageOf,
    send,
    bounce: (reply, href) =>
      send(reply, 200, {
        title: 'One moment',
        body: html`<p>You came here from another site. We are taking you on.</p>${link({ href, label: 'Continue' })}`,
        next: href,
      }),
    bounceBack: (reply, address) => {
      const href = withReturn('/oauth2/sign_in', address)
      return send(reply, 200, {
        title: 'One moment',
        body: html`<p>You came here from another site. We are taking you on.</p>
<p class="actions"><a class="action" href="${href}" data-return="${address}" data-follow>Continue</a></p>`,
        next: href,
        script: true,
      })
    },
    signIn: (reply, status, address, reason) => {
      // RFC 9110 §15.5.2
      if (status === 401) reply.header('www-authenticate', 'Cookie realm="session"')
      return send(reply, status, signInPage(address, reason))
    },
    restart: (reply, href) =>
      send(reply, problems.login_expired.status, {
        title: 'Signing you in again',
        body: html`<p>This sign-in took too long or was used before. We are starting a new one.</p>${link({ href, label: 'Continue' })}`,
        next: href,
      }),
    signOutAt: (reply, href) =>
      send(reply, 200, {
        title: 'One moment',
        body: html`<p>You are signed out here. We are taking you on to sign out at the identity service, too.</p>${link({ href, label: 'Continue' })}`,
        next: href,
      }),
    signedOut: reply =>
      send(reply, 200, {
        title: 'You are signed out',
        body: html`<p>Your session here is over, and the one at the identity service too. On a shared computer, please close this window as well.</p>
${link({ href: '/', label: 'Sign in again' })}`,
      }),
    unbuilt: reply =>
      send(reply, 503, {
        title: 'The web app has not been built yet',
        body: html`<p>Build it with "vite build" in bff/web; the development command does that by itself. Then load this page again.</p>
${link({ href: '/', label: 'Load again' })}`,
      }),
  }
}

const isProblem = (reply: FastifyReply): boolean =>
  String(reply.getHeader('content-type')).startsWith(problemContentType)

/** The callback is only ever opened by a browser, whatever it says about itself. */
const wantsPage = (request: FastifyRequest): boolean =>
  isNavigation(request.method, request.headers) ||
  request.routeOptions?.url === '/oauth2/callback' ||
  (request.method === 'POST' && request.headers['sec-fetch-mode'] === 'navigate')
