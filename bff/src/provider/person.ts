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
