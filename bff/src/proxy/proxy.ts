import { type Readable, Transform } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { type Problem, problem } from '@banking/contracts'
import { childOf, formatTraceparent, type Metrics } from '@banking/telemetry'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { bouncePage } from '../pages/pages.ts'
import { isNavigation } from '../sessions/csrf.ts'
import type { Exchange } from '../sessions/exchange.ts'
import { sessionCookieOf } from '../sessions/session.ts'
import type { Session, Sessions } from '../sessions/sessions.ts'
import type { Streams } from '../sessions/streams.ts'
import { requestFields, responseFields } from './header-fields.ts'
import { createPipe, type Outbound, type Outcome, type Pipe } from './pipe.ts'
import type { Upstream } from './upstreams.ts'

export type ProxyOptions = {
  upstreams: readonly Upstream[]
  sessions: Sessions
  exchange: Exchange
  streams: Streams
  metrics: Metrics
  /** Name and value of every header field that the edge itself sends. */
  headers: Readonly<Record<string, string>>
}

/** Bytes of a body that are kept for the one retry after an upstream's 401. */
const repeatable = 16 * 1024
const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']
const bodiless: ReadonlySet<string> = new Set(['GET', 'HEAD'])

/**
 * `/api/<name>/*` to the upstreams of the table. The session alone authorises; the upstream gets a token made for it,
 * an allow-list of header fields, the path as it came, and nothing else of the browser.
 */
export default async function proxy(app: FastifyInstance, options: ProxyOptions): Promise<void> {
  const seconds = options.metrics.histogram('upstream_request_duration_seconds', 'Time until an upstream was done.', [
    'upstream',
    'status',
  ])
  const own = Object.entries(options.headers).flat()

  // Bodies are passed on as they come: nothing here reads them.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  app.addHook('onRequest', async (request, reply) => {
    // A link from another site carries no Strict cookie, so we cannot know whether this person is logged in.
    if (isNavigation(request.method, request.headers) && sessionCookieOf(request) === undefined) {
      bouncePage(reply, '/')
      return reply
    }
    await app.requireSession(request, reply)
  })

  for (const upstream of options.upstreams) {
    const pipe = createPipe({
      origin: upstream.origin,
      headersTimeout: upstream.timeout,
      connections: upstream.connections,
    })
    app.addHook('onClose', () => pipe.close())
    const handler = (request: FastifyRequest, reply: FastifyReply) => pass(request, reply, upstream, pipe)
    for (const url of [upstream.prefix, `${upstream.prefix}/*`])
      app.route({ method: methods, url, handler, schema: { hide: true }, exposeHeadRoute: false })
  }

  async function pass(request: FastifyRequest, reply: FastifyReply, upstream: Upstream, pipe: Pipe): Promise<void> {
    const session = request.session as Session
    const started = performance.now()
    const isStream = (request.headers.accept ?? '').includes('text/event-stream')
    const body = await bodyOf(request, upstream.bodyLimit)
    const fields = requestFields(request.raw.rawHeaders)
    // Streams and what a page does by itself say nothing of a person being there.
    if (!isStream && request.headers['x-background'] !== '1') await options.sessions.touch(session)

    const tokenFor = async (rejected?: string): Promise<string | undefined> => {
      if (upstream.token === 'exchange') return options.exchange.tokenFor(session, upstream, rejected)
      if (upstream.token === 'session') return (await options.sessions.fresh(session, rejected)).tokens.accessToken
      return undefined
    }
    const send = (token: string | undefined): Promise<Outcome> => {
      const outbound: Outbound = {
        method: request.method,
        path: request.raw.url as string,
        headers: [
          ...fields,
          ...lengthField(request, body),
          ...(token === undefined ? [] : ['authorization', `Bearer ${token}`]),
          'x-request-id',
          request.id,
          'traceparent',
          formatTraceparent(childOf(request.trace)),
        ],
        body,
        endless: isStream,
      }
      return pipe.forward(outbound, reply.raw, (status, raw) => {
        // A 401 of the service concerns the token that we made, not the person: the browser never sees it.
        if (status === 401) return undefined
        reply.hijack()
        if (isStream) options.streams.open(session, reply.raw)
        seconds.observe({ upstream: upstream.name, status }, (performance.now() - started) / 1000)
        const head = [...own, 'x-request-id', request.id, 'traceparent', formatTraceparent(request.trace)]
        return responseFields(raw, head, upstream.origin)
      })
    }

    const token = await tokenFor()
    let outcome = await send(token)
    if (outcome.kind === 'failed' && outcome.sent && bodiless.has(request.method) && isReset(outcome.problem))
      // A connection that was closed just as it was used again: nothing was read of a request that changes nothing.
      outcome = await send(token)
    if (outcome.kind === 'declined' && token !== undefined) {
      request.log.warn({ upstream: upstream.name }, 'upstream refused its token; getting a new one')
      const renewed = await tokenFor(token)
      if (isRepeatable(body)) outcome = await send(renewed)
    }
    finish(request, reply, upstream, outcome, started)
  }

  function finish(
    request: FastifyRequest,
    reply: FastifyReply,
    upstream: Upstream,
    outcome: Outcome,
    started: number,
  ): void {
    if (outcome.kind === 'answered' && outcome.complete) return
    const ms = Math.round(performance.now() - started)
    if (outcome.kind === 'answered') {
      request.log.warn({ upstream: upstream.name, status: reply.raw.statusCode, ms }, 'answer broke off')
      return
    }
    if (outcome.kind === 'abandoned') {
      reply.hijack()
      seconds.observe({ upstream: upstream.name, status: 'abandoned' }, ms / 1000)
      request.log.info({ upstream: upstream.name, ms }, 'client went away')
      return
    }
    seconds.observe({ upstream: upstream.name, status: outcome.kind }, ms / 1000)
    if (outcome.kind === 'failed') throw outcome.problem
    request.log.error({ alert: 'upstream_refuses_tokens', upstream: upstream.name }, 'upstream refuses our tokens')
    throw problem('upstream_failed')
  }
}

const isRepeatable = (body: Readable | Buffer | null): boolean => body === null || Buffer.isBuffer(body)
const isReset = ({ code }: Problem): boolean => code === 'upstream_failed'

/** The body: small ones as a whole, for the one retry; larger ones and those of unknown length as a stream. */
async function bodyOf({ raw, method }: FastifyRequest, limit: number): Promise<Readable | Buffer | null> {
  const declared = raw.headers['content-length']
  const length = declared === undefined ? undefined : Number(declared)
  const chunked = raw.headers['transfer-encoding'] !== undefined
  if (!chunked && (length ?? 0) === 0) return null
  if (bodiless.has(method)) throw problem('body_malformed', 'A request by this method has no body.')
  if ((length ?? 0) > limit) throw problem('body_too_large')
  if (length !== undefined && length <= repeatable) {
    try {
      return await buffer(raw)
    } catch (cause) {
      throw problem('body_malformed', 'The body broke off.', { cause })
    }
  }
  return raw.pipe(counting(limit))
}

/** A stream of its own: what the upstream side destroys is this one and not the client's connection. */
function counting(limit: number): Transform {
  let size = 0
  const counter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length
      if (size > limit) done(problem('body_too_large'))
      else done(null, chunk)
    },
  })
  // The pipe hears of it as the upstream's request fails; by then it may have stopped listening here.
  return counter.on('error', () => undefined)
}

/** A known length is passed on; undici frames all else in chunks. */
function lengthField({ raw }: FastifyRequest, body: Readable | Buffer | null): string[] {
  const length = raw.headers['content-length']
  return body !== null && length !== undefined ? ['content-length', length] : []
}
