import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import addFormats from 'ajv-formats'
import type { FastifySchemaCompiler, FastifySchemaValidationError } from 'fastify'

const options = { allErrors: false, strict: false, useDefaults: true, removeAdditional: false } as const
// A bank's body is taken literally: "100" is not 100. Query and path are text, so they are converted.
const strict = addFormats.default(new Ajv({ ...options, coerceTypes: false }))
const coercing = addFormats.default(new Ajv({ ...options, coerceTypes: 'array' }))

/** Ajv per part of the request: strict for bodies, coercing for query, path and headers. */
export const validatorCompiler: FastifySchemaCompiler<object> = ({ schema, httpPart }): ValidateFunction =>
  (httpPart === 'body' ? strict : coercing).compile(schema)

/** What a client is told about one wrong field; never the value that it sent. */
export type FieldError = { field: string; message: string }

/** Ajv's errors in a person's words, with a JSON Pointer (RFC 6901) to the field. */
export function fieldErrors(errors: readonly (FastifySchemaValidationError | ErrorObject)[]): FieldError[] {
  return errors.map(error => {
    const missing = error.keyword === 'required' ? `/${String(error.params.missingProperty)}` : ''
    const unknown = error.keyword === 'additionalProperties' ? `/${String(error.params.additionalProperty)}` : ''
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
