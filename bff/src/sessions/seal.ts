import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** The server's sealing keys: `current` seals, all of them open, so that a key can be rotated. */
export type SealingKeys = { current: string; keys: ReadonlyMap<string, Buffer> }

/** What a cookie value stands for: where its record lies and what opens it. Neither leads back to the cookie. */
export type Identity = {
  /** base64url of SHA-256 of the derived id: the name under which the store knows it, 43 characters. */
  id: string
  secret: Buffer
}

const keyPattern = /^[A-Za-z0-9_-]{43}$/
const kidPattern = /^[A-Za-z0-9_-]{1,32}$/
const format = 1

/** @returns a fresh random value for a cookie: 32 bytes in base64url. */
export const newCookieValue = (): string => randomBytes(32).toString('base64url')

/**
 * Reads `{"current": "<kid>", "keys": {"<kid>": "<base64url of 32 bytes>"}}`.
 *
 * @throws Error that says what is wrong and never prints a key
 */
export function readSealingKeys(file: string): SealingKeys {
  const { current, keys } = JSON.parse(readFileSync(file, 'utf8')) as { current?: unknown; keys?: unknown }
  if (typeof keys !== 'object' || keys === null) throw new Error('it has no "keys"')
  const read = new Map<string, Buffer>()
  for (const [kid, value] of Object.entries(keys)) {
    if (!kidPattern.test(kid)) throw new Error('a key id must be 1 to 32 characters of A-Z a-z 0-9 _ -')
    if (typeof value !== 'string' || !keyPattern.test(value))
      throw new Error(`key "${kid}" is not 32 random bytes in base64url (openssl rand 32 | basenc --base64url)`)
    const bytes = Buffer.from(value, 'base64url')
    if (new Set(bytes).size < 8) throw new Error(`key "${kid}" is not random`)
    read.set(kid, bytes)
  }
  if (typeof current !== 'string' || !read.has(current)) throw new Error('"current" names none of its keys')
  return { current, keys: read }
}

/**
 * The identity behind a cookie value: HKDF gives the id and the secret, a hash of the id is the key in Redis, so
 * that neither a dump of Redis nor a look at its keys yields a cookie.
 *
 * @returns undefined for anything but 32 bytes in their one base64url form
 */
export function identityOf(cookie: string | undefined): Identity | undefined {
  if (cookie === undefined || !keyPattern.test(cookie)) return undefined
  const value = Buffer.from(cookie, 'base64url')
  if (value.toString('base64url') !== cookie) return undefined
  return {
    id: createHash('sha256').update(derive(value, 'id')).digest('base64url'),
    secret: derive(value, 'secret'),
  }
}

/** A value derived from a cookie for another purpose, e.g. the `state` of a login. */
export const derive = (value: Buffer, purpose: string): Buffer =>
  Buffer.from(hkdfSync('sha256', value, '', `banking bff ${purpose}`, 32))

/**
 * AES-256-GCM under a key made of the cookie's secret *and* the server's key. Bound to its place: what was sealed for
 * one `context` does not open in another.
 */
export function seal(plain: string, secret: Buffer, keys: SealingKeys, context: readonly string[]): Buffer {
  const kid = keys.current
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', sealingKey(secret, keys.keys.get(kid) as Buffer), nonce)
  cipher.setAAD(associated(kid, context))
  const body = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()])
  return Buffer.concat([Buffer.from([format, kid.length]), Buffer.from(kid), nonce, cipher.getAuthTag(), body])
}

/** @returns undefined for whatever was not sealed here: another secret, key, place, format, or a changed byte. */
export function unseal(
  sealed: Buffer,
  secret: Buffer,
  keys: SealingKeys,
  context: readonly string[],
): string | undefined {
  const kidEnd = 2 + (sealed[1] ?? 0)
  if (sealed[0] !== format || sealed.length < kidEnd + 28) return undefined
  const kid = sealed.toString('utf8', 2, kidEnd)
  const serverKey = keys.keys.get(kid)
  if (serverKey === undefined) return undefined
  const nonce = sealed.subarray(kidEnd, kidEnd + 12)
  const decipher = createDecipheriv('aes-256-gcm', sealingKey(secret, serverKey), nonce, { authTagLength: 16 })
  decipher.setAAD(associated(kid, context))
  decipher.setAuthTag(sealed.subarray(kidEnd + 12, kidEnd + 28))
  try {
    return decipher.update(sealed.subarray(kidEnd + 28), undefined, 'utf8') + decipher.final('utf8')
  } catch {
    // The tag does not match: the only thing that GCM ever says.
    return undefined
  }
}

const sealingKey = (secret: Buffer, serverKey: Buffer): Buffer =>
  Buffer.from(hkdfSync('sha256', secret, serverKey, `banking bff seal v${format}`, 32))

/** Each part with its length before it: joined strings let a byte move from one field to the next. */
function associated(kid: string, context: readonly string[]): Buffer {
  return Buffer.concat(
    [`v${format}`, kid, ...context].map(part => {
      const bytes = Buffer.from(part)
      const length = Buffer.alloc(4)
      length.writeUInt32BE(bytes.length)
      return Buffer.concat([length, bytes])
    }),
  )
}
