import { problem } from '@banking/contracts'
import type { FastifyInstance, onRequestHookHandler } from 'fastify'
import { returnAddress } from '../login/return-address.ts'
import type { Pages } from '../pages/pages.ts'
import { isFromAnotherSite, isNavigation, isSafe } from '../sessions/csrf.ts'
import type { Exchange, UpstreamTokens } from '../sessions/exchange.ts'
import { sessionCookieOf } from '../sessions/session.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { createForwarder, type ForwarderOptions } from './forwarder.ts'
import type { Upstream } from './upstreams.ts'

export type ProxyOptions = ForwarderOptions & {
  sessions: Sessions
  exchange: Exchange
  upstreams: readonly Upstream[]
  pages: Pages
  publicOrigin: string
}

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

/**
 * Everything below the paths of the table to its upstream. The session alone authorises; the upstream gets the token
 * that the table says, an allow-list of header fields, the path as it came, and nothing else of the browser.
 */
export default async function proxy(app: FastifyInstance, options: ProxyOptions): Promise<void> {
  const { sessions, exchange } = options
  const forwarder = createForwarder(options)
  app.addHook('onClose', () => forwarder.close())

  // Bodies are passed on as they come: nothing here reads them.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  // A link from another site carries no Strict cookie, so we cannot know whether this person is logged in: from a page
  // of ours it comes along.
  const guards: Record<Upstream['kind'], onRequestHookHandler> = {
    api(request, reply, done) {
      const { headers } = request.raw
      if (isNavigation(request.method, headers) && sessionCookieOf(request) === undefined)
        options.pages.bounce(reply, '/')
      else app.requireSession(request, reply, done)
    },
    pages(request, reply, done) {
      const { headers } = request.raw
      const isVisit = isSafe(request.method) && isNavigation(request.method, headers)
      if (isVisit && isFromAnotherSite(headers) && sessionCookieOf(request) === undefined)
        options.pages.bounceBack(reply, returnAddress(request.raw.url, options.publicOrigin) ?? '/')
      else app.requirePageSession(request, reply, done)
    },
  }

  const keepOwnPaths: onRequestHookHandler = (request, _reply, done) =>
    /^\/oauth2(?:[/?]|$)/.test(request.raw.url as string) ? done(problem('not_found')) : done()

  const tokensOf = (upstream: Upstream): UpstreamTokens | undefined => {
    if (upstream.token === 'none') return undefined
    if (upstream.token === 'exchange') return exchange.to(upstream)
    return {
      atHand: session => (sessions.isFresh(session) ? session.tokens.accessToken : undefined),
      obtain(session, rejected) {
        // What an upstream says of a token that cannot be renewed ends nobody's session.
        const isLast = rejected !== undefined && session.tokens.refreshToken === undefined
        const fresh = isLast ? session : sessions.fresh(session, rejected)
        return fresh instanceof Promise ? fresh.then(({ tokens }) => tokens.accessToken) : fresh.tokens.accessToken
      },
    }
  }

  for (const upstream of options.upstreams) {
    const { forward, stream } = forwarder.to(upstream, tokensOf(upstream))
    // One that has every path does not have ours: a typing error is no reason to tell it anything.
    const onRequest = [...(upstream.prefix === '/' ? [keepOwnPaths] : []), guards[upstream.kind]]
    const streaming = upstream.streams.paths
    const others = [upstream.prefix, `${upstream.prefix === '/' ? '' : upstream.prefix}/*`]
    const handlers = new Map([
      ...others.map(url => [url, forward] as const),
      ...streaming.map(url => [url, stream] as const),
    ])
    for (const [url, handler] of handlers)
      app.route({ method: methods, url, onRequest, handler, schema: { hide: true }, exposeHeadRoute: false })
  }
}
