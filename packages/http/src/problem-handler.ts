import { Problem, type ProblemCode, problem, problemContentType } from '@banking/contracts'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { fieldErrors } from './validation.ts'

/** Knows the errors of one library, e.g. `asDatabaseProblem` of `@banking/db`; undefined for all others. */
export type Translator = (error: unknown) => Problem | undefined

/** Fastify's own refusals, by their code, as problems of the catalog. */
const frameworkProblems: Readonly<Record<string, ProblemCode>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'media_type_unsupported',
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'body_malformed',
  FST_ERR_CTP_INVALID_JSON_BODY: 'body_malformed',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'body_malformed',
  FST_ERR_BAD_URL: 'path_malformed',
  FST_ERR_NOT_FOUND: 'not_found',
  FST_ERR_HANDLER_TIMEOUT: 'timeout',
  FST_ERR_REOPENED_CLOSE_SERVER: 'overloaded',
}

/**
 * The one place where an error becomes an answer (RFC 9457). What is not a {@link Problem} and not a known refusal
 * of the framework is a 500 that says nothing of its cause; the log has it.
 */
export function handleProblems(app: FastifyInstance, translators: readonly Translator[]): void {
  app.setErrorHandler<FastifyError | Error>((error, request, reply) =>
    sendProblem(request, reply, brokenOff(error, request) ?? asProblem(error, translators)),
  )
  const methodsOf = rememberMethods(app)
  app.setNotFoundHandler((request, reply) => {
    const methods = methodsOf(request.url.split('?', 1)[0] ?? '/')
    // A route may also find nothing: then its own method is among them.
    if (methods.length === 0 || methods.includes(request.method))
      return sendProblem(request, reply, problem('not_found'))
    return sendProblem(
      request,
      reply,
      problem('method_not_allowed', undefined, { headers: { allow: methods.join(', ') } }),
    )
  })
}

/**
 * The client left in the middle of its body: to a translator its socket's code looks like the database's. There is no
 * answer to be logged with, so this is the request's line.
 */
function brokenOff(error: Error, { raw, log, method, routeOptions }: FastifyRequest): Problem | undefined {
  if (raw.complete || !raw.destroyed) return undefined
  log.info({ method, route: routeOptions.url ?? 'none' }, 'client went away')
  return problem('body_malformed', 'The body broke off.', { cause: error })
}

/** Sends a problem document with the request's id as `instance`. */
export function sendProblem(request: FastifyRequest, reply: FastifyReply, refusal: Problem): FastifyReply {
  if (refusal.status >= 500)
    request.log.error({ err: refusal.cause ?? refusal, problem: refusal.code }, 'request failed')
  else request.problemCode = refusal.code
  return (
    reply
      .code(refusal.status)
      .headers({ 'cache-control': 'no-store', ...refusal.headers })
      .type(problemContentType)
      // A string: a route's response schema is for its own answers and would drop the members of a problem.
      .serializer((payload: unknown) => JSON.stringify(payload))
      .send(refusal.toDocument(`urn:request:${request.id}`))
  )
}

/** Any thrown value as a problem. */
function asProblem(error: unknown, translators: readonly Translator[] = []): Problem {
  if (error instanceof Problem) return error
  for (const translate of translators) {
    const translated = translate(error)
    if (translated !== undefined) return translated
  }
  const { code, statusCode, validation } = error as Partial<FastifyError>
  if (validation !== undefined) {
    const errors = fieldErrors(validation)
    const [first] = errors
    return problem('request_invalid', first && `${first.field} ${first.message}`, { extensions: { errors } })
  }
  const known = code === undefined ? undefined : frameworkProblems[code]
  if (known !== undefined) return problem(known, undefined, { cause: error })
  if (statusCode === 400) return problem('body_malformed', undefined, { cause: error })
  if (statusCode === 412) return problem('precondition_failed', undefined, { cause: error })
  if (statusCode === 413) return problem('body_too_large', undefined, { cause: error })
  return problem('internal', undefined, { cause: error })
}

/** Remembers every route, so that a known path with another method is a 405 with Allow and not a 404 (RFC 9110 §15.5.6). */
function rememberMethods(app: FastifyInstance): (path: string) => string[] {
  const known = new Map<string, { path: RegExp; methods: Set<string> }>()
  app.addHook('onRoute', route => {
    const source = route.url
      .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
      .replace(/:[A-Za-z]+/g, '[^/]+')
      .replaceAll('*', '.*')
    const entry = known.get(source) ?? { path: new RegExp(`^${source}$`), methods: new Set<string>() }
    for (const method of [route.method].flat()) entry.methods.add(method)
    known.set(source, entry)
  })
  return path =>
    [...new Set([...known.values()].filter(entry => entry.path.test(path)).flatMap(entry => [...entry.methods]))].sort()
}

const ProblemDocument = Type.Object(
  {
    type: Type.String({ format: 'uri' }),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.String({ description: 'stable; docs/problems.md says what to do' }),
    detail: Type.Optional(Type.String()),
    instance: Type.Optional(Type.String({ description: 'urn:request: and the request id' })),
  },
  { additionalProperties: true, title: 'Problem' },
)

const refusal = (description: string) => ({
  description,
  content: { [problemContentType]: { schema: ProblemDocument } },
})

/** What every route may answer besides its own responses (RFC 9457): `response: { 200: Thing, ...refusals }`. */
export const refusals = {
  '4xx': refusal('Refused; the problem says why.'),
  '5xx': refusal('Not now; a read, or a write with an Idempotency-Key, may be repeated.'),
} as const
