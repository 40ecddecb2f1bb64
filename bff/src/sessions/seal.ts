import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto'
import type { KeyRing } from '@banking/config'

/** The server's half of what seals a record; the cookie has the other. */
export type SealingKeys = KeyRing

/** What a cookie value stands for: where its record lies and what opens it. Neither leads back to the cookie. */
export type Identity = {
  /** base64url of SHA-256 of the derived id: the name under which the store knows it, 43 characters. */
  id: string
  secret: Buffer
}

const cookiePattern = /^[A-Za-z0-9_-]{43}$/
const format = 1

/** @returns a fresh random value for a cookie: 32 bytes in base64url. */
export const newCookieValue = (): string => randomBytes(32).toString('base64url')

/**
 * The identity behind a cookie value: HKDF gives the id and the secret, a hash of the id is the key in Redis, so
 * that neither a dump of Redis nor a look at its keys yields a cookie.
 *
 * @returns undefined for anything but 32 bytes in their one base64url form
 */
export function identityOf(cookie: string | undefined): Identity | undefined {
  if (cookie === undefined || !cookiePattern.test(cookie)) return undefined
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
