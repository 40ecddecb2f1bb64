import { invalid } from './bearer.ts'
import { isObject } from './jws.ts'

/** Who is calling, as the access token says. Frozen. */
export type Principal = {
  /** A person has a session (`sid`); a service that acts for itself (client credentials) has none. */
  kind: 'person' | 'service'
  /** The person's id, everywhere in the bank; for a service the id of its account at the provider. */
  sub: string
  /** The OAuth client that got the token: the BFF's for a person, the service's own for a service. */
  client: string
  roles: readonly string[]
  scopes: readonly string[]
  sid?: string
  /** How strongly the person was authenticated, and when (epoch seconds). */
  acr?: string
  authTime?: number
  /** Epoch seconds; what the token opened (a stream) ends then. */
  expiresAt: number
}

/** `at+jwt` is RFC 9068's; `JWT` is what others write, or leave out. */
export type TokenType = 'at+jwt' | 'JWT'

/** What this service takes. */
export type Rules = {
  issuer: string
  audience: string
  algorithms: ReadonlySet<string>
  /** Clients that may hold a person's token for this service. */
  clients: ReadonlySet<string>
  tokenType: TokenType
  /** The claim that names the client, when it is neither `azp` nor `client_id`, or only one of them counts. */
  clientClaim: string | undefined
  /** Whether the claim `typ` must be there; when it is there it is always `Bearer`. */
  kindClaim: boolean
  /** Seconds between `iat` and `exp` beyond which a token is refused, however valid. */
  maxLifetime: number
}

/** Seconds that clocks may differ. */
const skew = 10
const keyId = /^[A-Za-z0-9_-]{1,64}$/
const scopeList = /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/
const maxRoles = 100

/** Header parameters that change what is verified or where the key comes from (RFC 7515 §4.1, RFC 7797, RFC 7516). */
const refusedParameters = ['crit', 'b64', 'zip', 'enc', 'jku', 'jwk', 'x5u', 'x5c']
/** Claims of other tokens of the same issuer, signed by the same key: ID, logout, and sender-constrained access tokens. */
const refusedClaims = ['nonce', 'at_hash', 'c_hash', 's_hash', 'events', 'cnf']

/** RFC 7515 §4.1.9: the prefix may be left out, and no case counts. */
const mediaType = (typ: string): string => typ.toLowerCase().replace(/^application\//, '')

/** @throws Problem `token_invalid` unless the header is that of an access token (RFC 9068 §4) we can have a key for. */
export function checkHeader(header: Readonly<Record<string, unknown>>, rules: Rules): { kid: string; alg: string } {
  const { alg, kid, typ } = header
  if (typeof alg !== 'string' || !rules.algorithms.has(alg)) throw invalid('algorithm')
  if (typeof kid !== 'string' || !keyId.test(kid)) throw invalid('key id')
  const written = typ === undefined && rules.tokenType === 'JWT' ? 'JWT' : typ
  if (typeof written !== 'string' || mediaType(written) !== mediaType(rules.tokenType)) throw invalid('type')
  if (refusedParameters.some(name => Object.hasOwn(header, name))) throw invalid('header parameter')
  return { kid, alg }
}

/**
 * Reads the principal out of an access token's claims (RFC 9068 §2.2, and Keycloak's `azp`, `typ`, `realm_access`).
 *
 * @param now epoch seconds
 * @throws Problem `token_invalid` for a claim that is missing, of the wrong type, or not for this service
 */
export function readPrincipal(claims: Readonly<Record<string, unknown>>, rules: Rules, now: number): Principal {
  if (claims.iss !== rules.issuer) throw invalid('issuer')
  const audience = Array.isArray(claims.aud) && claims.aud.length === 1 ? claims.aud[0] : claims.aud
  if (audience !== rules.audience) throw invalid('audience')
  if (claims.typ !== 'Bearer' && (rules.kindClaim || claims.typ !== undefined)) throw invalid('token kind')
  if (refusedClaims.some(name => Object.hasOwn(claims, name))) throw invalid('token kind')
  const expiresAt = checkTimes(claims, rules, now)
  // RFC 9068 §2.2 wants it; who does not follow that may leave it out.
  if (rules.tokenType === 'at+jwt' || claims.jti !== undefined) text(claims.jti, 'token id')
  const sub = text(claims.sub, 'subject')
  const client = readClient(claims, rules.clientClaim)
  const sid = claims.sid === undefined ? undefined : text(claims.sid, 'session')
  if (sid !== undefined && !rules.clients.has(client)) throw invalid('client')
  return Object.freeze({
    kind: sid === undefined ? 'service' : 'person',
    sub,
    client,
    roles: readRoles(claims.realm_access),
    scopes: readScopes(claims.scope),
    expiresAt,
    ...(sid === undefined ? {} : { sid }),
    ...(claims.acr === undefined ? {} : { acr: text(claims.acr, 'acr') }),
    ...(claims.auth_time === undefined ? {} : { authTime: date(claims.auth_time, 'auth_time') }),
  })
}

function checkTimes(claims: Readonly<Record<string, unknown>>, rules: Rules, now: number): number {
  const exp = date(claims.exp, 'expiry')
  const iat = date(claims.iat, 'issue time')
  if (exp <= now - skew) throw invalid('expired')
  if (iat > now + skew) throw invalid('issued in the future')
  if (exp <= iat || exp - iat > rules.maxLifetime) throw invalid('lifetime')
  if (claims.nbf !== undefined && date(claims.nbf, 'not before') > now + skew) throw invalid('not yet valid')
  return exp
}

/** `azp` is Keycloak's, `client_id` RFC 9068's; where both are present they must agree. */
function readClient(claims: Readonly<Record<string, unknown>>, claim: string | undefined): string {
  if (claim !== undefined) return text(Object.hasOwn(claims, claim) ? claims[claim] : undefined, 'client')
  const client = text(claims.azp === undefined ? claims.client_id : claims.azp, 'client')
  if (claims.client_id !== undefined && claims.client_id !== client) throw invalid('client')
  return client
}

function readRoles(access: unknown): readonly string[] {
  if (access === undefined) return Object.freeze([])
  const roles = isObject(access) ? access.roles : undefined
  if (!Array.isArray(roles) || roles.length > maxRoles || !roles.every(isText)) throw invalid('roles')
  return Object.freeze([...roles])
}

function readScopes(scope: unknown): readonly string[] {
  if (scope === undefined || scope === '') return Object.freeze([])
  if (typeof scope !== 'string' || !scopeList.test(scope)) throw invalid('scope')
  return Object.freeze(scope.split(' '))
}

function text(value: unknown, reason: string): string {
  if (!isText(value)) throw invalid(reason)
  return value
}

/** Ids end up in queries, keys and logs: bounded, and without control characters or halves of surrogate pairs. */
const isText = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= 255 && !/\p{Cc}/u.test(value) && value.isWellFormed()

/** NumericDate (RFC 7519 §2) as every issuer writes it: whole seconds. */
function date(value: unknown, reason: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw invalid(reason)
  return value as number
}
