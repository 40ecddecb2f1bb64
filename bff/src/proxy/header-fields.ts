import { problem } from '@banking/contracts'
import { edgeCookiePrefix, loginCookiePrefix } from '../login/login-transaction.ts'
import { type ApplicationHeaders, applicationHeaders, type SecurityHeaders } from '../pages/security-headers.ts'
import { withoutCookies } from '../sessions/cookies.ts'
import { createForwardedFields, type ForwardedFields } from './forwarded.ts'
import { listFields, passedFields } from './passed-fields.ts'
import { byKind, type Upstream } from './upstreams.ts'

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
const keptBack = new Set([...hopByHop, ...edgeOnly])
/** Those of them by which an application says how browsers are to treat its own pages. */
const ofApplications: ReadonlySet<string> = new Set([
  'content-security-policy',
  'content-security-policy-report-only',
  'cross-origin-embedder-policy',
  'cross-origin-opener-policy',
  'permissions-policy',
  'referrer-policy',
  'reporting-endpoints',
])
const keptBackOfApplications = new Set([...keptBack].filter(name => !ofApplications.has(name)))

/** What one upstream is told, and what it may say. */
export type FieldRules = {
  /** Names of the request's fields that pass, in lower case. */
  passed: ReadonlySet<string>
  /** Whether it has cookies of its own, both ways: applications that render pages do. */
  passesCookies: boolean
  /** Undefined when it is told nothing of where requests come from. */
  forwarded: ForwardedFields | undefined
  /** Name and value of the edge's own fields, in turn; no upstream can weaken them. */
  own: readonly string[]
  /** What is added where the application's own fields count. */
  application: ApplicationHeaders | undefined
  /** How the application may have written our origin in `Location`. */
  aliases: readonly string[]
  publicOrigin: URL
  /** In lower case. */
  sessionCookie: string
}

/** @param headers name and value of every header field that the edge itself sends */
export function fieldRules(
  upstream: Upstream,
  { headers, sessionCookie, publicOrigin }: { headers: SecurityHeaders; sessionCookie: string; publicOrigin: string },
): FieldRules {
  const { kind, origin, requestHeaders, forwarded, securityHeaders = byKind[kind].securityHeaders } = upstream
  const application = securityHeaders === 'application' ? applicationHeaders(headers) : undefined
  return {
    passed: new Set([...passedFields[kind], ...requestHeaders]),
    passesCookies: kind === 'pages',
    forwarded: forwarded ? createForwardedFields(publicOrigin) : undefined,
    own: Object.entries(application?.always ?? headers).flat(),
    application,
    // It may know the host and not that TLS ended before it.
    aliases: [origin, publicOrigin.replace(/^https:/, 'http:')].filter(alias => alias !== publicOrigin),
    publicOrigin: new URL(publicOrigin),
    sessionCookie: sessionCookie.toLowerCase(),
  }
}

/**
 * The header fields of a request that go on, as name and value in turn.
 *
 * @param raw the fields as they came, `IncomingMessage.rawHeaders`
 * @param client address of the client
 * @throws Problem `request_invalid` when a field that has one value came twice: two servers would read two things
 */
export function requestFields(raw: readonly string[], rules: FieldRules, client: string): string[] {
  const { passed, passesCookies, publicOrigin, sessionCookie } = rules
  const named = connectionNamed(raw)
  const kept: string[] = []
  let cookies = ''
  for (let at = 0; at < raw.length; at += 2) {
    const name = lowerCase(raw[at] as string)
    if (named?.has(name)) continue
    const value = raw[at + 1] as string
    if (name === 'cookie') cookies += `;${value}`
    if (!passed.has(name)) continue
    // An address of a login has a code in it.
    if (name === 'referer' && value.startsWith(`${publicOrigin.origin}/oauth2/`)) continue
    const before = indexOfField(kept, name)
    if (before === -1) kept.push(name, value)
    else if (listFields.has(name)) kept[before + 1] += `, ${value}`
    else throw problem('request_invalid', `${name} was sent twice`)
  }
  if (passesCookies && cookies !== '') {
    const theirs = withoutCookies(cookies, name => isOurCookie(name, sessionCookie))
    if (theirs !== undefined) kept.push('cookie', theirs)
  }
  return rules.forwarded === undefined ? kept : kept.concat(rules.forwarded(client))
}

/**
 * The header fields of an answer that go on to the browser, after the edge's own.
 *
 * @param more name and value of what the edge says about this answer alone
 */
export function responseFields(raw: readonly string[], rules: FieldRules, more: readonly string[]): string[] {
  const named = connectionNamed(raw)
  const { own, application } = rules
  const dropped = application === undefined ? keptBack : keptBackOfApplications
  const fields = own.concat(more)
  let caching = false
  let framing: 'DENY' | 'SAMEORIGIN' = 'SAMEORIGIN'
  for (let at = 0; at < raw.length; at += 2) {
    const name = lowerCase(raw[at] as string)
    if (named?.has(name)) continue
    const value = raw[at + 1] as string
    if (name === 'x-frame-options' && /\bdeny\b/i.test(value)) framing = 'DENY'
    if (dropped.has(name) || name.startsWith('access-control-')) continue
    if (name === 'set-cookie') {
      if (maySet(value, rules)) fields.push(name, publicCookie(value, rules.publicOrigin))
    } else if (name === 'location') fields.push(name, publicLocation(value, rules))
    else fields.push(name, value)
    if (name === 'cache-control') caching = true
  }
  if (application !== undefined) {
    for (const [name, value] of application.unlessSaid) if (indexOfField(fields, name) === -1) fields.push(name, value)
    fields.push(...application.framing[framing])
  }
  // What a service answers is about a person: nobody keeps a copy unless the service says that they may.
  if (!caching) fields.push('cache-control', 'no-store')
  return fields
}

/** Whether an answer is one of events without an end (WHATWG HTML §9.2), by its header fields. */
export function isEventStream(raw: readonly string[]): boolean {
  for (let at = 0; at < raw.length; at += 2)
    if (raw[at]?.length === 12 && lowerCase(raw[at] as string) === 'content-type')
      return /^text\/event-stream\b/i.test(raw[at + 1] as string)
  return false
}

/**
 * An address of the upstream as browsers reach it. Whole, not a path alone: of `http://upstream//other.example` that
 * would leave another host.
 */
function publicLocation(location: string, { aliases, publicOrigin }: FieldRules): string {
  for (const alias of aliases)
    if (location.startsWith(alias) && /^(?:[/?#]|$)/.test(location.slice(alias.length)))
      return publicOrigin.origin + location.slice(alias.length)
  return location
}

/**
 * A cookie of an application as the browser takes it: not for a host that browsers do not know, and for TLS alone where
 * there is nothing else.
 */
function publicCookie(cookie: string, { hostname, protocol }: URL): string {
  const [pair = '', ...attributes] = cookie.split(';')
  let isSecure = protocol !== 'https:'
  const kept = attributes.filter(attribute => {
    const [name = '', value = ''] = attribute.split('=', 2).map(part => part.trim().toLowerCase())
    if (name === 'secure') isSecure = true
    const domain = value.replace(/^\./, '')
    return name !== 'domain' || hostname === domain || hostname.endsWith(`.${domain}`)
  })
  if (isSecure && kept.length === attributes.length) return cookie
  return [pair, ...kept, ...(isSecure ? [] : [' Secure'])].join(';')
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
