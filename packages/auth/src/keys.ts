import { createPublicKey, type webcrypto } from 'node:crypto'
import { problem } from '@banking/contracts'
import type { Logger, Metrics } from '@banking/telemetry'
import buildGetJwks, { type GetJwks } from 'get-jwks'
import { Agent, fetch as undiciFetch } from 'undici'
import { isObject } from './jws.ts'
import { isSoundKey } from './sound-key.ts'

/** The part of `fetch` that is used, so that a test may hand in its own. */
export type Fetch = (
  url: string,
  init: { redirect: 'error'; signal: AbortSignal; headers: Record<string, string> },
) => Promise<{ status: number; body: AsyncIterable<Uint8Array> | null }>

export type KeyOptions = {
  issuer: string
  /** Where they are, or who knows it. */
  url: string | (() => Promise<string>)
  algorithms: readonly string[]
  logger: Logger
  metrics: Metrics
  /** Epoch ms. */
  now: () => number
  fetch?: Fetch | undefined
}

/** The issuer's public keys. */
export type Keys = {
  /**
   * The public key in PEM, or undefined when the issuer has no such key.
   *
   * @throws Problem `keys_unavailable` when the keys cannot be had
   */
  find(kid: string, alg: string): Promise<string | undefined>
  /** Grows whenever a key was taken back or changed. */
  generation(): number
  /** Epoch ms from when the keys have to be fetched again before anything is believed. */
  freshUntil(): number
  close(): Promise<void>
}

const maxAge = 5 * 60_000
/** From here on the keys are fetched again beside the requests, so that none has to wait for it. */
const refreshAge = 4 * 60_000
/** The keys' age in an outage of the provider after which they are no longer believed. */
const maxStale = 15 * 60_000
/** Between two fetches for the sake of an unknown key id. */
const cooldown = 30_000
/** Connecting, headers and body together; a request waits for one fetch at most, and for less than 3 s. */
const timeout = 2_500
const maxBytes = 64 * 1024
const maxKeys = 100
const keyId = /^[A-Za-z0-9_-]{1,64}$/

/**
 * Holds the issuer's whole key set and refreshes it as one thing, by one fetch however many requests ask. get-jwks
 * finds the key for an issuer, algorithm and key id; what it would do by itself (fetch per unknown key id, keep
 * removed keys, wait for ever, convert keys in JavaScript) is closed here: it is filled anew from each fetched set and
 * its own fetches are aborted before they start.
 */
export function createKeys(options: KeyOptions): Keys {
  const { logger, now } = options
  const closing = new AbortController()
  const agent = options.fetch === undefined ? new Agent({ connections: 1, connect: { timeout } }) : undefined
  const fetchKeys: Fetch = options.fetch ?? ((url, init) => undiciFetch(url, { ...init, dispatcher: agent as Agent }))
  const fetches = options.metrics.counter('auth_key_fetches_total', 'Fetches of the issuer’s keys.', ['outcome'])
  options.metrics.gauge('auth_keys_age_seconds', 'Age of the issuer’s keys.', [], gauge =>
    gauge.set(Number.isFinite(age()) ? age() / 1000 : -1),
  )

  let held = new Map<string, Key>()
  let lookup = fill(options.issuer, held)
  let generation = 0
  let fetchedAt = Number.NEGATIVE_INFINITY
  let attemptedAt = Number.NEGATIVE_INFINITY
  let failures = 0
  let flight: Promise<void> | undefined

  const age = (): number => now() - fetchedAt
  /** After a failure the wait doubles from 1 s to the cooldown. */
  const mayRetry = (): boolean =>
    flight !== undefined || now() - attemptedAt >= Math.min(cooldown, 500 * 2 ** Math.min(failures, 10))

  const refresh = (): Promise<void> => {
    flight ??= load().finally(() => {
      flight = undefined
    })
    return flight
  }

  async function load(): Promise<void> {
    attemptedAt = now()
    try {
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(timeout)])
      const url = typeof options.url === 'string' ? options.url : await options.url()
      adopt(usableKeys(await download(fetchKeys, url, signal), options.algorithms))
      failures = 0
      fetches.inc({ outcome: 'ok' })
    } catch (err) {
      if (closing.signal.aborted) return
      failures += 1
      fetches.inc({ outcome: 'failed' })
      logger.warn({ err, failures }, 'the keys of the identity provider could not be fetched')
    }
  }

  function adopt(keys: Map<string, Key>): void {
    if ([...held.values()].some(key => keys.get(key.kid)?.pem !== key.pem)) generation += 1
    held = keys
    lookup = fill(options.issuer, keys)
    fetchedAt = now()
    if (keys.size === 0) logger.error('the identity provider publishes no key that could be used')
  }

  /** Waits only where going on would mean to believe keys that are too old. */
  async function freshen(): Promise<void> {
    if (age() <= refreshAge || !mayRetry()) return
    const waiting = refresh()
    if (age() > maxStale || (age() > maxAge && failures === 0)) await waiting
  }

  return {
    generation: () => generation,
    freshUntil: () => fetchedAt + maxAge,
    async find(kid, alg) {
      await freshen()
      let key = await find(lookup, options.issuer, kid, alg)
      if (key === undefined && (flight !== undefined || now() - attemptedAt >= cooldown)) {
        await refresh()
        key = await find(lookup, options.issuer, kid, alg)
      }
      if (age() > maxStale || held.size === 0) throw unavailable()
      if (key === undefined && failures > 0) throw unavailable()
      return key?.pem
    },
    async close() {
      closing.abort()
      await flight
      await agent?.destroy()
    },
  }
}

type Key = { kid: string; alg: string; pem: string }

const unavailable = () => problem('keys_unavailable', undefined, { headers: { 'retry-after': '5' } })

async function download(fetchKeys: Fetch, url: string, signal: AbortSignal): Promise<unknown> {
  const response = await fetchKeys(url, { redirect: 'error', signal, headers: { accept: 'application/json' } })
  if (response.status !== 200 || response.body === null) throw new Error(`status ${response.status}`)
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) throw new Error(`more than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8'))
}

/** @throws Error when the document is not a JWK Set (RFC 7517 §5); single keys we cannot use are left out. */
function usableKeys(document: unknown, algorithms: readonly string[]): Map<string, Key> {
  const published = isObject(document) ? document.keys : undefined
  if (!Array.isArray(published)) throw new Error('not a JWK Set')
  if (published.length > maxKeys) throw new Error(`more than ${maxKeys} keys`)
  const keys = new Map<string, Key>()
  const repeated = new Set<string>()
  for (const jwk of published) {
    const key = usableKey(jwk, algorithms)
    if (key === undefined) continue
    if (keys.has(key.kid)) repeated.add(key.kid)
    keys.set(key.kid, key)
  }
  // Which of two keys is meant, only an attacker would know.
  for (const kid of repeated) keys.delete(kid)
  return keys
}

/** One signature algorithm per key, fixed by the key and never by the token (RFC 8725 §3.1). */
function usableKey(jwk: unknown, algorithms: readonly string[]): Key | undefined {
  if (!isObject(jwk) || typeof jwk.kid !== 'string' || !keyId.test(jwk.kid)) return undefined
  if (jwk.use !== undefined && jwk.use !== 'sig') return undefined
  if (jwk.key_ops !== undefined && !(Array.isArray(jwk.key_ops) && jwk.key_ops.includes('verify'))) return undefined
  const alg = algorithms.find(name => (jwk.alg === undefined || jwk.alg === name) && fits(jwk, name))
  const pem = alg === undefined ? undefined : publicKeyOf(jwk)
  return alg === undefined || pem === undefined ? undefined : { kid: jwk.kid, alg, pem }
}

function fits({ kty, crv }: Record<string, unknown>, alg: string): boolean {
  if (alg === 'ES256') return kty === 'EC' && crv === 'P-256'
  if (alg === 'ES384') return kty === 'EC' && crv === 'P-384'
  if (alg === 'EdDSA') return kty === 'OKP' && crv === 'Ed25519'
  return kty === 'RSA'
}

function publicKeyOf({ kty, crv, x, y, n, e }: Record<string, unknown>): string | undefined {
  try {
    const key = createPublicKey({ key: { kty, crv, x, y, n, e } as webcrypto.JsonWebKey, format: 'jwk' })
    if (!isSoundKey(key)) return undefined
    return key.export({ type: 'spki', format: 'pem' }) as string
  } catch {
    // Not a point of the curve, or no key at all: one bad key must not take the others down.
    return undefined
  }
}

/** A new instance holds the new keys and nothing of the old ones, neither in its cache nor in its stale cache. */
function fill(issuer: string, keys: ReadonlyMap<string, Key>): GetJwks {
  const lookup = buildGetJwks({
    issuersWhitelist: [issuer],
    max: maxKeys,
    ttl: maxStale,
    fetchOptions: { signal: AbortSignal.abort() },
  })
  for (const key of keys.values())
    lookup.cache.set(lookup.generateCacheKey(key.alg, key.kid, `${issuer}/`), { ...key, domain: issuer })
  return lookup
}

async function find(lookup: GetJwks, issuer: string, kid: string, alg: string): Promise<Key | undefined> {
  try {
    return (await lookup.getJwk({ domain: issuer, kid, alg })) as unknown as Key
  } catch {
    // get-jwks says "not in the cache" by trying to fetch, which is aborted.
    return undefined
  }
}
