import { readFileSync } from 'node:fs'

/** Keys of 32 bytes by their ids: `current` seals, all of them open, so that a key can be rotated. */
export type KeyRing = { current: string; keys: ReadonlyMap<string, Buffer> }

/**
 * Reads `{"current": "<kid>", "keys": {"<kid>": "<base64url of 32 bytes>"}}`.
 *
 * @throws Error that says what is wrong and never prints a key; of text that is no JSON a SyntaxError, which quotes it
 */
export function readKeyRing(file: string): KeyRing {
  const { current, keys } = JSON.parse(readFileSync(file, 'utf8')) as { current?: unknown; keys?: unknown }
  if (typeof keys !== 'object' || keys === null) throw new Error('it has no "keys"')
  const read = new Map(Object.entries(keys).map(([kid, value]) => [kid, keyOf(kid, value)]))
  if (typeof current !== 'string' || !read.has(current)) throw new Error('"current" names none of its keys')
  return { current, keys: read }
}

function keyOf(kid: string, value: unknown): Buffer {
  if (!/^[A-Za-z0-9_-]{1,32}$/.test(kid)) throw new Error('a key id must be 1 to 32 characters of A-Z a-z 0-9 _ -')
  if (typeof value !== 'string' || !/^[A-Za-z0-9_-]{43}$/.test(value))
    throw new Error(`key "${kid}" is not 32 random bytes in base64url (openssl rand 32 | basenc --base64url)`)
  const bytes = Buffer.from(value, 'base64url')
  if (new Set(bytes).size < 8) throw new Error(`key "${kid}" is not random`)
  return bytes
}
