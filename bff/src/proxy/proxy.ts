import { problem } from '@banking/contracts'
import { inTrace, type Metrics } from '@banking/telemetry'
import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'
import type { Admission } from '../admission/limits.ts'
import { returnAddress } from '../login/return-address.ts'
import type { Pages } from '../pages/pages.ts'
import type { SecurityHeaders } from '../pages/security-headers.ts'
import { isFromAnotherSite, isNavigation, isSafe } from '../sessions/csrf.ts'
import type { Exchange, UpstreamTokens } from '../sessions/exchange.ts'
import { sessionCookieOf } from '../sessions/session.ts'
import type { Session, Sessions } from '../sessions/sessions.ts'
import type { Streams } from '../sessions/streams.ts'
import { asksForStream, createForwarder } from './forwarder.ts'
import type { CreateHttpClient } from './http-client.ts'
import type { Upstream } from './upstreams.ts'

export type ProxyOptions = {
  upstreams: readonly Upstream[]
  sessions: Sessions
  exchange: Exchange
  streams: Streams
  admission: Admission
  pages: Pages
  publicOrigin: string
  metrics: Metrics
  /** Name and value of every header field that the edge itself sends. */
  headers: SecurityHeaders
  /** Its name: no upstream may set it. */
  sessionCookie: string
  client?: CreateHttpClient | undefined
}

/** Behind its guard a request has one. */
const sessionOf = (request: FastifyRequest) => request.session as Session

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

/**
 * Everything below the paths of the table to its upstream. The session alone authorises; the upstream gets the token
 * that the table says, an allow-list of header fields, the path as it came, and nothing else of the browser.
 */
export default async function proxy(app: FastifyInstance, options: ProxyOptions): Promise<void> {
  const { sessions, exchange, streams, admission } = options
  const forwarder = createForwarder({ ...options, clientOf: admission.clientOf })
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
    const tokens = tokensOf(upstream)
    const forward = forwarder.to(upstream, {
      token(request, rejected) {
        if (tokens === undefined) return undefined
        const session = sessionOf(request)
        const atHand = rejected === undefined ? tokens.atHand(session) : undefined
        // What is begun here is begun in the name of the request.
        return atHand ?? inTrace(request.trace, () => tokens.obtain(session, rejected))
      },
      onUpload: (request, reply) => admission.admitUpload(sessionOf(request).id, reply.raw),
      onStream: (request, reply) => streams.open(sessionOf(request), reply.raw),
    })
    const handler = (request: FastifyRequest, reply: FastifyReply): void => {
      // Streams and what a page does by itself say nothing of a person being there.
      const isByPerson = request.raw.headers['x-background'] !== '1' && !asksForStream(request)
      const touching = isByPerson ? sessions.touch(sessionOf(request)) : undefined
      if (touching === undefined) forward(request, reply)
      else touching.then(() => forward(request, reply)).catch(error => reply.send(error))
    }
    // One that has every path does not have ours: a typing error is no reason to tell it anything.
    const onRequest = [...(upstream.prefix === '/' ? [keepOwnPaths] : []), guards[upstream.kind]]
    for (const url of [upstream.prefix, `${upstream.prefix === '/' ? '' : upstream.prefix}/*`])
      app.route({ method: methods, url, onRequest, handler, schema: { hide: true }, exposeHeadRoute: false })
  }
}
