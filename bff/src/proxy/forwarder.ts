import { type Readable, Transform } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { problem } from '@banking/contracts'
import { childOf, formatTraceparent, type Histogram, inTrace, type Metrics } from '@banking/telemetry'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SecurityHeaders } from '../pages/security-headers.ts'
import { type FieldRules, fieldRules, requestFields, responseFields } from './header-fields.ts'
import type { CreateHttpClient } from './http-client.ts'
import { createPipe, type Outcome, type Pipe } from './pipe.ts'
import { byKind, type Upstream } from './upstreams.ts'

/** What the requests for one upstream are forwarded with. */
type Passport = {
  /**
   * The bearer token for the upstream; undefined for none.
   *
   * @param rejected the token that the upstream has just answered with 401
   */
  token(request: FastifyRequest, rejected?: string): Promise<string | undefined> | string | undefined
  /** Called before a body is passed on as it comes; may refuse it with a Problem. */
  onUpload?(request: FastifyRequest, reply: FastifyReply): void
  /** Called as an answer begins that may stay open without an end in sight. */
  onStream?(request: FastifyRequest, reply: FastifyReply): void
}

/** Whether the answer may stay open without an end in sight: the browser asks for an event stream. */
export const asksForStream = ({ raw }: FastifyRequest): boolean =>
  raw.headers.accept?.includes('text/event-stream') === true

/** Takes requests to upstreams and their answers back. Who may do so was decided before. */
export type Forwarder = {
  /**
   * The handler for one upstream. It gives no promise, since the framework would take one without a value for an
   * answer without a body: all goes on by itself, and what cannot be answered is sent as an error. Nothing was written
   * to the client then.
   *
   * @throws Problem for what is refused at once
   */
  to(upstream: Upstream, passport: Passport): (request: FastifyRequest, reply: FastifyReply) => void
  close(): Promise<void>
}

/** Bytes of a body that are kept for the one retry after an upstream's 401. */
const repeatable = 16 * 1024
const bodiless: ReadonlySet<string> = new Set(['GET', 'HEAD'])

export function createForwarder(options: {
  /** Name and value of every header field that the edge itself sends. */
  headers: SecurityHeaders
  /** Name of the cookie that no upstream may set. */
  sessionCookie: string
  publicOrigin: string
  /** Address of the client of a request. */
  clientOf: (request: FastifyRequest) => string
  metrics: Metrics
  /** What speaks to the upstreams; our own client when nothing else is said. */
  client?: CreateHttpClient | undefined
}): Forwarder {
  const seconds = options.metrics.histogram('upstream_request_duration_seconds', 'Time until an upstream was done.', [
    'upstream',
    'status',
  ])
  const pipes: Pipe[] = []

  return {
    to(upstream, passport) {
      const { host = byKind[upstream.kind].host } = upstream
      const pipe = createPipe({
        origin: upstream.origin,
        host: host === 'public' ? new URL(options.publicOrigin).host : undefined,
        headersTimeout: upstream.timeout,
        connections: upstream.connections,
        client: options.client,
      })
      pipes.push(pipe)
      const durations = durationsOf(upstream.name, seconds)
      const rules = fieldRules(upstream, options)
      const way = { passport, upstream, pipe, rules, durations, clientOf: options.clientOf }
      return (request, reply) => forward(way, request, reply)
    },
    close: async () => {
      await Promise.all(pipes.map(pipe => pipe.close()))
    },
  }
}

type Durations = (status: number | string, started: number) => void

/** One time series per upstream and status, looked up once: finding it by its labels costs more than the sample. */
function durationsOf(upstream: string, seconds: Histogram<'upstream' | 'status'>): Durations {
  const known = new Map<number | string, ReturnType<typeof seconds.labels>>()
  return (status, started) => {
    let series = known.get(status)
    if (series === undefined) {
      series = seconds.labels({ upstream, status: String(status) })
      known.set(status, series)
    }
    series.observe((performance.now() - started) / 1000)
  }
}

type Way = {
  passport: Passport
  upstream: Upstream
  pipe: Pipe
  rules: FieldRules
  durations: Durations
  clientOf: (request: FastifyRequest) => string
}

/** Without a body and with a token at hand, which is nearly always, there is no promise on the way. */
function forward(way: Way, request: FastifyRequest, reply: FastifyReply): void {
  const refuse = (error: unknown): void => void reply.send(error)
  if (hasBody(request)) return void forwardBody(way, request, reply).catch(refuse)
  const errand = new Errand(way, request, reply, null)
  const token = way.passport.token(request)
  if (token instanceof Promise) return void token.then(known => sendAndFinish(errand, known)).catch(refuse)
  errand.send(token, outcome => {
    if (outcome.kind === 'answered' && outcome.complete) return
    // Called by the upstream's connection, which works in nobody's name.
    inTrace(request.trace, () => finish(errand, token, outcome)).catch(refuse)
  })
}

async function forwardBody(way: Way, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const errand = new Errand(way, request, reply, await bodyOf(request, way.upstream.bodyLimit))
  await sendAndFinish(errand, await way.passport.token(request))
}

async function sendAndFinish(errand: Errand, token: string | undefined): Promise<void> {
  await finish(errand, token, await errand.sent(token))
}

/** One request for an upstream, which may have to be sent more than once. */
class Errand {
  readonly started = performance.now()
  readonly way: Way
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly body: Readable | Buffer | null
  readonly #isStream: boolean
  readonly #fields: string[]

  constructor(way: Way, request: FastifyRequest, reply: FastifyReply, body: Readable | Buffer | null) {
    this.way = way
    this.request = request
    this.reply = reply
    this.body = body
    this.#isStream = asksForStream(request)
    const { rawHeaders, headers } = request.raw
    if (this.isStreamed) way.passport.onUpload?.(request, reply)
    this.#fields = requestFields(rawHeaders, way.rules, way.clientOf(request))
    // The known length of a stream is passed on; all else is framed anew.
    const length = headers['content-length']
    if (this.isStreamed && length !== undefined) this.#fields.push('content-length', length)
    this.#fields.push('x-request-id', request.id, 'traceparent', formatTraceparent(childOf(request.trace)))
  }

  /** Whether the body is gone once it was sent. */
  get isStreamed(): boolean {
    return this.body !== null && !Buffer.isBuffer(this.body)
  }

  send(token: string | undefined, done: (outcome: Outcome) => void): void {
    const { request, reply, way } = this
    const { method, raw } = request
    const { body } = this
    const path = raw.url as string
    const outbound = { method, path, headers: this.#fields, token, body, endless: this.#isStream }
    way.pipe.forward(outbound, reply.raw, (status, answered) => this.#answer(status, answered), done)
  }

  sent(token: string | undefined): Promise<Outcome> {
    return new Promise(resolve => this.send(token, resolve))
  }

  #answer(status: number, answered: readonly string[]): string[] | undefined {
    // A 401 of the service concerns the token that we made, not the person: the browser never sees it.
    if (status === 401) return undefined
    const { request, reply } = this
    const { passport, rules, durations } = this.way
    reply.hijack()
    if (this.#isStream) passport.onStream?.(request, reply)
    durations(status, this.started)
    return responseFields(answered, rules, [
      'x-request-id',
      request.id,
      'traceparent',
      formatTraceparent(request.trace),
    ])
  }
}

/** Tries once more what may be, and tells what came of it. */
async function finish(errand: Errand, token: string | undefined, first: Outcome): Promise<void> {
  const { request, reply } = errand
  const { passport, upstream, durations } = errand.way
  let outcome = first
  if (outcome.kind === 'failed' && outcome.isReset && bodiless.has(request.method))
    // A connection that was closed just as it was used again: nothing was read of a request that changes nothing.
    outcome = await errand.sent(token)
  if (outcome.kind === 'declined' && token !== undefined) {
    request.log.warn({ upstream: upstream.name }, 'upstream refused its token; getting a new one')
    const renewed = await passport.token(request, token)
    if (renewed !== token && !errand.isStreamed) outcome = await errand.sent(renewed)
  }
  if (outcome.kind === 'answered' && outcome.complete) return

  const ms = Math.round(performance.now() - errand.started)
  if (outcome.kind === 'answered') {
    request.log.warn({ upstream: upstream.name, status: reply.raw.statusCode, ms }, 'answer broke off')
    return
  }
  durations(outcome.kind, errand.started)
  if (outcome.kind === 'abandoned') {
    reply.hijack()
    request.log.info({ upstream: upstream.name, ms }, 'client went away')
    return
  }
  if (outcome.kind === 'failed') throw outcome.problem
  request.log.error({ alert: 'upstream_refuses_tokens', upstream: upstream.name }, 'upstream refuses our tokens')
  throw problem('upstream_failed')
}

const hasBody = ({ raw }: FastifyRequest): boolean =>
  raw.headers['transfer-encoding'] !== undefined || (raw.headers['content-length'] ?? '0') !== '0'

/** The body: small ones as a whole, for the one retry; larger ones and those of unknown length as a stream. */
async function bodyOf({ raw, method }: FastifyRequest, limit: number): Promise<Readable | Buffer> {
  if (bodiless.has(method)) throw problem('body_malformed', 'A request by this method has no body.')
  const length = Number(raw.headers['content-length'])
  if (length > limit) throw problem('body_too_large')
  if (length <= repeatable) {
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
