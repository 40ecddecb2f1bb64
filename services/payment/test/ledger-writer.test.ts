import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { openDatabase } from '@banking/db'
import { eventually, testLogger, testProxy } from '@banking/testkit'
import t from 'tap'
import { startUpkeep } from '../src/ledger/upkeep.ts'
import { type Answer, NotWriter, Overdue } from '../src/ledger/writer.ts'
import { fingerprint, openLedger, startReplica, type Test } from './ledger.ts'

type Ledger = Awaited<ReturnType<typeof openLedger>>
type Replica = Pick<Ledger, 'writer' | 'store' | 'failures'>

const transfer = (debtor: string, creditor: string, amount: bigint) =>
  ({ kind: 'transfer', debtor, creditor, amount, currency: 'EUR' }) as const

const submit = (on: Replica, operation: Parameters<Ledger['order']>[0], id = randomUUID()) =>
  on.writer.submit({ id, fingerprint, operation, memo: '' })

/** Nothing was made or lost, and what each account says is what its entries add up to. */
async function audit(t: Test, it: Ledger, entries: number) {
  const [books] = await it.owner.sql<{ sum: string; rows: number; ids: number }[]>`
    SELECT (SELECT sum(balance) FROM ledger.account)::text AS sum, (SELECT count(*)::int FROM ledger.journal) AS rows,
      (SELECT count(*)::int FROM ledger.transfer) AS ids`
  t.same(books, { sum: '0', rows: entries, ids: entries })
}

t.test('does each operation, and says what came of it', async t => {
  const it = await openLedger(t)
  const [a, b] = [await it.open(1_000n), await it.open(0n)]
  const done = async (operation: Parameters<Ledger['order']>[0]) => {
    const answer = await it.order(operation)
    return answer.result === 'booked' ? answer.id : `${answer.result}: ${answer.why}`
  }
  const heads = async () => {
    const { accounts } = await it.store.find([], [a, b], [], [])
    return [a, b].map(id => [accounts.get(id)?.balance, accounts.get(id)?.held])
  }
  const paid = await done(transfer(a, b, 100n))
  t.same(await heads(), [
    [900n, 0n],
    [100n, 0n],
  ])
  t.equal(await done(transfer(a, b, 901n)), 'declined: insufficient_funds')
  const whole = await done({ kind: 'hold', debtor: a, creditor: b, amount: 300n, currency: 'EUR' })
  const part = await done({ kind: 'hold', debtor: a, creditor: b, amount: 300n, currency: 'EUR' })
  const none = await done({ kind: 'hold', debtor: a, creditor: b, amount: 300n, currency: 'EUR' })
  t.same(await heads(), [
    [900n, 900n],
    [100n, 0n],
  ])
  t.equal(await done(transfer(a, b, 1n)), 'declined: insufficient_funds', 'what is held cannot be spent')
  t.equal(await done({ kind: 'settle', hold: part, amount: 301n }), 'refused: hold_exceeded')
  await done({ kind: 'settle', hold: whole })
  await done({ kind: 'settle', hold: part, amount: 200n })
  await done({ kind: 'void', hold: none })
  t.same(await heads(), [
    [400n, 0n],
    [600n, 0n],
  ])
  for (const hold of [whole, part, none, randomUUID()])
    t.equal(await done({ kind: 'settle', hold }), 'refused: hold_unknown', 'a hold ends once')
  await done({ kind: 'reverse', transfer: paid })
  t.equal(await done({ kind: 'reverse', transfer: paid }), 'refused: already_reversed')
  t.equal(await done({ kind: 'reverse', transfer: none }), 'refused: transfer_unknown')
  await done({ kind: 'freeze', account: a })
  t.equal(await done(transfer(a, b, 1n)), 'declined: account_frozen')
  await done(transfer(b, a, 1n))
  await done({ kind: 'unfreeze', account: a })
  t.equal(await done({ kind: 'close', account: a }), 'refused: account_not_empty')
  await done(transfer(a, b, 501n))
  await done({ kind: 'close', account: a })
  t.equal(await done(transfer(b, a, 1n)), 'refused: account_closed')
  t.equal(await done(transfer(b, randomUUID(), 1n)), 'refused: account_unknown')
  t.equal(await done({ kind: 'freeze', account: it.bank }), 'refused: account_unchangeable')
  t.same(it.failures, [])
  await audit(t, it, 17)
})

t.test('does all legs of a group in their order, or none', async t => {
  const it = await openLedger(t)
  const [a, b, fees] = [await it.open(100n), await it.open(0n), await it.open(0n)]
  const both = await it.order({ kind: 'group', legs: [transfer(a, b, 60n), transfer(a, fees, 5n)] })
  t.match(both, { result: 'booked', entries: [{ creditor: b }, { creditor: fees, groupId: both.id }] })
  const neither = await it.order({ kind: 'group', legs: [transfer(a, b, 30n), transfer(a, fees, 6n)] })
  t.match(neither, { result: 'declined', why: 'insufficient_funds', entries: [{ id: neither.id, amount: 6n }] })
  const through = await it.order({ kind: 'group', legs: [transfer(it.bank, a, 500n), transfer(a, b, 535n)] })
  t.equal(through.result, 'booked', 'the second leg spends what the first brought')
  const { accounts } = await it.store.find([], [a, b, fees], [], [])
  t.same(
    [a, b, fees].map(id => accounts.get(id)?.balance),
    [0n, 595n, 5n],
  )
  const again = await it.order({ kind: 'group', legs: [transfer(a, b, 60n), transfer(a, fees, 5n)] }, { id: both.id })
  t.match(again, { result: 'booked', repeated: true })
  t.same(again.result === 'booked' && again.entries, both.result === 'booked' && both.entries)
  await audit(t, it, 6)
})

t.test('expires a hold when its time has passed, not before', async t => {
  const it = await openLedger(t)
  const [a, b] = [await it.open(100n), await it.open(0n)]
  const hold = (ms: number) =>
    it.order({
      kind: 'hold',
      debtor: a,
      creditor: b,
      amount: 10n,
      currency: 'EUR',
      expiresAt: new Date(Date.now() + ms),
    })
  const [soon, later] = [await hold(50), await hold(60_000)]
  t.match(await it.order({ kind: 'expire', hold: later.id }), { result: 'refused', why: 'hold_not_expired' })
  await eventually(async () => (await it.store.overdueHolds(10)).length === 1)
  t.same(await it.store.overdueHolds(10), [soon.id])
  // The writer's own clock is a little behind the database's.
  await eventually(async () => (await it.order({ kind: 'expire', hold: soon.id })).result === 'booked')
  t.same(await it.store.overdueHolds(10), [])
  const { accounts } = await it.store.find([], [a], [], [])
  t.equal(accounts.get(a)?.held, 10n)
  t.same(it.failures, [])
})

t.test('does the same order once, however often it is sent, and refuses another one under its id', async t => {
  const it = await openLedger(t)
  const [a, b] = [await it.open(100n), await it.open(0n)]
  const id = randomUUID()
  const answers = await Promise.all(Array.from({ length: 20 }, () => submit(it, transfer(a, b, 10n), id)))
  t.equal(answers.filter(({ repeated }) => !repeated).length, 1)
  const other = { id, fingerprint: '11'.repeat(16), operation: transfer(a, b, 11n), memo: '' }
  t.match(await it.writer.submit(other), { result: 'refused', why: 'key_reused' })
  await it.lease.close()
  const second = startReplica(t, it.database.open().sql)
  const later = await it.order(transfer(a, b, 10n), { id, on: second })
  t.match(later, { result: 'booked', repeated: true })
  t.same(later.result === 'booked' && later.entries, (answers[0] as Answer & { entries: unknown }).entries)
  t.match(await second.writer.submit(other), { result: 'refused', why: 'key_reused' })
  await audit(t, it, 2)
})

t.test('a key that is repeated without a pause fails no batch of others', async t => {
  const it = await openLedger(t)
  const [a, b] = [await it.open(10_000n), await it.open(0n)]
  const key = randomUUID()
  await submit(it, transfer(a, b, 1n), key)
  let going = true
  const repeating = Promise.all(
    Array.from({ length: 8 }, async () => {
      while (going) t.ok((await submit(it, transfer(a, b, 1n), key)).repeated)
    }),
  )
  for (let round = 0; round < 10; round += 1)
    await Promise.all(Array.from({ length: 16 }, () => submit(it, transfer(a, b, 1n))))
  going = false
  await repeating
  t.same(it.failures, [])
  await audit(t, it, 2 + 160)
})

t.test('two that believe to be the writer cannot both write', async t => {
  const it = await openLedger(t)
  const [a, b] = [await it.open(1_000n), await it.open(0n)]
  const second = startReplica(t, it.database.open().sql)
  // As if its lease had run out in the middle of a pause: it takes the term, and the first does not know.
  await eventually(async () => {
    await it.owner.sql`UPDATE ledger.writer SET until = '-infinity' WHERE epoch = ${it.writer.term()?.epoch ?? 0}`
    return second.writer.term() !== undefined
  })
  const answers = await Promise.allSettled(
    Array.from({ length: 40 }, (_, n) => submit(n % 2 === 0 ? it : second, transfer(a, b, 100n))),
  )
  const booked = answers.filter(one => one.status === 'fulfilled' && one.value.result === 'booked').length
  t.equal(booked, 10, 'the whole balance was spent once')
  for (const one of answers) if (one.status === 'rejected') t.ok(one.reason instanceof NotWriter, String(one.reason))
  const { accounts } = await it.store.find([], [a, b], [], [])
  t.same([accounts.get(a)?.balance, accounts.get(b)?.balance], [0n, 1_000n])
})

/** Sends to whoever writes until it is known what became of the order. */
async function insist(replicas: readonly Replica[], operation: Parameters<Ledger['order']>[0]): Promise<Answer> {
  const id = randomUUID()
  for (let tries = 0; tries < 2_000; tries += 1) {
    try {
      return await submit(replicas[tries % replicas.length] as Replica, operation, id)
    } catch (error) {
      if (!(error instanceof NotWriter || error instanceof Overdue)) throw error
      await delay(5)
    }
  }
  throw new Error('an order was never answered')
}

t.test('loses and doubles nothing when its connections are killed', async t => {
  const it = await openLedger(t)
  const [a, b] = [await it.open(100_000n), await it.open(100_000n)]
  const { sql } = it.database.open()
  let kills = 0
  let going = true
  const killing = (async () => {
    while (going) {
      const rows = await sql`
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND usename = 'payment' AND pid <> pg_backend_pid()`
      kills += rows.length
      await delay(100)
    }
  })()
  const answers: Answer[] = []
  for (let round = 0; round < 10 || kills < 10; round += 1)
    answers.push(
      ...(await Promise.all(
        Array.from({ length: 20 }, (_, n) => insist([it], transfer(n % 2 === 0 ? a : b, n % 2 === 0 ? b : a, 7n))),
      )),
    )
  going = false
  await killing
  t.ok(it.failures.length > 0)
  t.ok(answers.every(({ result }) => result === 'booked'))
  await audit(t, it, 2 + answers.length)
})

t.test(
  'a writer that was cut off in the middle of a batch is followed, and what it believes afterwards is worth nothing',
  async t => {
    const it = await openLedger(t)
    const [a, b] = [await it.open(1_000n), await it.open(0n)]
    await it.lease.close()
    const address = new URL(it.database.url)
    const proxy = await testProxy(t, { host: address.hostname, port: Number(address.port) })
    address.host = `${proxy.host}:${proxy.port}`
    const through = openDatabase({ url: address.href, name: 'cut off' })
    t.teardown(() => through.close())
    const first = startReplica(t, through.sql)
    await it.order(transfer(a, b, 100n), { on: first })
    const epoch = first.writer.term()?.epoch ?? 0
    proxy.stall()
    const stuck = Promise.allSettled(Array.from({ length: 5 }, () => submit(first, transfer(a, b, 100n))))
    const second = startReplica(t, it.database.open().sql)
    await it.order(transfer(a, b, 500n), { on: second })
    t.ok((second.writer.term()?.epoch ?? 0) > epoch)
    await proxy.mend()
    for (const one of await stuck) {
      t.equal(one.status, 'rejected')
      t.ok(one.status === 'rejected' && (one.reason instanceof NotWriter || one.reason instanceof Overdue))
    }
    await eventually(() => first.writer.term() === undefined)
    await t.rejects(submit(first, transfer(a, b, 1n)), NotWriter)
    const rest = await it.order(transfer(a, b, 401n), { on: second })
    t.match(rest, { result: 'declined', why: 'insufficient_funds' })
    // What was sent before the cut may have been committed, or not: never twice, never below nothing.
    await audit(t, it, (await it.owner.sql`SELECT 1 FROM ledger.journal`).length)
  },
)

t.test('a term that was begun anew leaves no way for what the old one had sent', async t => {
  const it = await openLedger(t)
  const [a, b] = [await it.open(100n), await it.open(0n)]
  const term = it.writer.term()
  if (term === undefined) throw new Error('there is a writer')
  const before = await it.store.renew(term.epoch, 2_000)
  const after = await it.store.retake(term.epoch, 2_000)
  t.match(after, { epoch: term.epoch + 1, batch: (before?.batch ?? 0) + 1 })
  const answers = await Promise.allSettled([submit(it, transfer(a, b, 10n))])
  t.equal(answers[0]?.status, 'rejected', 'the term of the first is not the one in the row')
  await audit(t, it, 1)
})

t.test('somebody else’s lock on an account holds up who needs it, and nobody else for long', async t => {
  const it = await openLedger(t)
  const [locked, a, b] = [await it.open(100n), await it.open(1_000n), await it.open(0n)]
  const [has, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const stuck = it.owner.sql.begin(async sql => {
    await sql`SELECT 1 FROM ledger.account WHERE id = ${locked} FOR UPDATE`
    has.resolve()
    await release.promise
  })
  await has.promise
  const waiting = submit(it, transfer(locked, b, 1n))
  const others = await Promise.all(Array.from({ length: 30 }, () => submit(it, transfer(a, b, 1n))))
  t.ok(others.every(({ result }) => result === 'booked'))
  release.resolve()
  await stuck
  t.equal((await waiting).result, 'booked')
  await audit(t, it, 2 + 31)
})

t.test('answers nothing, not even a refusal, before what it relied on has been committed', async t => {
  const it = await openLedger(t)
  const [a, b] = [await it.open(100n), await it.open(0n)]
  const [has, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const stuck = it.owner.sql.begin(async sql => {
    await sql`SELECT 1 FROM ledger.account WHERE id = ${a} FOR UPDATE`
    has.resolve()
    await release.promise
  })
  await has.promise
  const spent = submit(it, transfer(a, b, 100n))
  await delay(20)
  let answered = 0
  // Enough of them for a second batch beside the first, which writes nothing, and is right only if the first is.
  const relying = Array.from({ length: 20 }, async () => {
    const answer = await submit(it, { kind: 'close', account: b })
    answered += 1
    return answer
  })
  await delay(100)
  t.equal(answered, 0)
  release.resolve()
  await stuck
  t.equal((await spent).result, 'booked')
  for (const answer of await Promise.all(relying)) t.match(answer, { why: 'account_not_empty' })
})

t.test('ends holds whose time has passed by itself', async t => {
  const it = await openLedger(t)
  const [a, b] = [await it.open(100n), await it.open(0n)]
  for (let n = 0; n < 3; n += 1)
    await it.order({ kind: 'hold', debtor: a, creditor: b, amount: 10n, currency: 'EUR', expiresAt: new Date() })
  const upkeep = startUpkeep({ store: it.store, writer: it.writer, logger: testLogger().logger })
  t.teardown(() => upkeep.close())
  await eventually(async () => (await it.store.find([], [a], [], [])).accounts.get(a)?.held === 0n)
  await audit(t, it, 1 + 6)
})

t.test('hands over at an orderly stop, and answers all that it had taken', async t => {
  const it = await openLedger(t)
  const [a, b] = [await it.open(1_000n), await it.open(0n)]
  const second = startReplica(t, it.database.open().sql)
  const taken = Promise.all(Array.from({ length: 50 }, () => submit(it, transfer(a, b, 1n))))
  await it.lease.close()
  t.ok((await taken).every(({ result }) => result === 'booked'))
  await t.rejects(submit(it, transfer(a, b, 1n)), NotWriter)
  t.equal((await it.order(transfer(a, b, 1n), { on: second })).result, 'booked')
  await audit(t, it, 1 + 51)
})

t.test('says what an account had at a moment, and tells the journal in its order without a hole', async t => {
  const it = await openLedger(t)
  const [a, b] = [await it.open(1_000n), await it.open(0n)]
  const moments: Date[] = []
  for (let n = 0; n < 5; n += 1) {
    await delay(5)
    const answer = await it.order(n % 2 === 0 ? transfer(a, b, 10n) : transfer(b, a, 5n))
    if (answer.result === 'booked') moments.push(new Date(Math.floor((answer.entries[0]?.at ?? 0) / 1_000)))
  }
  const at = async (account: string) =>
    Promise.all(moments.map(async m => (await it.store.balanceAt(account, m))?.balance))
  t.same(await at(a), [1_000n, 990n, 995n, 985n, 990n], 'before each')
  t.same(await at(b), [undefined, 10n, 5n, 15n, 10n])
  const all = await it.store.entriesAfter(0, 100)
  t.equal(all.length, 6)
  t.same(await it.store.entriesAfter(all[2]?.at ?? 0, 2), all.slice(3, 5))
  await it.store.prepareMonths()
})
