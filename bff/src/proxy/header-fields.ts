import { problem } from '@banking/contracts'
import { edgeCookiePrefix, loginCookiePrefix } from '../login/login-transaction.ts'
import { withoutCookies } from '../sessions/cookies.ts'
import type { Upstream } from './upstreams.ts'

/** What a request may say to any upstream. All else stays here: credentials, forwarded and identity headers; cookies by rule. */
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
const keptBack: ReadonlySet<string> = new Set([...hopByHop, ...edgeOnly])

/** What one upstream is told, and what it may say. */
export type FieldRules = {
  /** Whether cookies that are not the edge's own go on, both ways: applications that render pages have some. */
  passesCookies: boolean
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

/** Pages know best what they load and whom they know: their policy and cookies are kept, all else is as the edge says. */
export function fieldRules(
  headers: Readonly<Record<string, string>>,
  sessionCookie: string,
  { kind, origin }: Pick<Upstream, 'kind' | 'origin'>,
): FieldRules {
  const own = Object.entries(headers)
  return {
    passesCookies: kind === 'pages',
    own: own.flat(),
    ownWithoutPolicy: kind === 'pages' ? own.filter(([name]) => name !== policy).flat() : undefined,
    origin,
    sessionCookie: sessionCookie.toLowerCase(),
  }
}

/**
 * The header fields of a request that go on, as name and value in turn.
 *
 * @param raw the fields as they came, `IncomingMessage.rawHeaders`
 * @throws Problem `request_invalid` when a field that has one value came twice: two servers would read two things
 */
export function requestFields(raw: readonly string[], rules: FieldRules): string[] {
  const named = connectionNamed(raw)
  const kept: string[] = []
  let cookies = ''
  for (let at = 0; at < raw.length; at += 2) {
    const name = lowerCase(raw[at] as string)
    if (named?.has(name)) continue
    const value = raw[at + 1] as string
    if (name === 'cookie') cookies += `;${value}`
    if (!passed.has(name)) continue
    const before = indexOfField(kept, name)
    if (before === -1) kept.push(name, value)
    else if (lists.has(name)) kept[before + 1] += `, ${value}`
    else throw problem('request_invalid', `${name} was sent twice`)
  }
  if (rules.passesCookies && cookies !== '') {
    const theirs = withoutCookies(cookies, name => isOurCookie(name, rules.sessionCookie))
    if (theirs !== undefined) kept.push('cookie', theirs)
  }
  return kept
}

/**
 * The header fields of an answer that go on to the browser, after the edge's own.
 *
 * @param more name and value of what the edge says about this answer alone
 */
export function responseFields(raw: readonly string[], rules: FieldRules, more: readonly string[]): string[] {
  const named = connectionNamed(raw)
  const { ownWithoutPolicy, origin } = rules
  const keepsPolicy = ownWithoutPolicy !== undefined && hasField(raw, policy) && !named?.has(policy)
  const fields = (keepsPolicy ? ownWithoutPolicy : rules.own).concat(more)
  let caching = false
  for (let at = 0; at < raw.length; at += 2) {
    const name = lowerCase(raw[at] as string)
    if ((keptBack.has(name) && !(keepsPolicy && name === policy)) || named?.has(name)) continue
    if (name.startsWith('access-control-')) continue
    let value = raw[at + 1] as string
    if (name === 'set-cookie' && !maySet(value, rules)) continue
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
    if (lowerCase(raw[at] as string) === name && (raw[at + 1] as string).trim() !== '') return true
  return false
}

function indexOfField(fields: readonly string[], name: string): number {
  for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) return at
  return -1
}

/**
 * Whether a cookie of this name is one of ours; browsers compare names exactly, people do not. Without a name its value
 * comes back as a whole, and `=__Host-session=x` then reads as ours.
 */
function isOurCookie(cookieName: string, sessionCookie: string): boolean {
  const name = cookieName.trim().toLowerCase()
  return name === '' || name === sessionCookie || ownPrefixes.some(prefix => name.startsWith(prefix))
}

/** Whether an upstream may give the browser this cookie, a `Set-Cookie` field as it came. */
const maySet = (cookie: string, { passesCookies, sessionCookie }: FieldRules): boolean =>
  passesCookies && !isOurCookie(cookie.split(/[=;]/, 1)[0] as string, sessionCookie)

const ownPrefixes = [loginCookiePrefix, edgeCookiePrefix].map(prefix => prefix.toLowerCase())

/** Fields that the sender declares to be for this hop only. They go before ours are added. */
function connectionNamed(raw: readonly string[]): Set<string> | undefined {
  let named: Set<string> | undefined
  for (let at = 0; at < raw.length; at += 2) {
    if (lowerCase(raw[at] as string) !== 'connection') continue
    named ??= new Set()
    for (const name of (raw[at + 1] as string).split(',')) named.add(name.trim().toLowerCase())
  }
  return named
}

/** Names as they were written, and in lower case: they are few, and come with every request. */
const lowered = new Map<string, string>()
/** What a stranger makes up must not fill it. */
const mostLowered = 500
const longestLowered = 50

function lowerCase(name: string): string {
  let lower = lowered.get(name)
  if (lower === undefined) {
    lower = name.toLowerCase()
    if (lowered.size < mostLowered && name.length <= longestLowered) lowered.set(name, lower)
  }
  return lower
}
