import { createPublicKey, type webcrypto } from 'node:crypto'
import { isSoundKey } from '@banking/auth'
import type { Logger } from '@banking/telemetry'
import { importJWK, type JWK } from 'jose'
import { readCredentialFile } from './credential-file.ts'

/** The keys by which the BFF proves who it is at the identity provider (RFC 7523). */
export type ClientKeys = {
  /** The key that signs now. */
  signing(): Promise<{ key: CryptoKey; kid: string }>
  /** Every key's public half, for the provider: the next one before it signs, the last one after. */
  published(): Promise<JWK[]>
}

type KeySet = { signing: { key: CryptoKey; kid: string }; published: JWK[] }

/**
 * Reads a JWK Set of private keys, the current one first, and reads it again once the file has changed. Keys are
 * P-256 (ES256), or RSA with `"alg": "PS256"` or `"RS256"` for a provider that knows nothing better.
 *
 * @throws Error at once when the file cannot be used; the message never holds a key
 */
export async function readClientKeys(file: string, logger: Logger): Promise<ClientKeys> {
  const keys = await readCredentialFile(file, parse, logger)
  return {
    signing: async () => (await keys()).signing,
    published: async () => (await keys()).published,
  }
}

async function parse(text: string): Promise<KeySet> {
  const { keys } = JSON.parse(text) as { keys?: JWK[] }
  if (!Array.isArray(keys) || keys.length === 0) throw new Error('it is not a JWK Set with a key in it')
  for (const { d, kid } of keys) {
    if (d === undefined) throw new Error('every key must be a private key')
    if (typeof kid !== 'string' || kid === '') throw new Error('every key needs a "kid"')
  }
  if (new Set(keys.map(key => key.kid)).size !== keys.length) throw new Error('two keys have the same "kid"')
  const algorithms = keys.map(algorithmOf)
  const [first] = keys as [JWK & { kid: string }]
  const key = (await importJWK(first, algorithms[0])) as CryptoKey
  return {
    signing: { key, kid: first.kid },
    published: keys.map((jwk, at) => publicHalf(jwk, algorithms[at] as string)),
  }
}

function algorithmOf({ kty, crv, alg, n, e }: JWK): string {
  if (kty === 'EC' && crv === 'P-256' && (alg === undefined || alg === 'ES256')) return 'ES256'
  if (kty === 'RSA' && (alg === 'PS256' || alg === 'RS256')) {
    if (!isSoundKey(createPublicKey({ key: { kty, n, e } as webcrypto.JsonWebKey, format: 'jwk' })))
      throw new Error('an RSA key needs 2048 bits, and 65537 or more as its exponent')
    return alg
  }
  throw new Error('every key must be a P-256 key, or an RSA key whose "alg" is PS256 or RS256')
}

/** Named members only: whatever else is in the file may be private. */
const publicHalf = ({ kty, crv, x, y, n, e, kid }: JWK, alg: string): JWK =>
  (kty === 'EC' ? { kty, crv, x, y, kid, use: 'sig', alg } : { kty, n, e, kid, use: 'sig', alg }) as JWK
