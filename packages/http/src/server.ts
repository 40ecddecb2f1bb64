import { randomUUIDv7 } from 'node:crypto'
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { type Problem, type ProblemCode, type ProblemDocument, problem, problemContentType } from '@banking/contracts'
import {
  childOf,
  deferredChild,
  formatTraceparent,
  type Logger,
  type Metrics,
  newTrace,
  parseTraceparent,
  preparedLine,
  type Trace,
} from '@banking/telemetry'
import swagger from '@fastify/swagger'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
  type RawServerDefault,
} from 'fastify'
import { type ConnectionLimits, guardConnections } from './connections.ts'
import { boundPipelining } from './pipelining.ts'
import { handleProblems, sendProblem, type Translator } from './problem-handler.ts'
import { takeJson, validatorCompiler } from './validation.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The span of this request; its children go to the next hop and into events. */
    trace: Trace
    /** Code of the refusal that was answered, for the request's log line. */
    problemCode: string | undefined
  }
}

export type Server = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>

export type ServerOptions = {
  /** Title and description of the OpenAPI document. */
  title: string
  description: string
  /** How callers say who they are (OpenAPI 3.1 §4.8.27), by the name that routes use in `schema.security`. */
  securitySchemes?: Readonly<Record<string, SecurityScheme>>
  logger: Logger
  metrics: Metrics
  /** Bytes of a request body; 413 beyond. */
  bodyLimit?: number
  /** Bytes of a request body that must come each second, on average and after ten seconds; 408 below. */
  bodyRate?: number
  /** Translators of libraries' errors into problems; what they leave is a 500. */
  translators?: readonly Translator[]
  /** Whether the caller's `traceparent` and `x-request-id` are continued. The edge starts its own. */
  continueTrace?: boolean
  /** The page that a person sees instead of a problem about an address which no hook ever sees; undefined for programs. */
  pageOf?: (request: FastifyRequest, document: ProblemDocument) => string | undefined
  /** Header fields of every answer, also of those that are given before a route is found. */
  headers?: Readonly<Record<string, string>>
  /** Told of each refusal with the code of its problem, once it was answered. */
  onRefused?: (request: FastifyRequest, code: string) => void
  /** Connections that are taken; without it as many as come, which is right behind a proxy of ours only. */
  connections?: ConnectionLimits
}

/** The part of OpenAPI's security schemes that the bank uses. */
type SecurityScheme =
  | { type: 'http'; scheme: 'bearer'; bearerFormat: string; description: string }
  | { type: 'apiKey'; in: 'cookie'; name: string; description: string }

/** What `@banking/auth` takes. */
const bearer: SecurityScheme = {
  type: 'http',
  scheme: 'bearer',
  bearerFormat: 'JWT',
  description: 'An access token (RFC 9068) whose audience is this service; each operation names the scope it needs.',
}

/** Header fields of one request. Node counts their bytes only, and an ordinary browser sends some twenty. */
const mostFields = 100
/** Characters of a request target; RFC 9110 §4.1 asks for 8000 at least. */
const longestTarget = 8_000

/** ms that a client gets to read a refusal which ends its connection. */
const linger = 1_000

const requestIdPattern = /^[A-Za-z0-9_-]{8,64}$/

/**
 * A Fastify server with the bank's manners: problem+json for every refusal, strict bodies, a request id, a trace,
 * one log line and one latency sample per request, an OpenAPI 3.1 document, limits and time-outs.
 */
export async function createServer(options: ServerOptions): Promise<Server> {
  const { logger, metrics } = options
  const headers = { 'x-content-type-options': 'nosniff', ...options.headers }
  const app: Server = Fastify({
    loggerInstance: logger as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    bodyLimit: options.bodyLimit ?? 64 * 1024,
    connectionTimeout: 0,
    // A body has as long as its size and the least rate give it: see `guardConnections`.
    requestTimeout: 0,
    keepAliveTimeout: 72_000,
    // The longest id is a person's `sub`: 255 characters (OpenID Connect Core 1.0 §2).
    routerOptions: { ignoreTrailingSlash: false, caseSensitive: true, maxParamLength: 255 },
    forceCloseConnections: 'idle',
    // Who is still connected while we stop is answered like everybody else.
    return503OnClosing: false,
    genReqId: request => {
      const given = options.continueTrace === false ? undefined : request.headers['x-request-id']
      const isKept = typeof given === 'string' && requestIdPattern.test(given)
      return isKept ? given : randomUUIDv7()
    },
    childLoggerFactory: (parent, bindings) => deferredChild(parent as Logger, () => bindings),
    // Node would answer a missing host by itself, without our header fields and without a problem.
    // Its time limits are looked at this often, and by default so rarely that 10 s could become 40.
    http: {
      maxHeaderSize: 16 * 1024,
      headersTimeout: 10_000,
      connectionsCheckingInterval: 2_000,
      requireHostHeader: false,
    },
    frameworkErrors: (error, request, reply) => {
      // A path that cannot be decoded never reached a hook: the request has no trace yet.
      reply.headers(headers)
      const refusal = refuseShape(request.raw, reply) ?? problem('path_malformed', undefined, { cause: error })
      const page = options.pageOf?.(request as FastifyRequest, refusal.toDocument())
      if (page === undefined) sendProblem(request, reply as never, refusal)
      else
        void (reply as FastifyReply)
          .code(refusal.status)
          .headers({ 'cache-control': 'no-store', 'x-request-id': request.id })
          .type('text/html; charset=utf-8')
          .send(page)
    },
    clientErrorHandler: (error, socket) => refuseUnparsed(error, socket, headers, logger),
  }).withTypeProvider<TypeBoxTypeProvider>()
  // Node would refuse other expectations than 100-continue the same bare way; they may be ignored (RFC 9110 §10.1.1).
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response))
  // Node would close the connection without a word. There is no way through here to anywhere (RFC 9110 §9.3.6).
  app.server.on('connect', (_request, socket: Socket) =>
    answerRaw(socket, problem('method_not_allowed', undefined, { headers: { allow: 'GET, HEAD, POST' } }), headers),
  )
  const refuse = (code: string) => (socket: Socket) =>
    refuseUnparsed({ code } as NodeJS.ErrnoException, socket, headers, logger)
  const hasMore = boundPipelining(app.server, refuse('HPE_INVALID_CONSTANT'))
  guardConnections(app.server, {
    limits: options.connections,
    bodyRate: options.bodyRate ?? 4 * 1024,
    metrics,
    refuse: refuse('ERR_HTTP_REQUEST_TIMEOUT'),
  })
  takeJson(app as unknown as FastifyInstance)
  app.setValidatorCompiler(validatorCompiler)
  handleProblems(app as unknown as FastifyInstance, options.translators ?? [])
  observe(app, {
    logger,
    metrics,
    continueTrace: options.continueTrace ?? true,
    headers,
    hasMore,
    onRefused: options.onRefused,
  })
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: options.title, description: options.description, version: '1' },
      components: { securitySchemes: { ...(options.securitySchemes ?? { bearer }) } },
    },
  })
  return app
}

/** What was not HTTP enough to become a request still gets a problem (RFC 9457), unless the connection is gone. */
function refuseUnparsed(
  error: NodeJS.ErrnoException,
  socket: Socket,
  headers: Readonly<Record<string, string>>,
  logger: Logger,
): void {
  // Each further piece that cannot be parsed comes here again: closed now, the answer could be lost on its way.
  if (refused.has(socket)) return
  if (error.code === 'ECONNRESET' || !socket.writable || owesAnotherAnswer(socket)) return void socket.destroy()
  logger.debug({ code: error.code }, 'request not parsed')
  answerRaw(socket, problem(unparsedProblems[error.code ?? ''] ?? 'request_malformed'), headers)
}

/** Connections whose last answer was given; they end by themselves in a moment. */
const refused = new WeakSet<Socket>()

/** A whole answer on a connection that has no request of Node's, and the end of that connection. */
function answerRaw(socket: Socket, refusal: Problem, headers: Readonly<Record<string, string>>): void {
  const body = JSON.stringify(refusal.toDocument())
  const fields = {
    ...headers,
    ...refusal.headers,
    'cache-control': 'no-store',
    'content-type': problemContentType,
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  }
  const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  const { status } = refusal
  refused.add(socket)
  // The client may still be sending; closed at once, its kernel would throw our answer away.
  setTimeout(() => socket.destroy(), linger).unref()
  socket.resume()
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head.join('')}\r\n${body}`)
}

/**
 * Whether an answer has begun on this connection, or is still to come for a request that arrived whole. Whatever is
 * written now would be taken for it, or for a part of it. Node's own handler looks at the same member.
 */
function owesAnotherAnswer(socket: Socket): boolean {
  const answer = (socket as { _httpMessage?: ServerResponse | null })._httpMessage
  return answer != null && (answer.headersSent || answer.req.complete)
}

const unparsedProblems: Readonly<Record<string, ProblemCode>> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'body_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
}

/** What is wrong with a request by its form alone. One whose end is not sure ends the connection: nothing comes behind it. */
function refuseShape(raw: IncomingMessage, reply: Pick<FastifyReply, 'header'>): Problem | undefined {
  if (!isWellFormed(raw)) {
    reply.header('connection', 'close')
    return problem('request_malformed')
  }
  if (raw.rawHeaders.length > 2 * mostFields) return problem('headers_too_large')
  if ((raw.url as string).length > longestTarget) return problem('target_too_long')
  return undefined
}

function isWellFormed({ httpVersion, headers }: IncomingMessage): boolean {
  const coding = headers['transfer-encoding']
  // RFC 9112 §3.2
  if (httpVersion === '1.1') {
    if (headers.host === undefined) return false
    // Node's parser takes any coding before `chunked`, and drops it: the body would not be what was sent (§6.1, §6.3).
    return coding === undefined || coding.toLowerCase() === 'chunked'
  }
  // Node's parser also takes chunks in HTTP/1.0, which a proxy may not know (§6.1).
  return httpVersion === '1.0' && coding === undefined
}

function observe(
  app: Server,
  options: {
    logger: Logger
    metrics: Metrics
    continueTrace: boolean
    headers: Readonly<Record<string, string>>
    hasMore: (socket: Socket) => boolean
    onRefused: ServerOptions['onRefused']
  },
): void {
  const { logger, metrics, continueTrace, headers, hasMore, onRefused } = options
  const seconds = metrics.histogram('http_request_duration_seconds', 'Time from request to end of answer.', [
    'method',
    'route',
    'status',
  ])
  // What is answered is about a person: nobody keeps a copy unless the route says that they may.
  const everywhere = Object.entries({ 'cache-control': 'no-store', ...headers })
  // Looked up once: finding a time series by its labels costs more than the sample.
  const known = new Map<string, { series: ReturnType<typeof seconds.labels>; line: ReturnType<typeof preparedLine> }>()
  app.decorateRequest('trace', null as unknown as Trace)
  app.decorateRequest('problemCode', undefined)
  // Hooks that call back: every promise here would be one more per request.
  app.addHook('onRequest', (request, reply, done) => {
    const given = continueTrace ? parseTraceparent(request.headers.traceparent as string | undefined) : undefined
    request.trace = given === undefined ? newTrace() : childOf(given)
    request.log = deferredChild(logger, () => ({ requestId: request.id, traceId: request.trace.traceId }))
    // Node's parser drops what came in one piece with a request for an upgrade: the next request would never be answered.
    if (request.raw.headers.upgrade !== undefined) reply.raw.shouldKeepAlive = false
    done(refuseShape(request.raw, reply))
  })
  // Not before there is an answer of ours: what is forwarded has a head of its own, and would pay for two.
  app.addHook('onSend', (request, reply, _payload, done) => {
    reply.header('x-request-id', request.id)
    reply.header('traceparent', formatTraceparent(request.trace))
    for (const [name, value] of everywhere) if (!reply.hasHeader(name)) reply.header(name, value)
    // Who has sent too much already is not answered for the rest of it too.
    if (reply.statusCode === 429 && hasMore(request.raw.socket)) reply.header('connection', 'close')
    done()
  })
  app.addHook('onResponse', (request, reply, done) => {
    const { method } = request
    const status = reply.statusCode
    const route = request.routeOptions.url ?? 'none'
    const key = `${status} ${method} ${route}`
    let one = known.get(key)
    if (one === undefined) {
      one = {
        series: seconds.labels({ method, route, status: String(status) }),
        line: preparedLine(logger, { method, route, status }, ['requestId', 'traceId', 'ms', 'problem'], 'request'),
      }
      known.set(key, one)
    }
    const ms = reply.elapsedTime
    one.series.observe(ms / 1000)
    const { problemCode } = request
    one.line(request.id, request.trace.traceId, Math.round(ms * 10) / 10, problemCode)
    if (problemCode !== undefined) onRefused?.(request, problemCode)
    done()
  })
}
