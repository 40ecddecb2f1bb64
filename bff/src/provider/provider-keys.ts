import { createPublicKey, type webcrypto } from 'node:crypto'
import { isSoundKey } from '@banking/auth'
import type { Logger } from '@banking/telemetry'
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWK } from 'jose'
import type { CustomFetch } from 'openid-client'
import { ProviderError } from './provider-error.ts'

/** Finds the key for a token's header among the provider's. */
export type FindKey = ReturnType<typeof createLocalJWKSet>

/** The provider's public keys. */
export type ProviderKeys = {
  /**
   * Verifies something with the provider's keys. When no key fits, or the signature is wrong, the provider may have
   * changed its keys a moment ago: they are fetched once more, unless that was tried within `cooldown` ms.
   *
   * @throws ProviderError `unavailable` when the keys cannot be had, else what `verify` throws
   */
  verify<T>(verify: (keys: FindKey) => Promise<T>, cooldown: number): Promise<T>
}

/** ms that keys are believed without a look at the provider. */
const maxAge = 5 * 60_000
/** ms that keys are believed in an outage of the provider. */
const maxStale = 15 * 60_000
/** ms for connecting, headers and body together. */
const timeout = 5_000
/** ms before keys that could not be fetched are fetched again, as long as there are others to go on with. */
const retryAfter = 5_000

/** Signature algorithms are pinned by who verifies; here is only which keys there are. One fetch at a time. */
export function createProviderKeys(options: {
  url: () => Promise<string>
  fetch: CustomFetch
  logger: Logger
  now: () => number
}): ProviderKeys {
  const { fetch, logger, now } = options
  let held: { keys: FindKey; fetchedAt: number } | undefined
  let attemptedAt = Number.NEGATIVE_INFINITY
  let flight: Promise<FindKey> | undefined

  const load = (): Promise<FindKey> => {
    // Begun now, whatever comes of it: failures keep the cooldown closed too.
    attemptedAt = flight === undefined ? now() : attemptedAt
    flight ??= download().finally(() => {
      flight = undefined
    })
    return flight
  }

  async function download(): Promise<FindKey> {
    const response = await fetch(await options.url(), {
      method: 'GET',
      headers: { accept: 'application/json, application/jwk-set+json' },
      redirect: 'manual',
      signal: AbortSignal.timeout(timeout),
      body: undefined,
    })
    if (response.status !== 200)
      throw new ProviderError(
        'unavailable',
        `the keys of the identity provider cannot be had: status ${response.status}`,
      )
    try {
      held = { keys: createLocalJWKSet(sound((await response.json()) as JSONWebKeySet)), fetchedAt: now() }
    } catch (cause) {
      throw new ProviderError('unavailable', 'what the identity provider publishes as its keys is no JWK Set', {
        cause,
      })
    }
    return held.keys
  }

  /** What proves nothing is left out; what is no JWK Set at all is for jose to say. */
  const sound = (set: JSONWebKeySet): JSONWebKeySet => {
    if (!Array.isArray(set?.keys)) return set
    const keys = set.keys.filter(isUsable)
    if (keys.length < set.keys.length)
      logger.warn(
        { left: set.keys.length - keys.length },
        'keys of the identity provider are left out: they are too weak, or none',
      )
    return { ...set, keys }
  }

  const current = async (cooldown: number): Promise<{ keys: FindKey; isNew: boolean }> => {
    const age = held === undefined ? Number.POSITIVE_INFINITY : now() - held.fetchedAt
    const isEarly = flight === undefined && now() - attemptedAt < retryAfter
    if (held !== undefined && (age < maxAge || (age < maxStale && isEarly))) return { keys: held.keys, isNew: false }
    if (isEarly && cooldown > 0)
      throw new ProviderError('unavailable', 'the keys of the identity provider could not be had a moment ago')
    try {
      return { keys: await load(), isNew: true }
    } catch (err) {
      if (held === undefined || age >= maxStale) throw err
      logger.warn({ err }, 'the keys of the identity provider cannot be read again: the old ones are used')
      return { keys: held.keys, isNew: false }
    }
  }

  return {
    async verify(verify, cooldown) {
      const { keys, isNew } = await current(cooldown)
      try {
        return await verify(keys)
      } catch (error) {
        if (isNew || !mayBeRotation(error) || now() - attemptedAt < cooldown) throw error
        return verify(await load())
      }
    },
  }
}

/** Keys of other kinds than ours sign nothing that we take: whatever they are is no matter. */
function isUsable(jwk: JWK): boolean {
  if (jwk?.kty !== 'RSA') return true
  try {
    return isSoundKey(
      createPublicKey({ key: { kty: 'RSA', n: jwk.n, e: jwk.e } as webcrypto.JsonWebKey, format: 'jwk' }),
    )
  } catch {
    return false
  }
}

const mayBeRotation = (error: unknown): boolean =>
  error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWSSignatureVerificationFailed
