import {
  type Decline,
  type Entry,
  type Head,
  idsOf,
  type Leg,
  type Operation,
  type Order,
  type Outcome,
  type Refusal,
} from './operation.ts'

/** An account as the writer knows it. */
export type Account = Head & { currency: string; floor: bigint | null; status: 'active' | 'frozen' | 'closed' }
/** A hold that has not ended. */
export type Hold = { debtor: string; creditor: string; amount: bigint; currency: string; expiresAt: Date | null }
/** A transfer that moved money, and may be reversed. */
export type Original = { debtor: string; creditor: string; amount: bigint; currency: string; reversed: boolean }

/** What is known before a decision, or what it changes. A hold that has ended is null. */
export type Books = {
  accounts: Map<string, Account>
  holds: Map<string, Hold | null>
  originals: Map<string, Original>
}

export const emptyBooks = (): Books => ({ accounts: new Map(), holds: new Map(), originals: new Map() })

/** What an outcome leaves in the books; see {@link apply}. */
export type Decision = { outcome: Outcome; changes: Books }

/**
 * Decides one order by what is known, and changes nothing. What the order names and the books do not know does not exist:
 * load it before.
 *
 * @param now µs since 1970, later with each call
 */
export function decide(books: Books, order: Order, now: () => number): Decision {
  const draft = new Draft(books, order, now)
  const { operation } = order
  const ids = idsOf(order)
  const steps = operation.kind === 'group' ? operation.legs : [operation]
  for (const [n, step] of steps.entries()) {
    const why = draft.take(step, ids[n] as string)
    if (why !== undefined) return { outcome: { result: 'refused', why }, changes: emptyBooks() }
    if (draft.declined !== undefined) return draft.decline()
  }
  return { outcome: { result: 'booked', entries: draft.entries }, changes: draft.changes }
}

/** Takes a decision into the books. */
export function apply(books: Books, { accounts, holds, originals }: Books): void {
  for (const [id, account] of accounts) books.accounts.set(id, account)
  for (const [id, hold] of holds) books.holds.set(id, hold)
  for (const [id, original] of originals) books.originals.set(id, original)
}

type Sides = { debtor: string; creditor: string; amount: bigint; currency: string }

/** One order on its way: what it has changed so far stands before what the books say. */
class Draft {
  readonly entries: Entry[] = []
  readonly changes = emptyBooks()
  /** The step that cannot be taken, once there is one. */
  declined: { why: Decline; kind: 'transfer' | 'hold'; sides: Sides } | undefined
  #books: Books
  readonly #order: Order
  readonly #now: () => number

  constructor(books: Books, order: Order, now: () => number) {
    this.#books = books
    this.#order = order
    this.#now = now
  }

  take(step: Exclude<Operation, { kind: 'group' }> | Leg, id: string): Refusal | undefined {
    switch (step.kind) {
      case 'transfer':
        return this.#mayTake('transfer', step) ?? this.#ifTaken(() => this.#move('transfer', id, step))
      case 'hold':
        return this.#mayTake('hold', step) ?? this.#ifTaken(() => this.#hold(id, step, step.expiresAt ?? null))
      case 'settle':
        return this.#settle(id, step.hold, step.amount)
      case 'void':
      case 'expire':
        return this.#release(step.kind, id, step.hold)
      case 'reverse':
        return this.#reverse(id, step.transfer)
      default:
        return this.#change(step.kind, id, step.account)
    }
  }

  /** One entry that says what could not be done and why, instead of all that would have been. */
  decline(): Decision {
    const { why, kind, sides } = this.declined as NonNullable<Draft['declined']>
    const fresh = new Draft(this.#books, this.#order, this.#now)
    fresh.#write(kind, this.#order.id, sides, { declined: why })
    return { outcome: { result: 'declined', why, entries: fresh.entries }, changes: fresh.changes }
  }

  #mayTake(kind: 'transfer' | 'hold', sides: Sides): Refusal | undefined {
    const [debtor, creditor] = [this.#account(sides.debtor), this.#account(sides.creditor)]
    if (debtor === undefined || creditor === undefined) return 'account_unknown'
    if (sides.debtor === sides.creditor) return 'same_account'
    if (sides.amount <= 0n) return 'amount_invalid'
    if (debtor.currency !== sides.currency || creditor.currency !== sides.currency) return 'currency_mismatch'
    if (debtor.status === 'closed' || creditor.status === 'closed') return 'account_closed'
    if (debtor.status === 'frozen') this.declined = { why: 'account_frozen', kind, sides }
    else if (!covers(debtor, sides.amount)) this.declined = { why: 'insufficient_funds', kind, sides }
    return undefined
  }

  #ifTaken(write: () => void): undefined {
    if (this.declined === undefined) write()
  }

  #hold(id: string, { debtor, creditor, amount, currency }: Sides, expiresAt: Date | null): void {
    const sides = { debtor, creditor, amount, currency }
    this.#write('hold', id, sides, { reserved: amount, expiresAt })
    this.changes.holds.set(id, { ...sides, expiresAt })
  }

  #settle(id: string, about: string, part: bigint | undefined): Refusal | undefined {
    const hold = this.#holdOf(about)
    if (!hold) return 'hold_unknown'
    const amount = part ?? hold.amount
    if (amount <= 0n) return 'amount_invalid'
    if (amount > hold.amount) return 'hold_exceeded'
    if (this.#account(hold.creditor)?.status === 'closed') return 'account_closed'
    this.#move('settle', id, { ...hold, amount }, { about, reserved: -hold.amount })
    this.changes.holds.set(about, null)
    return undefined
  }

  #release(kind: 'void' | 'expire', id: string, about: string): Refusal | undefined {
    const hold = this.#holdOf(about)
    if (!hold) return 'hold_unknown'
    if (kind === 'expire' && !(hold.expiresAt !== null && hold.expiresAt.getTime() * 1_000 <= this.#now()))
      return 'hold_not_expired'
    this.#write(kind, id, hold, { about, reserved: -hold.amount })
    this.changes.holds.set(about, null)
    return undefined
  }

  #reverse(id: string, about: string): Refusal | undefined {
    const original = this.#books.originals.get(about)
    if (!original) return 'transfer_unknown'
    if (original.reversed) return 'already_reversed'
    const back = { ...original, debtor: original.creditor, creditor: original.debtor }
    const [debtor, creditor] = [this.#account(back.debtor), this.#account(back.creditor)]
    if (debtor === undefined || creditor === undefined) return 'account_unknown'
    if (debtor.status === 'closed' || creditor.status === 'closed') return 'account_closed'
    if (!covers(debtor, back.amount)) return 'insufficient_funds'
    this.#move('reverse', id, back, { about })
    this.changes.originals.set(about, { ...original, reversed: true })
    return undefined
  }

  #change(kind: 'freeze' | 'unfreeze' | 'close', id: string, of: string): Refusal | undefined {
    const account = this.#account(of)
    if (account === undefined) return 'account_unknown'
    if (account.status === 'closed') return 'account_closed'
    if (
      account.floor === null ||
      account.status === (kind === 'freeze' ? 'frozen' : kind === 'unfreeze' ? 'active' : '')
    )
      return 'account_unchangeable'
    if (kind === 'close' && (account.balance !== 0n || account.held !== 0n)) return 'account_not_empty'
    this.#write(kind, id, { debtor: of, creditor: null, amount: 0n, currency: account.currency }, {})
    const status = kind === 'freeze' ? 'frozen' : kind === 'unfreeze' ? 'active' : 'closed'
    this.changes.accounts.set(of, { ...(this.#account(of) as Account), status })
    return undefined
  }

  /** An entry that moves money: both accounts have it. */
  #move(kind: 'transfer' | 'settle' | 'reverse', id: string, sides: Sides, more: Partial<Entry> = {}): void {
    const creditor = this.#account(sides.creditor) as Account
    const credited = { ...grown(creditor), entries: creditor.entries + 1, balance: creditor.balance + sides.amount }
    this.#write(kind, id, sides, { ...more, creditorHead: headOf(credited) })
    this.changes.accounts.set(sides.creditor, credited)
  }

  #write(
    kind: Entry['kind'],
    id: string,
    sides: Omit<Sides, 'creditor'> & { creditor: string | null },
    more: Partial<Entry>,
  ) {
    const { debtor, creditor, amount, currency } = sides
    const before = this.#account(debtor) as Account
    const { creditorHead = null, reserved = 0n } = more
    const moved = creditorHead === null ? 0n : amount
    const after = {
      ...grown(before),
      entries: before.entries + (creditorHead === null ? 0 : 1),
      balance: before.balance - moved,
      held: before.held + reserved,
    }
    this.changes.accounts.set(debtor, after)
    this.entries.push({
      at: this.#now(),
      id,
      kind,
      debtor,
      creditor,
      amount,
      currency,
      debtorHead: headOf(after),
      declined: null,
      expiresAt: null,
      about: null,
      groupId: this.#order.operation.kind === 'group' ? this.#order.id : null,
      fingerprint: this.#order.fingerprint,
      memo: this.#order.memo,
      ...more,
      creditorHead,
      reserved,
    })
  }

  #account = (id: string): Account | undefined => this.changes.accounts.get(id) ?? this.#books.accounts.get(id)

  #holdOf(id: string): Hold | null | undefined {
    const changed = this.changes.holds.get(id)
    return changed === undefined ? this.#books.holds.get(id) : changed
  }
}

const covers = ({ balance, held, floor }: Account, amount: bigint): boolean =>
  floor === null || balance - held - amount >= floor

const grown = (account: Account): Account => ({ ...account, version: account.version + 1 })

const headOf = ({ version, entries, balance, held }: Account): Head => ({ version, entries, balance, held })
