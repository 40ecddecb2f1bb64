import { setTimeout as delay } from 'node:timers/promises'
import { apply, type Books, decide, emptyBooks } from './decide.ts'
import type { Found, JournalStore, Term } from './journal-store.ts'
import { type Entry, idsOf, type Order, type Outcome } from './operation.ts'

/** What became of an order, the first time it was sent or a later one. */
export type Answer = Outcome & { repeated: boolean }

/** The order has to go to who writes now, under the same id: should it have happened here after all, that is what it finds. */
export class NotWriter extends Error {
  override name = 'NotWriter'
}
/** Nothing is known of the order within the time that it may wait: it may be sent again under the same id. */
export class Overdue extends Error {
  override name = 'Overdue'
}

export type WriterOptions = {
  store: Pick<JournalStore, 'append' | 'find' | 'retake' | 'drop'>
  ttl: number
  /** Called when somebody else writes: orders go there. */
  onDeposed?(): void
  /** Called with what a batch failed for. */
  onFailure?(error: unknown): void
  /** Called after each commit that wrote entries. */
  onEntries?(): void
  maxItems?: number
  /** How many must wait before a further batch is sent beside one under way. */
  crowd?: number
  maxWaiting?: number
  /** ms that an order may wait. */
  patience?: number
  /** Accounts that are remembered; beyond it all are forgotten and read again at their next use. */
  maxKnown?: number
}

type Item = {
  order: Order
  since: number
  /** The largest batch that it goes in: fewer after each that failed with it, none once it failed alone. */
  company: number
  tried: boolean
  /** Answered, or given up: its place in a batch under way may still be committed. */
  settled: boolean
  resolve(answer: Answer): void
  reject(error: unknown): void
}

/** ms before an order that found a lock on an account is tried again. */
const lockPause = 250
/** Batches under way at once: one commits while the next is on its way. More gain nothing. */
const maxInFlight = 2

/**
 * Decides orders in memory in the order in which they are ready, and appends what follows from them to the journal in
 * batches, each in one statement. Two batches may be under way; each follows from the one before, so when one fails, so do
 * all after it. An answer leaves when its batch has committed, and with it every batch that it relied on.
 *
 * After a failure nothing in memory is believed: a new term is begun, so that what is still on its way cannot happen any
 * more, and only then is read what did. The orders are then decided anew, those that happened are found by their ids, and
 * all go in smaller batches, so that nobody fails for a neighbour.
 */
export function createWriter(options: WriterOptions) {
  const { store, maxItems = 256, crowd = 16, maxWaiting = 5_000, patience = 5_000, maxKnown = 200_000 } = options
  /** Sent and not answered, by id. */
  const pending = new Map<string, { item: Item; answer: Promise<Answer> }>()
  const items = new Set<Item>()
  let arrived: Item[] = []
  let ready: Item[] = []
  let books: Books = emptyBooks()
  /** Which memory: what was read for an earlier one is not put into this. */
  let memory = 0
  let term: (Term & { readAt: number }) | undefined
  let lastAt = 0
  let lastBatch = 0
  let inFlight: Promise<boolean>[] = []
  let recovering = false
  let draining = false
  let givingUp: NodeJS.Timeout | undefined
  let scheduled = false

  /** The database's clock, carried on by the monotonic one, and always later than the last entry. */
  const now = (): number => {
    const clock = term === undefined ? 0 : Math.floor(term.now + (performance.now() - term.readAt) * 1_000)
    lastAt = Math.max(lastAt + 1, clock)
    return lastAt
  }

  const begin = (next: Term): void => {
    term = { ...next, readAt: performance.now() }
    lastAt = next.last
    lastBatch = next.batch
  }

  const forget = (): void => {
    books = emptyBooks()
    memory += 1
  }

  /** The order's id is free for the next one who asks. */
  const finish = (item: Item): void => {
    if (pending.get(item.order.id)?.item === item) pending.delete(item.order.id)
    if (item.settled) return
    item.settled = true
    items.delete(item)
  }

  /** Without those that were given up before anything was sent for them. */
  const living = (some: readonly Item[]): Item[] => {
    for (const item of some) if (item.settled) finish(item)
    return some.filter(({ settled }) => !settled)
  }

  const answer = (item: Item, outcome: Outcome, repeated = false): void => {
    finish(item)
    item.resolve({ ...outcome, repeated })
  }

  const reject = (item: Item, error: unknown): void => {
    finish(item)
    item.reject(error)
  }

  /** Lets nobody wait longer than patience. The id stays taken until it is known what became of it. */
  const giveUp = (): void => {
    const limit = performance.now() - patience
    for (const item of items) {
      if (item.since > limit) break
      item.settled = true
      items.delete(item)
      item.reject(new Overdue('the order waited too long'))
    }
  }

  const schedule = (): void => {
    if (scheduled) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      void prepare()
    })
  }

  /** Reads what the arrived orders name and is not known, and which of them have happened before. */
  const prepare = async (): Promise<void> => {
    if (arrived.length === 0 || term === undefined || recovering) return
    const batch = living(arrived)
    arrived = []
    if (batch.length === 0) return
    const age = memory
    let found: Found
    try {
      found = await look(batch)
    } catch (error) {
      options.onFailure?.(error)
      await delay(50)
      arrived = batch.concat(arrived)
      return schedule()
    }
    // Read before a failure: it may be older than what has been committed since.
    if (age !== memory) {
      arrived = batch.concat(arrived)
      return schedule()
    }
    for (const [id, account] of found.accounts) if (!books.accounts.has(id)) books.accounts.set(id, account)
    for (const [id, hold] of found.holds) if (!books.holds.has(id)) books.holds.set(id, hold)
    for (const [id, original] of found.originals) if (!books.originals.has(id)) books.originals.set(id, original)
    const before = found.entries.length === 0 ? undefined : byId(found.entries)
    for (const item of batch) {
      const first = before?.get(item.order.id)
      if (first === undefined) ready.push(item)
      // Tried before, it is most likely what this very order did.
      else answer(item, outcomeOf(item.order, first, before as Map<string, Entry>), !item.tried)
    }
    pump()
  }

  const look = async (batch: readonly Item[]): Promise<Found> => {
    const accounts = new Set<string>()
    const [holds, originals] = [new Set<string>(), new Set<string>()]
    for (const { order } of batch) names(order, accounts, holds, originals)
    const unknown = (ids: Set<string>, known: Map<string, unknown>) => [...ids].filter(id => !known.has(id))
    const missing = unknown(holds, books.holds)
    const found = await store.find(
      batch.flatMap(({ order }) => idsOf(order)),
      unknown(accounts, books.accounts),
      missing,
      unknown(originals, books.originals),
    )
    // The accounts of holds and of what is reversed are known only now.
    const sides = new Set<string>()
    for (const id of holds) addSides(sides, books.holds.get(id) ?? found.holds.get(id))
    for (const id of originals) addSides(sides, books.originals.get(id) ?? found.originals.get(id))
    const more = unknown(sides, books.accounts).filter(id => !found.accounts.has(id))
    if (more.length === 0) return found
    const { accounts: others } = await store.find([], more, [], [])
    return { ...found, accounts: new Map([...found.accounts, ...others]) }
  }

  const pump = (): void => {
    while (
      !recovering &&
      term !== undefined &&
      ready.length > 0 &&
      inFlight.length < maxInFlight &&
      (inFlight.length === 0 || ready.length >= crowd)
    )
      send(nextBatch())
  }

  /** As many as the most careful of them allows. */
  const nextBatch = (): Item[] => {
    let size = 0
    let company = maxItems
    while (size < ready.length) {
      company = Math.min(company, (ready[size] as Item).company)
      if (size + 1 > company) break
      size += 1
    }
    return ready.splice(0, Math.max(1, size))
  }

  const send = (chosen: readonly Item[]): void => {
    if (books.accounts.size + books.holds.size > maxKnown && inFlight.length === 0) {
      // Everything has been committed: it can be read again.
      forget()
      arrived = [...chosen, ...ready.splice(0), ...arrived]
      schedule()
      return
    }
    const batch = living(chosen)
    if (batch.length === 0) return
    const outcomes: Outcome[] = []
    const entries: Entry[] = []
    for (const item of batch) {
      const { outcome, changes } = decide(books, item.order, now)
      apply(books, changes)
      if (outcome.result !== 'refused') entries.push(...outcome.entries)
      outcomes.push(outcome)
    }
    // A refusal writes nothing, but may rely on what has not been committed yet.
    if (entries.length > 0) lastBatch += 1
    const done = entries.length > 0 ? store.append(lastBatch, entries) : committed(inFlight.at(-1))
    const whole = done.then(
      () => {
        for (const [n, item] of batch.entries()) answer(item, outcomes[n] as Outcome)
        if (entries.length > 0) options.onEntries?.()
        return true
      },
      error => {
        options.onFailure?.(error)
        fail(batch, error)
        return false
      },
    )
    inFlight.push(whole)
    void whole.then(() => {
      inFlight = inFlight.filter(one => one !== whole)
      pump()
    })
  }

  const fail = (failed: readonly Item[], error: unknown): void => {
    for (const item of failed) item.tried = true
    // A batch after one that failed could not but fail.
    const isCause = !recovering
    const [only, ...others] = failed
    if (isCause && only !== undefined && others.length === 0) failAlone(only, error)
    else {
      if (isCause) for (const item of failed) item.company = isLocked(error) ? 1 : Math.ceil(failed.length / 2)
      arrived.push(...failed)
    }
    if (recovering) return
    recovering = true
    void recover().finally(() => {
      recovering = false
      schedule()
    })
  }

  /** No fault of a neighbour; and the second time none of old memory either. */
  const failAlone = (item: Item, error: unknown): void => {
    if (item.company === 0 && isRefused(error)) {
      reject(item, error)
      return
    }
    item.company = 0
    // What waits for a lock lets the others go first.
    setTimeout(
      () => {
        arrived.push(item)
        schedule()
      },
      isLocked(error) ? lockPause : 0,
    )
  }

  const recover = async (): Promise<void> => {
    // All that was sent after it fails, too.
    await Promise.all(inFlight)
    arrived = [...arrived, ...ready.splice(0)].sort((a, b) => a.since - b.since)
    await store.drop()
    forget()
    for (let tries = 0; term !== undefined && items.size > 0; tries += 1) {
      try {
        const next = await store.retake(term.epoch, options.ttl)
        return next === undefined ? depose() : begin(next)
      } catch (error) {
        options.onFailure?.(error)
        await store.drop()
        await delay(Math.min(10 * 2 ** tries, 250))
      }
    }
    // Nobody waits any more: whoever comes next begins a new term.
    depose()
  }

  const depose = (): void => {
    if (term === undefined) return
    term = undefined
    forget()
    arrived = []
    ready = []
    for (const item of items) reject(item, new NotWriter('somebody else writes'))
    clearInterval(givingUp)
    givingUp = undefined
    options.onDeposed?.()
  }

  return {
    /** Begins to write. */
    lead: (next: Term): void => {
      forget()
      begin(next)
      schedule()
    },

    /** The term that this process believes to have. */
    term: (): Term | undefined => term,

    /** Sets the clock by the database's, in µs since 1970. */
    setClock: (time: number): void => {
      if (term !== undefined) Object.assign(term, { now: time, readAt: performance.now() })
    },

    /** Takes no more orders, and waits for those that are under way. @returns the term that ended */
    drain: async (): Promise<Term | undefined> => {
      draining = true
      while (items.size > 0) await delay(5)
      const last = term
      depose()
      draining = false
      return last
    },

    /** Gives up at once; what was sent may still be committed. */
    depose,

    /**
     * Does what is ordered, once for its id.
     *
     * @throws NotWriter, Overdue
     */
    submit: async (order: Order): Promise<Answer> => {
      const first = pending.get(order.id)
      if (first !== undefined) {
        if (first.item.order.fingerprint !== order.fingerprint)
          return { result: 'refused', why: 'key_reused', repeated: false }
        return { ...(await first.answer), repeated: true }
      }
      if (term === undefined || draining) throw new NotWriter('this process does not write')
      if (items.size >= maxWaiting) throw new Overdue('too many orders wait')
      const { promise, resolve, reject } = Promise.withResolvers<Answer>()
      const since = performance.now()
      const item: Item = { order, since, company: maxItems, tried: false, settled: false, resolve, reject }
      items.add(item)
      pending.set(order.id, { item, answer: promise })
      arrived.push(item)
      givingUp ??= setInterval(giveUp, 100).unref()
      schedule()
      return promise
    },
  }
}

/** What an order names, for looking it up. */
function names({ operation }: Order, accounts: Set<string>, holds: Set<string>, originals: Set<string>): void {
  for (const step of operation.kind === 'group' ? operation.legs : [operation]) {
    if ('debtor' in step) accounts.add(step.debtor).add(step.creditor)
    else if ('hold' in step) holds.add(step.hold)
    else if ('transfer' in step) originals.add(step.transfer)
    else accounts.add(step.account)
  }
}

function addSides(accounts: Set<string>, of: { debtor: string; creditor: string } | null | undefined): void {
  if (of) accounts.add(of.debtor).add(of.creditor)
}

const byId = (entries: readonly Entry[]): Map<string, Entry> => new Map(entries.map(entry => [entry.id, entry]))

/** What was decided about an order when its first entry was written. */
function outcomeOf(order: Order, first: Entry, entries: ReadonlyMap<string, Entry>): Outcome {
  if (first.fingerprint !== order.fingerprint) return { result: 'refused', why: 'key_reused' }
  if (first.declined !== null) return { result: 'declined', why: first.declined, entries: [first] }
  return { result: 'booked', entries: idsOf(order).flatMap(id => entries.get(id) ?? []) }
}

/** @throws when the batch was not committed */
async function committed(batch: Promise<boolean> | undefined): Promise<void> {
  if ((await (batch ?? true)) === false) throw new Error('the batch before failed')
}

const codeOf = (error: unknown): string => String((error as { code?: unknown } | null)?.code ?? '')
/** lock_not_available */
const isLocked = (error: unknown): boolean => codeOf(error) === '55P03'
/** Data exceptions and violated constraints: the database refused what was sent, and would again. */
const isRefused = (error: unknown): boolean => /^2[23]/.test(codeOf(error))
