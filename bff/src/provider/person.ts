import { ProviderError } from './provider-error.ts'

/** What the ID token says of the person; the access token is never parsed. */
export type Person = {
  sub: string
  sid?: string
  name: string
  givenName: string
  email?: string
  roles: string[]
  /** Epoch ms of the moment the person proved who they are. */
  authTime: number
}

type Claims = Readonly<Record<string, unknown>>

/**
 * @param claims of an ID token that was verified, and of the userinfo endpoint when that was asked
 * @param rolesClaim name of the claim that lists the roles; dots lead into objects
 * @param asked epoch ms, believed for the time of the authentication when the provider does not tell it
 */
export function personOf(claims: Claims & { sub: string }, rolesClaim: string, asked: number): Person {
  // Core §2: at most 255 characters; it becomes the name of a customer everywhere.
  if (claims.sub === '' || claims.sub.length > 255) throw new ProviderError('untrusted', 'the subject is not usable')
  const name = text(claims['name']) ?? text(claims['preferred_username']) ?? claims.sub
  const sid = text(claims['sid'])
  const email = text(claims['email'])
  const roles = claimAt(claims, rolesClaim)
  return {
    sub: claims.sub,
    name,
    givenName: text(claims['given_name']) ?? name,
    roles: Array.isArray(roles) ? roles.filter(role => typeof role === 'string') : [],
    authTime: typeof claims['auth_time'] === 'number' ? claims['auth_time'] * 1000 : asked,
    ...(sid === undefined ? {} : { sid }),
    ...(email === undefined ? {} : { email }),
  }
}

/**
 * The person after a refresh: what the new ID token says replaces what was known. Who they are there (`sub`, `sid`,
 * `auth_time`) is the login's to say (Core §12.2), and sessions are found and ended by it. A name or address that it
 * leaves out stays as it was; a role that it leaves out is gone.
 *
 * @param claims of a verified ID token about the same `sub`
 * @param hasRoles false where roles come from the userinfo endpoint, so that no claim means nothing
 */
export function renewedPerson(
  person: Person,
  claims: Claims & { sub: string },
  rolesClaim: string,
  hasRoles: boolean,
): Person {
  const said = personOf(claims, rolesClaim, person.authTime)
  const isNamed = text(claims['name']) !== undefined || text(claims['preferred_username']) !== undefined
  return {
    ...person,
    ...(isNamed ? { name: said.name, givenName: said.givenName } : {}),
    ...(said.email === undefined ? {} : { email: said.email }),
    ...(hasRoles || claimAt(claims, rolesClaim) !== undefined ? { roles: said.roles } : {}),
  }
}

const text = (claim: unknown): string | undefined => (typeof claim === 'string' && claim !== '' ? claim : undefined)

/** A claim of this very name (some are URLs, with dots), else the member that the dots lead to. */
function claimAt(claims: Claims, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path]
  let value: unknown = claims
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    value = (value as Claims)[name]
  }
  return value
}
