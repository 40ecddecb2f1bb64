import { isUnambiguous } from '@banking/contracts'
import { jwtVerify } from 'jose'
import { clockTolerance } from './discovery.ts'
import type { ProviderConfig } from './oidc.ts'
import { ProviderError } from './provider-error.ts'
import type { FindKey } from './provider-keys.ts'

/** Whose sessions end: of one login at the provider, of one person, or of that login if it is that person's. */
export type LogoutToken = {
  sid?: string
  sub?: string
  jti: string
  /** Epoch ms after which the token is refused for its age alone: so long its `jti` must be remembered. */
  goodUntil: number
}

const event = 'http://schemas.openid.net/event/backchannel-logout'
/** s from `iat`: the provider sends it at once. */
const maxAge = 120
/** Characters of a member that we hold on to. */
const maxLength = 255

/**
 * Checks a logout token by every rule of OpenID Connect Back-Channel Logout 1.0 §2.6 that needs no memory: signature
 * by an algorithm that is configured, type, issuer, audience (ours and no other), times, the event, who, and that it
 * is no ID token.
 *
 * @throws ProviderError `untrusted`, or an error of jose
 */
export async function readLogoutToken(
  token: string,
  keys: FindKey,
  options: Pick<ProviderConfig, 'issuer' | 'clientId' | 'idTokenAlgorithms' | 'logoutTokenType'> & { now: number },
): Promise<LogoutToken> {
  const { payload, protectedHeader } = await jwtVerify(token, keys, {
    algorithms: [...options.idTokenAlgorithms],
    issuer: options.issuer,
    audience: options.clientId,
    requiredClaims: ['iat', 'exp', 'jti', 'events'],
    maxTokenAge: maxAge,
    clockTolerance,
    currentDate: new Date(options.now),
    ...(options.logoutTokenType === 'logout+jwt' ? { typ: 'logout+jwt' } : {}),
  })
  const { aud, jti, sid, sub, iat = 0, exp = 0 } = payload
  const events = payload['events']
  // An access token is signed by the same keys; so may be anything else that says what it is.
  if (!/^(?:application\/)?(?:logout\+jwt|jwt)$/i.test(protectedHeader.typ ?? 'JWT'))
    throw refused('it is of another type')
  if (!isUnambiguous(Buffer.from(token.split('.')[1] as string, 'base64url').toString(), 8))
    throw refused('a member is there twice')
  if (aud !== options.clientId && !(Array.isArray(aud) && aud.length === 1)) throw refused('it is for others too')
  if ('nonce' in payload) throw refused('it has a nonce: an ID token is no logout token')
  if (!isObject(events) || !Object.hasOwn(events, event) || !isObject(events[event]))
    throw refused(`its events have no object ${event}`)
  if (!isText(jti)) throw refused('its jti is no usable text')
  if (sid === undefined && sub === undefined) throw refused('it names neither sid nor sub')
  if ((sid !== undefined && !isText(sid)) || (sub !== undefined && !isText(sub)))
    throw refused('its sid or sub is no usable text')
  return {
    jti,
    goodUntil: (Math.min(exp, iat + maxAge) + clockTolerance) * 1000,
    ...(sid === undefined ? {} : { sid }),
    ...(sub === undefined ? {} : { sub }),
  }
}

const refused = (why: string): ProviderError => new ProviderError('untrusted', `the logout token is refused: ${why}`)
const isText = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= maxLength
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
