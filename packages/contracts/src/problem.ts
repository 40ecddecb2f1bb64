/** Where the catalog of problems is published; `type` is this plus the code (RFC 9457 §3.1.1). */
export const problemBase = 'https://banking.local/problems/'
/** Media type of {@link ProblemDocument} (RFC 9457 §6.1). */
export const problemContentType = 'application/problem+json'

/** The body of a refusal (RFC 9457). Extensions stand beside the standard members. */
export type ProblemDocument = {
  type: string
  title: string
  status: number
  code: string
  detail?: string
  instance?: string
  [extension: string]: unknown
}

/** A refusal: thrown anywhere, rendered by one error handler in `@banking/http`. */
export class Problem extends Error {
  readonly code: string
  readonly status: number
  readonly title: string
  readonly detail: string | undefined
  readonly extensions: Readonly<Record<string, unknown>>
  /** Response headers that belong to the refusal, e.g. `www-authenticate` or `retry-after`. */
  readonly headers: Readonly<Record<string, string>>

  constructor(fields: {
    code: string
    status: number
    title: string
    detail?: string | undefined
    extensions?: Record<string, unknown> | undefined
    headers?: Record<string, string> | undefined
    cause?: unknown
  }) {
    super(fields.detail ?? fields.title, fields.cause === undefined ? undefined : { cause: fields.cause })
    this.name = 'Problem'
    this.code = fields.code
    this.status = fields.status
    this.title = fields.title
    this.detail = fields.detail
    this.extensions = Object.freeze({ ...fields.extensions })
    this.headers = Object.freeze({ ...fields.headers })
  }

  /** The document to send; without an `instance` it is the same bytes for the same refusal. */
  toDocument(instance?: string): ProblemDocument {
    return {
      type: problemBase + this.code,
      title: this.title,
      status: this.status,
      code: this.code,
      ...(this.detail === undefined ? {} : { detail: this.detail }),
      ...(instance === undefined ? {} : { instance }),
      ...this.extensions,
    }
  }
}
