import type { Person, Tokens } from '../provider/oidc.ts'
import { type Identity, type SealingKeys, seal, unseal } from './seal.ts'
import type { EndReason, Found } from './session-store.ts'

/** The sealed part of a session. Times are epoch ms. */
export type SessionRecord = {
  person: Person
  tokens: Tokens
  /** When the access token was asked for: with its `expiresAt` it gives its lifetime. */
  issuedAt: number
  createdAt: number
  expiresAt: number
}

/** A session that is alive, as one request sees it. */
export type Session = SessionRecord & {
  /** The store's name of it: a hash, good for keys and logs' correlation, useless as a cookie. */
  id: string
  secret: Buffer
  version: number
  lastSeenAt: number
  /** Epoch ms of its creation by the store's clock, which tombstones are compared with. */
  storedAt: number
}

/** What the store keeps: sealed for its place, so that a record moved to another session's key does not open. */
export function sealRecord(record: SessionRecord, { id, secret }: Identity, keys: SealingKeys): Buffer {
  const { person, tokens, issuedAt, createdAt, expiresAt } = record
  return seal(JSON.stringify({ person, tokens, issuedAt, createdAt, expiresAt }), secret, keys, ['session', id])
}

/** What {@link sealRecord} has sealed; undefined when it does not open. */
export function openSealed(sealed: Buffer, { id, secret }: Identity, keys: SealingKeys): SessionRecord | undefined {
  const plain = unseal(sealed, secret, keys, ['session', id])
  return plain === undefined ? undefined : (JSON.parse(plain) as SessionRecord)
}

/** The session in what the store has, or why there is none. What does not open is none of ours. */
export function openRecord(
  found: Found,
  { id, secret }: Identity,
  keys: SealingKeys,
): { session: Session } | { over: EndReason } {
  if (found === undefined) return { over: 'ended' }
  if ('endedBy' in found) return { over: found.endedBy }
  const record = openSealed(found.sealed, { id, secret }, keys)
  if (record === undefined) return { over: 'ended' }
  const { version, createdAt: storedAt } = found
  // The idle key is gone after the idle time: then it was last seen before that.
  return { session: { ...record, id, secret, version, storedAt, lastSeenAt: found.lastSeenAt ?? 0 } }
}
