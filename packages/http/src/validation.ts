import { isUnambiguous, problem } from '@banking/contracts'
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import addFormats from 'ajv-formats'
import type { FastifyInstance, FastifySchemaCompiler, FastifySchemaValidationError } from 'fastify'

/** No body of ours nests deeper than five levels. */
const maxDepth = 16

const utf8 = new TextDecoder('utf-8', { fatal: true })

const options = { allErrors: false, strict: false, useDefaults: true, removeAdditional: false } as const
// A bank's body is taken literally: "100" is not 100. Query and path are text, so they are converted.
const strict = withFormats(new Ajv({ ...options, coerceTypes: false }))
const coercing = withFormats(new Ajv({ ...options, coerceTypes: 'array' }))

/** One spelling of a UUID: ajv-formats takes `urn:uuid:` before it, the database does not. */
function withFormats(ajv: Ajv): Ajv {
  return addFormats.default(ajv).addFormat('uuid', /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i)
}

/**
 * JSON is the only body a server takes, and literally: bytes that are not UTF-8 are refused instead of replaced, and so
 * is a member that comes twice, of which another parser on the way may have seen the other one (RFC 7493 §2).
 */
export function takeJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  // Fastify's own two: JSON of any bytes, and text, which is no document of ours.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const coding = request.headers['content-encoding']
    if (coding !== undefined && coding.toLowerCase() !== 'identity')
      return done(problem('media_type_unsupported', 'Send the body without a content coding.'))
    let text: string
    try {
      text = utf8.decode(body)
    } catch (cause) {
      return done(problem('body_malformed', 'The body is not UTF-8.', { cause }))
    }
    void parse(request, text, (error, value) => {
      if (error === null && !isUnambiguous(text, maxDepth))
        return done(problem('body_malformed', 'The body names a member twice or nests too deeply.'))
      done(error, value)
    })
  })
}

/** Ajv per part of the request: strict for bodies, coercing for query, path and headers. */
export const validatorCompiler: FastifySchemaCompiler<object> = ({ schema, httpPart }): ValidateFunction =>
  (httpPart === 'body' ? strict : coercing).compile(schema)

/** What a client is told about one wrong field; never the value that it sent. */
export type FieldError = { field: string; message: string }

/** Ajv's errors in a person's words, with a JSON Pointer (RFC 6901) to the field. */
export function fieldErrors(errors: readonly (FastifySchemaValidationError | ErrorObject)[]): FieldError[] {
  return errors.map(error => {
    const missing = error.keyword === 'required' ? `/${String(error.params.missingProperty)}` : ''
    // The one thing of the sender's own that we repeat: enough to find it, not a page of it.
    const name = String(error.params.additionalProperty).slice(0, 100)
    const unknown = error.keyword === 'additionalProperties' ? `/${name}` : ''
    const message =
      error.keyword === 'required'
        ? 'is missing'
        : error.keyword === 'additionalProperties'
          ? 'is not known here'
          : error.keyword === 'enum'
            ? `must be one of ${(error.params.allowedValues as unknown[]).join(', ')}`
            : (error.message ?? 'is not valid')
    return { field: `${error.instancePath}${missing}${unknown}` || '/', message: message.slice(0, 200) }
  })
}
