import { createHash } from 'node:crypto'
import { problem } from '@banking/contracts'

const bare = /^[A-Za-z0-9_-]{1,255}$/
const quoted = /^"([A-Za-z0-9_-]{1,255})"$/

/**
 * The value of `Idempotency-Key`: a structured-field string (RFC 9651 §3.3.3) or the same characters without quotes;
 * both name the same key.
 *
 * @throws Problem `key_missing` or `key_malformed`
 */
export function parseKey(header: string | string[] | undefined): string {
  if (header === undefined || header === '') throw problem('key_missing')
  const value = String(header)
  const key = bare.test(value) ? value : quoted.exec(value)?.[1]
  if (key === undefined) throw problem('key_malformed')
  return key
}

/** SHA-256 of a JSON value in its canonical form (RFC 8785; our bodies hold no numbers). */
export const fingerprint = (body: unknown): Buffer => createHash('sha256').update(canonical(body)).digest()

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join()}}`
}
