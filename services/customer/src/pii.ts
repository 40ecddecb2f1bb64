import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { ConfigError, type KeyRing, readKeyRing } from '@banking/config'

/**
 * Keys that wrap the customers' data keys. `current` wraps new ones, all of them open, so that a key can be rotated.
 * They live outside the database: a dump of it shows no name.
 */
export type WrappingKeys = KeyRing

/** A customer's own key, sealed under a wrapping key: `kid.base64url`. Without it nothing of the customer opens. */
export type WrappedKey = string

const nonceBytes = 12
const tagBytes = 16

/**
 * Reads the file of `PII_KEY_FILE`, a key ring.
 *
 * @throws ConfigError that says what is wrong and never shows a key
 */
export function readWrappingKeys(file: string): WrappingKeys {
  try {
    return readKeyRing(file)
  } catch (cause) {
    const why = cause instanceof SyntaxError ? 'it is not JSON' : (cause as Error).message
    throw new ConfigError([`PII_KEY_FILE cannot be used: ${why}`])
  }
}

/** A fresh data key for one customer. Deleting the wrapped form is how a customer is forgotten (crypto-shredding). */
export function newDataKey(keys: WrappingKeys, customerId: string): { key: Buffer; wrapped: WrappedKey } {
  const key = randomBytes(32)
  const sealed = seal(key, keys.keys.get(keys.current) as Buffer, ['key', customerId])
  return { key, wrapped: `${keys.current}.${sealed.toString('base64url')}` }
}

/** @throws Error when the wrapping key is gone or the wrapped key belongs to another customer */
export function unwrapDataKey(keys: WrappingKeys, customerId: string, wrapped: WrappedKey): Buffer {
  const [kid = '', sealed = ''] = wrapped.split('.')
  const key = keys.keys.get(kid)
  if (key === undefined) throw new Error(`there is no wrapping key ${kid}`)
  return open(Buffer.from(sealed, 'base64url'), key, ['key', customerId])
}

/** Seals one field of one customer; it opens in that place only. */
export const sealField = (value: unknown, key: Buffer, customerId: string, field: string): Buffer =>
  seal(Buffer.from(JSON.stringify(value)), key, ['field', customerId, field])

/** @throws Error for what was changed or moved */
export const openField = (sealed: Buffer, key: Buffer, customerId: string, field: string): unknown =>
  JSON.parse(open(sealed, key, ['field', customerId, field]).toString('utf8'))

function seal(plain: Buffer, key: Buffer, place: readonly string[]): Buffer {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(associated(place))
  const body = Buffer.concat([cipher.update(plain), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), body])
}

function open(sealed: Buffer, key: Buffer, place: readonly string[]): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, nonceBytes), { authTagLength: tagBytes })
  decipher.setAAD(associated(place))
  decipher.setAuthTag(sealed.subarray(nonceBytes, nonceBytes + tagBytes))
  return Buffer.concat([decipher.update(sealed.subarray(nonceBytes + tagBytes)), decipher.final()])
}

/** JSON keeps the parts apart: joined strings would let a character move from one to the next. */
const associated = (place: readonly string[]): Buffer => Buffer.from(JSON.stringify(place))
