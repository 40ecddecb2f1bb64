import { readFileSync, statSync } from 'node:fs'
import type { Logger } from '@banking/telemetry'
import { importJWK, type JWK } from 'jose'

/** The keys by which the BFF proves who it is at the identity provider (RFC 7523). */
export type ClientKeys = {
  /** The key that signs now. */
  signing(): Promise<{ key: CryptoKey; kid: string }>
  /** Every key's public half, for the provider: the next one before it signs, the last one after. */
  published(): Promise<JWK[]>
}

type KeySet = { signing: { key: CryptoKey; kid: string }; published: JWK[] }

/** ms between two looks at the file. */
const lookEvery = 2_000

/**
 * Reads a JWK Set of private ES256 keys, the current one first, and reads it again once the file has changed. A file
 * that became unusable is logged and the keys before it stay in use.
 *
 * @throws Error at once when the file cannot be used; the message never holds a key
 */
export async function readClientKeys(file: string, logger: Logger): Promise<ClientKeys> {
  let changedAt = statSync(file).mtimeMs
  let lookedAt = performance.now()
  let current = await parse(readFileSync(file, 'utf8'))
  const keys = async (): Promise<KeySet> => {
    if (performance.now() - lookedAt < lookEvery) return current
    lookedAt = performance.now()
    try {
      const { mtimeMs } = statSync(file)
      if (mtimeMs !== changedAt) {
        current = await parse(readFileSync(file, 'utf8'))
        changedAt = mtimeMs
        logger.info({ kid: current.signing.kid, keys: current.published.length }, 'client keys read again')
      }
    } catch (err) {
      logger.error({ err }, 'client keys cannot be read again')
    }
    return current
  }
  return {
    signing: async () => (await keys()).signing,
    published: async () => (await keys()).published,
  }
}

async function parse(text: string): Promise<KeySet> {
  const { keys } = JSON.parse(text) as { keys?: JWK[] }
  if (!Array.isArray(keys) || keys.length === 0) throw new Error('it is not a JWK Set with a key in it')
  for (const { kty, crv, d, kid } of keys) {
    if (kty !== 'EC' || crv !== 'P-256' || d === undefined) throw new Error('every key must be a private P-256 key')
    if (typeof kid !== 'string' || kid === '') throw new Error('every key needs a "kid"')
  }
  if (new Set(keys.map(key => key.kid)).size !== keys.length) throw new Error('two keys have the same "kid"')
  const [first] = keys as [JWK & { kid: string }]
  const key = (await importJWK(first, 'ES256')) as CryptoKey
  return {
    signing: { key, kid: first.kid },
    published: keys.map(({ kty, crv, x, y, kid }) => ({ kty, crv, x, y, kid, use: 'sig', alg: 'ES256' }) as JWK),
  }
}
