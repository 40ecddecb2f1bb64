import { createHash } from 'node:crypto'

/** Moves an amount, or reserves it: what a linked group is made of. Amounts are minor units above zero. */
export type Leg =
  | { kind: 'transfer'; debtor: string; creditor: string; amount: bigint; currency: string }
  | { kind: 'hold'; debtor: string; creditor: string; amount: bigint; currency: string; expiresAt?: Date }
  /** Moves the held amount, or a part of it; the rest is released. */
  | { kind: 'settle'; hold: string; amount?: bigint }
  | { kind: 'void'; hold: string }

/** What the ledger can be asked for. Accounts, holds and transfers are named by their ids. */
export type Operation =
  | Leg
  /** Ends a hold whose time has passed. */
  | { kind: 'expire'; hold: string }
  /** Moves the whole amount of a transfer back, once. */
  | { kind: 'reverse'; transfer: string }
  /** From a frozen account nothing can be taken; what is held in it can still be settled. */
  | { kind: 'freeze' | 'unfreeze' | 'close'; account: string }
  /** All of them in their order, or none. */
  | { kind: 'group'; legs: readonly Leg[] }

/** An operation under the key that makes it happen once. */
export type Order = {
  /** Of the transfer; see {@link transferId}. A hold is named by the id of the order that made it. */
  id: string
  /** Hex of 16 bytes of a digest of what was asked for: another one under the same id is refused. */
  fingerprint: string
  operation: Operation
  /** Kept with the transfer for the layer above. */
  memo: string
}

/** Why nothing moved, written down under the id. */
export type Decline = 'insufficient_funds' | 'account_frozen'

/** Why nothing happened at all; the id stays free. */
export type Refusal =
  | 'account_unknown'
  | 'account_closed'
  | 'account_not_empty'
  /** It is one of the bank's own, or is so already. */
  | 'account_unchangeable'
  | 'amount_invalid'
  | 'currency_mismatch'
  | 'same_account'
  /** There is none of this id, or it has ended. */
  | 'hold_unknown'
  | 'hold_exceeded'
  | 'hold_not_expired'
  /** There is none of this id that moved money. */
  | 'transfer_unknown'
  | 'already_reversed'
  | 'insufficient_funds'
  /** The id stands for something else. */
  | 'key_reused'

export type Outcome =
  | { result: 'booked'; entries: readonly Entry[] }
  | { result: 'declined'; why: Decline; entries: readonly Entry[] }
  | { result: 'refused'; why: Refusal }

/** The state of an account after an entry. */
export type Head = { version: number; entries: number; balance: bigint; held: bigint }

/** One row of the journal. */
export type Entry = {
  /** µs since 1970, later than every entry before. */
  at: number
  id: string
  kind: Exclude<Operation['kind'], 'group'>
  declined: Decline | null
  debtor: string
  creditor: string | null
  amount: bigint
  /** By how much what is held in the debtor's account grew. */
  reserved: bigint
  currency: string
  debtorHead: Head
  /** Null when no money moved. */
  creditorHead: Head | null
  expiresAt: Date | null
  /** The hold that ended, the transfer that was reversed. */
  about: string | null
  /** Id of the group's first transfer. */
  groupId: string | null
  fingerprint: string
  memo: string
}

/** The same id for the same key of the same subject and operation, however often and wherever it is made (UUID version 8). */
export const transferId = (subject: string, operation: string, key: string): string =>
  digestId([subject, operation, key])

/** The ids of an order's transfers; the first is the order's own. */
export const idsOf = ({ id, operation }: Pick<Order, 'id' | 'operation'>): string[] =>
  operation.kind === 'group' ? operation.legs.map((_, n) => (n === 0 ? id : digestId([id, n]))) : [id]

function digestId(parts: unknown[]): string {
  const bytes = createHash('sha256').update(JSON.stringify(parts)).digest().subarray(0, 16)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
