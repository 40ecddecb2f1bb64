import { isUnambiguous } from '@banking/contracts'

/** The two JSON objects of a compact JWS. Nothing is verified yet. */
export type DecodedToken = { header: Readonly<Record<string, unknown>>; claims: Readonly<Record<string, unknown>> }

/** Characters. Node itself refuses headers beyond 16 KB with 431. */
const maxLength = 8192
/** An access token nests three levels. */
const maxDepth = 8

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Takes a compact JWS (RFC 7515 §7.1) apart, strictly: three segments in canonical base64url, valid UTF-8, two JSON
 * objects, no member twice (another parser, the proxy's for one, may take the other value), no deep nesting.
 *
 * @returns undefined for anything else
 */
export function decodeToken(token: string): DecodedToken | undefined {
  if (token.length > maxLength) return undefined
  const segments = token.split('.')
  if (segments.length !== 3 || !segments.every(isCanonical)) return undefined
  const header = jsonObject(segments[0] as string)
  const claims = header && jsonObject(segments[1] as string)
  return claims && { header, claims }
}

/** Unused trailing bits and padding would give one signature many spellings. */
function isCanonical(segment: string): boolean {
  return segment !== '' && Buffer.from(segment, 'base64url').toString('base64url') === segment
}

function jsonObject(segment: string): Record<string, unknown> | undefined {
  try {
    const text = utf8.decode(Buffer.from(segment, 'base64url'))
    const value: unknown = JSON.parse(text)
    if (!isObject(value) || !isUnambiguous(text, maxDepth)) return undefined
    return value
  } catch {
    // Not UTF-8 or not JSON: the same answer as for every other malformed token.
    return undefined
  }
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
