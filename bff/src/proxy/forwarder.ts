import { type Readable, Transform } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { problem } from '@banking/contracts'
import { childOf, formatTraceparent, type Histogram, inTrace, type Metrics } from '@banking/telemetry'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Admission } from '../admission/limits.ts'
import type { SecurityHeaders } from '../pages/security-headers.ts'
import type { UpstreamTokens } from '../sessions/exchange.ts'
import { confirmSession } from '../sessions/session.ts'
import type { Session, Sessions } from '../sessions/sessions.ts'
import type { Streams } from '../sessions/streams.ts'
import { type FieldRules, fieldRules, isEventStream, requestFields, responseFields } from './header-fields.ts'
import type { CreateHttpClient } from './http-client.ts'
import { createPipe, type Outcome, type Pipe } from './pipe.ts'
import { byKind, type Upstream } from './upstreams.ts'

/** Takes requests to upstreams and their answers back. Whose session it is was decided before. */
export type Forwarder = {
  /**
   * The handlers for one upstream: for an ordinary request, and for one whose answer stays open. They give no promise,
   * since the framework would take one without a value for an answer without a body: all goes on by itself, and what
   * cannot be answered is sent as an error. Nothing was written to the client then.
   *
   * @param tokens what it is sent with; undefined for an upstream that gets none
   * @throws Problem from a handler, for what is refused at once
   */
  to(upstream: Upstream, tokens: UpstreamTokens | undefined): { forward: Handler; stream: Handler }
  close(): Promise<void>
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => void

/** Bytes of a body that are kept for the one retry after an upstream's 401. */
const repeatable = 16 * 1024
const bodiless: ReadonlySet<string> = new Set(['GET', 'HEAD'])

export type ForwarderOptions = {
  sessions: Pick<Sessions, 'touch' | 'find'>
  streams: Pick<Streams, 'open'>
  admission: Pick<Admission, 'admitUpload' | 'streamsOf' | 'clientOf'>
  /** Name and value of every header field that the edge itself sends. */
  headers: SecurityHeaders
  /** Name of the cookie that no upstream may set. */
  sessionCookie: string
  publicOrigin: string
  metrics: Metrics
  /** What speaks to the upstreams; our own client when nothing else is said. */
  client?: CreateHttpClient | undefined
}

export function createForwarder(options: ForwarderOptions): Forwarder {
  const { sessions, streams, admission } = options
  const seconds = options.metrics.histogram('upstream_request_duration_seconds', 'Time until an upstream was done.', [
    'upstream',
    'status',
  ])
  const pipes: Pipe[] = []

  return {
    to(upstream, tokens) {
      const { host = byKind[upstream.kind].host } = upstream
      const pipe = createPipe({
        origin: upstream.origin,
        host: host === 'public' ? new URL(options.publicOrigin).host : undefined,
        headersTimeout: upstream.timeout,
        connections: upstream.connections,
        streams: upstream.streams.connections,
        client: options.client,
      })
      pipes.push(pipe)
      const route: Route = {
        upstream,
        pipe,
        sessions,
        streams,
        admission,
        tokens,
        rules: fieldRules(upstream, options),
        durations: durationsOf(upstream.name, seconds),
        hasWarned: false,
      }
      const admitStream = admission.streamsOf(upstream.streams)
      return {
        forward: (request, reply) => forward(route, request, reply, false),
        stream(request, reply) {
          admitStream(sessionOf(request).id, reply.raw)
          forward(route, request, reply, true)
        },
      }
    },
    close: async () => {
      await Promise.all(pipes.map(pipe => pipe.close()))
    },
  }
}

/** Behind its guard a request has one. */
const sessionOf = (request: FastifyRequest) => request.session as Session

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

/** One upstream, and what its requests need. */
type Route = {
  upstream: Upstream
  pipe: Pipe
  sessions: ForwarderOptions['sessions']
  streams: ForwarderOptions['streams']
  admission: ForwarderOptions['admission']
  /** Undefined for an upstream that gets no token. */
  tokens: UpstreamTokens | undefined
  rules: FieldRules
  durations: Durations
  /** Whether the log has been told of a stream that `streams.paths` does not name. */
  hasWarned: boolean
}

/** Without a body, with a token at hand and nothing to write, which is nearly always, there is no promise on the way. */
function forward(route: Route, request: FastifyRequest, reply: FastifyReply, isStream: boolean): void {
  const { tokens, sessions } = route
  const refuse = (error: unknown): void => void reply.send(error)
  const session = sessionOf(request)
  const token = tokens?.atHand(session)
  const touching = isByPerson(request, isStream) ? sessions.touch(session) : undefined
  if (touching !== undefined || hasBody(request) || (tokens !== undefined && token === undefined))
    return void inTrace(request.trace, () => forwardLater(route, request, reply, isStream, touching)).catch(refuse)
  const outgoing = new UpstreamRequest(route, request, reply, null, isStream)
  outgoing.send(token, outcome => {
    if (outcome.kind === 'answered' && outcome.complete) return
    // Called by the upstream's connection, which works in nobody's name.
    inTrace(request.trace, () => finish(outgoing, token, outcome)).catch(refuse)
  })
}

async function forwardLater(
  route: Route,
  request: FastifyRequest,
  reply: FastifyReply,
  isStream: boolean,
  touching: Promise<void> | undefined,
): Promise<void> {
  const { tokens, sessions, admission, upstream } = route
  const session = sessionOf(request)
  await touching
  const body = hasBody(request) ? await bodyOf(request, upstream.bodyLimit) : null
  try {
    if (isPassedOn(body)) admission.admitUpload(session.id, reply.raw)
    const token = tokens?.atHand(session) ?? (await tokens?.obtain(session))
    // Its person may have signed out while its body came, or while a token was made for it.
    await confirmSession(sessions, request, reply)
    const outgoing = new UpstreamRequest(route, request, reply, body, isStream)
    await finish(outgoing, token, await outgoing.sent(token))
  } finally {
    // Whatever came of it: nobody takes the rest.
    if (isPassedOn(body)) body.destroy()
  }
}

/** Streams, and what a page does by itself, say nothing of a person being there. */
const isByPerson = ({ raw: { headers } }: FastifyRequest, isStream: boolean): boolean =>
  !isStream && headers['x-background'] !== '1' && headers.accept?.includes('text/event-stream') !== true

/** Whether the body is passed on as it comes: it is gone once it was sent. */
const isPassedOn = (body: Readable | Buffer | null): body is Readable => body !== null && !Buffer.isBuffer(body)

/** One request for an upstream, which may have to be sent more than once. */
class UpstreamRequest {
  readonly started = performance.now()
  readonly route: Route
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly body: Readable | Buffer | null
  readonly #isStream: boolean
  readonly #fields: string[]

  constructor(
    route: Route,
    request: FastifyRequest,
    reply: FastifyReply,
    body: Readable | Buffer | null,
    isStream: boolean,
  ) {
    this.route = route
    this.request = request
    this.reply = reply
    this.body = body
    this.#isStream = isStream
    const { rawHeaders, headers } = request.raw
    this.#fields = requestFields(rawHeaders, route.rules, route.admission.clientOf(request))
    // The known length of a body that is passed on goes with it; all else is framed anew.
    const length = headers['content-length']
    if (isPassedOn(body) && length !== undefined) this.#fields.push('content-length', length)
    this.#fields.push('x-request-id', request.id, 'traceparent', formatTraceparent(childOf(request.trace)))
  }

  send(token: string | undefined, done: (outcome: Outcome) => void): void {
    const { request, reply, route, body } = this
    const { method, raw } = request
    const path = raw.url as string
    const outbound = { method, path, headers: this.#fields, token, body, endless: this.#isStream }
    route.pipe.forward(outbound, reply.raw, (status, answered) => this.#answer(status, answered), done)
  }

  sent(token: string | undefined): Promise<Outcome> {
    return new Promise(resolve => this.send(token, resolve))
  }

  #answer(status: number, answered: readonly string[]): string[] | undefined {
    const { request, reply } = this
    const { tokens, streams, rules, durations } = this.route
    // It concerns the token that we made, not the person: the browser never sees it.
    if (status === 401 && tokens !== undefined) return undefined
    reply.hijack()
    // An answer that may go on for hours ends with its session, also where nobody has said that there would be one.
    if (this.#isStream || isEventStream(answered)) streams.open(sessionOf(request), reply.raw)
    if (!this.#isStream && !this.route.hasWarned && isEventStream(answered)) this.#warn()
    durations(status, this.started)
    return responseFields(answered, rules, [
      'x-request-id',
      request.id,
      'traceparent',
      formatTraceparent(request.trace),
    ])
  }

  /** Such an answer holds a connection that others wait for. */
  #warn(): void {
    const { request, route } = this
    route.hasWarned = true
    request.log.warn(
      { upstream: route.upstream.name, route: request.routeOptions.url },
      'an event stream is not named in streams.paths of its upstream: it takes a place in connections',
    )
  }
}

/** Tries once more what may be, and tells what came of it. */
async function finish(outgoing: UpstreamRequest, token: string | undefined, first: Outcome): Promise<void> {
  const { request, reply, body } = outgoing
  const { tokens, upstream, durations } = outgoing.route
  let outcome = first
  if (outcome.kind === 'failed' && outcome.isReset && bodiless.has(request.method))
    // A connection that was closed just as it was used again: nothing was read of a request that changes nothing.
    outcome = await outgoing.sent(token)
  if (outcome.kind === 'declined') {
    request.log.warn({ upstream: upstream.name }, 'upstream refused its token; getting a new one')
    const renewed = await tokens?.obtain(sessionOf(request), token)
    if (renewed !== token) {
      if (isPassedOn(body)) throw problem('not_carried_out', undefined, { headers: { 'retry-after': '1' } })
      outcome = await outgoing.sent(renewed)
    }
  }
  if (outcome.kind === 'answered' && outcome.complete) return

  const ms = Math.round(performance.now() - outgoing.started)
  if (outcome.kind === 'answered') {
    request.log.warn({ upstream: upstream.name, status: reply.raw.statusCode, ms }, 'answer broke off')
    return
  }
  durations(outcome.kind, outgoing.started)
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
  const body = raw.pipe(counting(limit))
  // Who is refused may still be sending: unread, it would stand before the next request of its connection.
  return body.on('close', () => raw.resume())
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
