import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { apply, type Books, decide, emptyBooks } from '../src/ledger/decide.ts'
import { type Entry, idsOf, type Leg, type Operation, transferId } from '../src/ledger/operation.ts'
import { fingerprint, openLedger } from './ledger.ts'

const numberOfAccounts = 5
/** The first is one of the bank's own. */
const accounts = Array.from({ length: numberOfAccounts }, () => randomUUID() as string)
const bank = accounts[0] as string

/** What somebody may ask for; holds and transfers by how many there were before. */
type Wish =
  | { kind: 'transfer' | 'hold'; from: number; to: number; amount: bigint; expires: boolean; currency: string }
  | { kind: 'settle' | 'void' | 'expire' | 'reverse'; which: number; part: bigint | undefined }
  | { kind: 'freeze' | 'unfreeze' | 'close'; account: number }
  | { kind: 'group'; wishes: Wish[] }

const account = fc.nat(numberOfAccounts)
const amount = fc.bigInt({ min: -1n, max: 400n })
const move = fc.record({
  kind: fc.constantFrom('transfer' as const, 'transfer' as const, 'hold' as const),
  from: account,
  to: account,
  amount,
  expires: fc.boolean(),
  currency: fc.constantFrom('EUR', 'EUR', 'EUR', 'USD'),
})
const end = fc.record({
  kind: fc.constantFrom('settle' as const, 'void' as const, 'expire' as const, 'reverse' as const),
  which: fc.nat(5),
  part: fc.option(amount, { nil: undefined }),
})
const state = fc.record({
  kind: fc.constantFrom('freeze' as const, 'unfreeze' as const, 'unfreeze' as const, 'close' as const),
  account,
})
const group = fc
  .array(fc.oneof({ weight: 3, arbitrary: move }, { weight: 1, arbitrary: end }), { minLength: 1, maxLength: 4 })
  .map(wishes => ({ kind: 'group' as const, wishes }))
const wishes = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: move },
    { weight: 5, arbitrary: end },
    { weight: 3, arbitrary: state },
    { weight: 3, arbitrary: group },
  ),
  { minLength: 1, maxLength: 60, size: 'max' },
)

type Story = ReturnType<typeof begin>

function begin(when = 0) {
  const books = emptyBooks()
  for (const id of accounts)
    books.accounts.set(id, {
      ...{ version: 0, entries: 0, balance: 0n, held: 0n, currency: 'EUR', status: 'active' },
      floor: id === bank ? null : 0n,
    })
  let at = when
  return {
    books,
    /** Ids of holds and transfers, the newest first. */
    made: [] as string[],
    entries: [] as Entry[],
    now: () => (at += 1),
  }
}

const pick = (list: readonly string[], n: number): string => list[n] ?? randomUUID()

function operationOf(wish: Wish, made: readonly string[]): Operation {
  switch (wish.kind) {
    case 'group':
      return { kind: 'group', legs: wish.wishes.map(one => operationOf(one, made)).filter(isLeg) }
    case 'transfer':
    case 'hold': {
      const sides = { debtor: pick(accounts, wish.from), creditor: pick(accounts, wish.to) }
      const { kind, amount, currency } = wish
      // A time of this story's clock, or none.
      return {
        kind,
        ...sides,
        amount,
        currency,
        ...(kind === 'hold' && wish.expires ? { expiresAt: new Date(0) } : {}),
      }
    }
    case 'settle':
      return { kind: 'settle', hold: pick(made, wish.which), ...(wish.part === undefined ? {} : { amount: wish.part }) }
    case 'void':
    case 'expire':
      return { kind: wish.kind, hold: pick(made, wish.which) }
    case 'reverse':
      return { kind: 'reverse', transfer: pick(made, wish.which) }
    default:
      return { kind: wish.kind, account: pick(accounts, wish.account) }
  }
}

const isLeg = (operation: Operation): operation is Leg =>
  ['transfer', 'hold', 'settle', 'void'].includes(operation.kind)

/** The bank gives to three of the accounts. */
const openings = [1, 2, 3].map(
  (to): Wish => ({ kind: 'transfer', from: 0, to, amount: 600n, expires: false, currency: 'EUR' }),
)

/** Decides, and looks at the decision by itself. */
function step(story: Story, wish: Wish) {
  const operation = operationOf(wish, story.made)
  if (operation.kind === 'group' && operation.legs.length === 0) return undefined
  const order = { id: randomUUID() as string, fingerprint, operation, memo: '' }
  // As the writer does: what can be reversed is what was booked.
  if (operation.kind === 'reverse') remember(story, operation.transfer)
  const before = structuredClone(story.books)
  const decision = decide(story.books, order, story.now)
  if (!same(before, story.books)) throw new Error('a decision has changed the books')
  const { outcome, changes } = decision
  if (outcome.result === 'refused' && changes.accounts.size + changes.holds.size + changes.originals.size > 0)
    throw new Error('a refusal changes something')
  apply(story.books, changes)
  if (outcome.result !== 'refused') {
    story.entries.push(...outcome.entries)
    story.made.unshift(...idsOf(order))
  }
  return { order, outcome, before }
}

function remember({ books, entries }: Story, id: string): void {
  const entry = entries.find(one => one.id === id)
  if (entry === undefined || entry.creditorHead === null || entry.creditor === null || entry.kind === 'reverse') return
  const { debtor, creditor, amount, currency } = entry
  if (!books.originals.has(id)) books.originals.set(id, { debtor, creditor, amount, currency, reversed: false })
}

const text = (value: unknown): string =>
  JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? `${one}n` : one instanceof Map ? [...one] : one))
const same = (a: unknown, b: unknown): boolean => text(a) === text(b)

/** What must hold after each decision. */
function inOrder({ books }: Story): void {
  let sum = 0n
  for (const [id, { balance, held, floor }] of books.accounts) {
    sum += balance
    if (floor !== null && balance - held < floor) throw new Error(`${id} is below its floor`)
    const holds = [...books.holds.values()].filter(hold => hold?.debtor === id)
    const reserved = holds.reduce((total, hold) => total + (hold?.amount ?? 0n), 0n)
    if (held !== reserved) throw new Error(`${id} holds ${held}, its holds are ${reserved}`)
  }
  if (sum !== 0n) throw new Error(`the balances sum to ${sum}`)
}

/** Each account's entries count up without a gap, each from the one before. */
function chained(entries: readonly Entry[]): void {
  const heads = new Map<string, { version: number; entries: number; balance: bigint; held: bigint }>()
  let at = 0
  for (const entry of entries) {
    if (entry.at <= at) throw new Error('the journal goes back in time')
    at = entry.at
    const moved = entry.creditorHead === null ? 0n : entry.amount
    const sides = [[entry.debtor, entry.debtorHead, -moved, entry.reserved] as const]
    if (entry.creditorHead !== null) sides.push([entry.creditor as string, entry.creditorHead, moved, 0n] as const)
    for (const [id, head, change, reserved] of sides) {
      const last = heads.get(id) ?? { version: 0, entries: 0, balance: 0n, held: 0n }
      const next = {
        version: last.version + 1,
        entries: last.entries + (entry.creditorHead === null ? 0 : 1),
        balance: last.balance + change,
        held: last.held + reserved,
      }
      if (!same(next, head)) throw new Error(`an entry of ${id} does not follow: ${text(head)}, not ${text(next)}`)
      heads.set(id, head)
    }
  }
}

t.test('keeps sums, floors, holds and chains in every story, and changes nothing when it refuses', async t => {
  const results = new Map<string, number>()
  fc.assert(
    fc.property(wishes, story => {
      const it = begin()
      for (const wish of [...openings, ...story]) {
        const taken = step(it, wish)
        if (taken === undefined) continue
        inOrder(it)
        const { outcome, order } = taken
        const name = `${order.operation.kind} ${outcome.result === 'booked' ? 'booked' : outcome.why}`
        results.set(name, (results.get(name) ?? 0) + 1)
      }
      chained(it.entries)
    }),
    { numRuns: 150 },
  )
  // A property that never meets a case says nothing of it.
  for (const name of [
    ...['transfer booked', 'transfer insufficient_funds', 'transfer account_frozen', 'transfer same_account'],
    ...['transfer currency_mismatch', 'transfer account_unknown', 'transfer amount_invalid', 'transfer account_closed'],
    ...['hold booked', 'hold insufficient_funds', 'settle booked', 'settle hold_exceeded', 'settle hold_unknown'],
    ...['void booked', 'expire booked', 'expire hold_not_expired', 'reverse booked', 'reverse already_reversed'],
    ...['reverse transfer_unknown', 'freeze booked', 'unfreeze booked', 'close booked', 'close account_not_empty'],
    ...['freeze account_unchangeable', 'group booked', 'group insufficient_funds', 'group hold_unknown'],
  ])
    t.ok((results.get(name) ?? 0) > 0, `${name}: ${results.get(name) ?? 0}`)
})

t.test('a group is what its legs would be one after the other, or nothing', async t => {
  let [done, refused] = [0, 0]
  fc.assert(
    fc.property(wishes, group, (story, last) => {
      const one = begin()
      for (const wish of [...openings, ...story]) step(one, wish)
      const other = { ...begin(), books: structuredClone(one.books) }
      const taken = step(one, last)
      if (taken === undefined || taken.order.operation.kind !== 'group') return
      const ids = idsOf(taken.order)
      const outcomes = taken.order.operation.legs.map((operation, n) => {
        const { outcome, changes } = decide(other.books, { ...taken.order, operation, id: ids[n] as string }, other.now)
        apply(other.books, changes)
        return outcome
      })
      const all = outcomes.every(({ result }) => result === 'booked')
      if (all !== (taken.outcome.result === 'booked')) throw new Error('a group differs from its legs')
      if (all && !same([...one.books.accounts], [...other.books.accounts]))
        throw new Error('its legs leave other accounts')
      if (all) done += 1
      else refused += 1
      if (all) return
      const untouched = { ...taken.before, accounts: balancesOf(taken.before) }
      if (!same(untouched, { ...one.books, accounts: balancesOf(one.books) }))
        throw new Error('a part of a group was done')
    }),
    { numRuns: 100 },
  )
  t.ok(done > 5 && refused > 5, `${done} groups done, ${refused} not`)
})

const balancesOf = ({ accounts }: Books) =>
  [...accounts].map(([id, { balance, held, entries }]) => [id, balance, held, entries])

t.test('the database takes what was decided, in whatever batches it comes', async t => {
  const it = await openLedger(t)
  await it.lease.close()
  await fc.assert(
    fc.asyncProperty(wishes, fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }), async (wanted, sizes) => {
      // The same story in accounts of its own.
      const own = new Map(accounts.map(id => [id, randomUUID() as string]))
      for (const [id, fresh] of own) await it.store.openAccount(fresh, 'EUR', id === bank ? null : 0n)
      const term = await it.store.acquire('property', 60_000)
      if (term === undefined) throw new Error('somebody else writes')
      const story = begin(Math.max(term.last, term.now))
      for (const wish of [...openings, ...wanted]) step(story, wish)
      const entries = story.entries.map(entry => ({
        ...entry,
        debtor: own.get(entry.debtor) as string,
        creditor: entry.creditor === null ? null : (own.get(entry.creditor) as string),
      }))
      let { batch } = term
      for (let n = 0; entries.length > 0; n += 1) {
        batch += 1
        await it.store.append(batch, entries.splice(0, sizes[n % sizes.length]))
      }
      const { accounts: found } = await it.store.find([], [...own.values()], [], [])
      for (const [id, known] of story.books.accounts) {
        const { version, entries: count, balance, held, status } = found.get(own.get(id) as string) ?? {}
        if (
          !same(
            { version, count, balance, held, status },
            {
              ...{ version: known.version, count: known.entries },
              ...{ balance: known.balance, held: known.held, status: known.status },
            },
          )
        )
          throw new Error('the database has something else')
      }
      await it.store.release(term.epoch)
    }),
    { numRuns: 25 },
  )
  t.pass('25 stories')
})

t.test('the same key of the same person for the same operation is the same transfer, and no other is', t => {
  const id = transferId('alice', 'POST /api/payments', 'key')
  t.equal(id, transferId('alice', 'POST /api/payments', 'key'))
  t.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  for (const other of [
    transferId('bob', 'POST /api/payments', 'key'),
    transferId('alice', 'POST /api/refunds', 'key'),
    transferId('alice', 'POST /api/payments', 'key2'),
    transferId('alice","POST', '/api/payments', 'key'),
  ])
    t.not(id, other)
  t.end()
})
