import { problem } from '@banking/contracts'
import { edgeCookiePrefix, loginCookiePrefix } from '../login/login-transaction.ts'
import type { Upstream } from './upstreams.ts'

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
  'nel',
  'permissions-policy',
  'referrer-policy',
  'refresh',
  'report-to',
  'reporting-endpoints',
  'server',
  'server-timing',
  'service-worker-allowed',
  'sourcemap',
  'strict-transport-security',
  'traceparent',
  'tracestate',
  'via',
  'www-authenticate',
  'x-accel-redirect',
  'x-content-type-options',
  'x-frame-options',
  'x-powered-by',
  'x-request-id',
  'x-sendfile',
  'x-sourcemap',
  'x-xss-protection',
])

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

/** How the answers of one upstream reach the browser. */
export type AnswerRules = {
  /** Name and value of the edge's own fields; all their names are in {@link edgeOnly}: an upstream cannot weaken them. */
  own: readonly string[]
  /** The same without the policy, for an upstream whose own is kept; undefined where it is dropped. */
  ownWithoutPolicy: readonly string[] | undefined
  /** Origin of the upstream, so that its own address in `Location` becomes a path. */
  origin: string
  /** In lower case. */
  sessionCookie: string
}

const policy = 'content-security-policy'

/** Pages know best what they load: their own policy is kept, everything else is as the edge says. */
export function answerRules(
  headers: Readonly<Record<string, string>>,
  sessionCookie: string,
  { kind, origin }: Pick<Upstream, 'kind' | 'origin'>,
): AnswerRules {
  const own = Object.entries(headers)
  return {
    own: own.flat(),
    ownWithoutPolicy: kind === 'pages' ? own.filter(([name]) => name !== policy).flat() : undefined,
    origin,
    sessionCookie: sessionCookie.toLowerCase(),
  }
}

/**
 * The header fields of an answer that go on to the browser, after the edge's own.
 *
 * @param more name and value of what the edge says about this answer alone
 */
export function responseFields(raw: readonly string[], rules: AnswerRules, more: readonly string[]): string[] {
  const named = connectionNamed(raw)
  const { ownWithoutPolicy, origin } = rules
  const keepsPolicy = ownWithoutPolicy !== undefined && hasField(raw, policy) && !named.has(policy)
  const fields = (keepsPolicy ? ownWithoutPolicy : rules.own).concat(more)
  let caching = false
  for (let at = 0; at < raw.length; at += 2) {
    const name = (raw[at] as string).toLowerCase()
    let value = raw[at + 1] as string
    if (hopByHop.has(name) || (edgeOnly.has(name) && !(keepsPolicy && name === policy)) || named.has(name)) continue
    if (name.startsWith('access-control-')) continue
    if (name === 'set-cookie' && isOurCookie(value, rules.sessionCookie)) continue
    if (name === 'location' && value.startsWith(`${origin}/`)) value = value.slice(origin.length)
    if (name === 'cache-control') caching = true
    fields.push(name, value)
  }
  // What a service answers is about a person: nobody keeps a copy unless the service says that they may.
  if (!caching) fields.push('cache-control', 'no-store')
  return fields
}

/** Whether the field is there and says something: an empty policy is none. */
function hasField(raw: readonly string[], name: string): boolean {
  for (let at = 0; at < raw.length; at += 2)
    if ((raw[at] as string).toLowerCase() === name && (raw[at + 1] as string).trim() !== '') return true
  return false
}

/**
 * Whether a Set-Cookie would set one of ours; browsers compare names exactly, people do not. Without a name its value
 * comes back as a whole, and `=__Host-session=x` then reads as ours.
 */
function isOurCookie(setCookie: string, sessionCookie: string): boolean {
  const name = (setCookie.split(/[=;]/, 1)[0] as string).trim().toLowerCase()
  const prefixes = [loginCookiePrefix, edgeCookiePrefix]
  return name === '' || name === sessionCookie || prefixes.some(prefix => name.startsWith(prefix.toLowerCase()))
}

/** Fields that the sender declares to be for this hop only. They go before ours are added. */
function connectionNamed(raw: readonly string[]): Set<string> {
  const named = new Set<string>()
  for (let at = 0; at < raw.length; at += 2)
    if ((raw[at] as string).toLowerCase() === 'connection')
      for (const name of (raw[at + 1] as string).split(',')) named.add(name.trim().toLowerCase())
  return named
}
