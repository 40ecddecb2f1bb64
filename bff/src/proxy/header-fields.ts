import { problem } from '@banking/contracts'
import { loginCookiePrefix } from '../login/login-transaction.ts'

/** What a request may say to an upstream. All else stays here: cookies, credentials, forwarded and identity headers. */
const passed: ReadonlySet<string> = new Set([
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'content-encoding',
  'content-language',
  'content-type',
  'idempotency-key',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-event-id',
  'range',
  'x-purpose',
])
/** Those of them that are lists: several fields mean the same as one with commas (RFC 9110 §5.3). */
const lists: ReadonlySet<string> = new Set([
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'content-encoding',
  'content-language',
  'if-match',
  'if-none-match',
])

/** RFC 9110 §7.6.1, and the length of a body that we frame anew. */
const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])
/** What only the edge says to a browser, or what tells of the inside. */
const edgeOnly: ReadonlySet<string> = new Set([
  'alt-svc',
  'clear-site-data',
  'content-security-policy',
  'content-security-policy-report-only',
  'cross-origin-embedder-policy',
  'cross-origin-opener-policy',
  'cross-origin-resource-policy',
  'date',
  'permissions-policy',
  'referrer-policy',
  'refresh',
  'server',
  'service-worker-allowed',
  'strict-transport-security',
  'traceparent',
  'tracestate',
  'via',
  'www-authenticate',
  'x-content-type-options',
  'x-frame-options',
  'x-powered-by',
  'x-request-id',
  'x-xss-protection',
])

export const sessionCookieName = '__Host-session'

/**
 * The header fields of a request that go on, as name and value in turn.
 *
 * @param raw the fields as they came, `IncomingMessage.rawHeaders`
 * @throws Problem `request_invalid` when a field that has one value came twice: two servers would read two things
 */
export function requestFields(raw: readonly string[]): string[] {
  const named = connectionNamed(raw)
  const kept = new Map<string, string>()
  for (let at = 0; at < raw.length; at += 2) {
    const name = (raw[at] as string).toLowerCase()
    if (!passed.has(name) || named.has(name)) continue
    const value = raw[at + 1] as string
    const before = kept.get(name)
    if (before !== undefined && !lists.has(name)) throw problem('request_invalid', `${name} was sent twice`)
    kept.set(name, before === undefined ? value : `${before}, ${value}`)
  }
  return [...kept].flat()
}

/**
 * The header fields of an answer that go on to the browser, after the edge's own.
 *
 * @param own names of the edge's fields in lower case are in {@link edgeOnly}: an upstream cannot weaken them
 * @param upstream origin of the upstream, so that its own address in `Location` becomes a path
 */
export function responseFields(raw: readonly string[], own: readonly string[], upstream: string): string[] {
  const named = connectionNamed(raw)
  const fields = [...own]
  let caching = false
  for (let at = 0; at < raw.length; at += 2) {
    const name = (raw[at] as string).toLowerCase()
    let value = raw[at + 1] as string
    if (hopByHop.has(name) || edgeOnly.has(name) || named.has(name)) continue
    if (name.startsWith('access-control-')) continue
    if (name === 'set-cookie' && isOurCookie(value)) continue
    if (name === 'location' && value.startsWith(`${upstream}/`)) value = value.slice(upstream.length)
    if (name === 'cache-control') caching = true
    fields.push(name, value)
  }
  // What a service answers is about a person: nobody keeps a copy unless the service says that they may.
  if (!caching) fields.push('cache-control', 'no-store')
  return fields
}

/** Whether a Set-Cookie would set one of ours; browsers compare names exactly, people do not. */
function isOurCookie(setCookie: string): boolean {
  const name = (setCookie.split(/[=;]/, 1)[0] as string).trim().toLowerCase()
  return name === sessionCookieName.toLowerCase() || name.startsWith(loginCookiePrefix.toLowerCase())
}

/** Fields that the sender declares to be for this hop only. They go before ours are added. */
function connectionNamed(raw: readonly string[]): Set<string> {
  const named = new Set<string>()
  for (let at = 0; at < raw.length; at += 2)
    if ((raw[at] as string).toLowerCase() === 'connection')
      for (const name of (raw[at + 1] as string).split(',')) named.add(name.trim().toLowerCase())
  return named
}
