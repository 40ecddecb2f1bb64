import { type Problem, problem } from '@banking/contracts'

/** `b64token` of RFC 6750 §2.1 after one space; the scheme's name knows no case (RFC 9110 §11.1). */
const credentials = /^bearer ([A-Za-z0-9._~+/-]+=*)$/i

/**
 * The one bearer token of a request.
 *
 * @param rawHeaders names and values as they arrived: Node drops a second Authorization header from `headers`, and a
 *   proxy in front may have read the other one
 * @throws Problem `token_missing` when there is no bearer token, `authorization_malformed` when there is more than one
 *   or it is not in the form of RFC 6750 §2.1
 */
export function bearerToken(rawHeaders: readonly string[]): string {
  let value: string | undefined
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string
    if (name.length !== 13 || name.toLowerCase() !== 'authorization') continue
    if (value !== undefined) throw malformed()
    value = rawHeaders[index + 1] as string
  }
  if (value === undefined) throw missing()
  const token = credentials.exec(value)?.[1]
  if (token !== undefined) return token
  // Another scheme is no bearer token at all; a broken bearer token is a broken request.
  throw /^bearer(?![A-Za-z0-9._~+/-])/i.test(value) ? malformed() : missing()
}

/** @param reason a constant for the log; the caller learns nothing from it */
export const invalid = (reason: string): Problem =>
  problem('token_invalid', undefined, {
    headers: challenge({ error: 'invalid_token', error_description: 'The access token is not valid here.' }),
    cause: reason,
  })

const missing = (): Problem => problem('token_missing', undefined, { headers: challenge({}) })

const malformed = (): Problem =>
  problem('authorization_malformed', undefined, {
    headers: challenge({
      error: 'invalid_request',
      error_description: 'Send exactly one Authorization header with one bearer token.',
    }),
  })

export const scopeInsufficient = (scope: string): Problem =>
  problem('scope_insufficient', undefined, { headers: challenge({ error: 'insufficient_scope', scope }) })

/** RFC 6750 §3: every attribute once, none of it from the request. */
const challenge = (attributes: Record<string, string>): { 'www-authenticate': string } => ({
  'www-authenticate': `Bearer ${Object.entries(attributes)
    .map(([name, value]) => `${name}="${value}"`)
    .join(', ')}`.trim(),
})
