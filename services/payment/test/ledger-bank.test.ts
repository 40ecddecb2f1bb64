import { randomInt, randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import type { Entry, Operation } from '../src/ledger/operation.ts'
import { verify } from '../src/ledger/verifier-store.ts'
import { type Answer, NotWriter, Overdue } from '../src/ledger/writer.ts'
import { fingerprint, openLedger, startReplica } from './ledger.ts'

/** A generator that repeats itself for the same seed. */
function random(seed: number) {
  let state = seed
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

t.test('two replicas whose writers are killed, robbed of their term and doubled keep every promise', async t => {
  const seed = Number(process.env['LEDGER_SEED'] ?? randomInt(2 ** 31))
  const seconds = Number(process.env['LEDGER_SECONDS'] ?? 5)
  t.comment(`LEDGER_SEED=${seed} LEDGER_SECONDS=${seconds}`)
  const below = random(seed)
  const it = await openLedger(t)
  const accounts: string[] = []
  for (let n = 0; n < 6; n += 1) accounts.push(await it.open(10_000n))
  const replicas = [it, startReplica(t, it.database.open().sql)]
  const holds: string[] = []
  const done: { id: string; operation: Operation; answer: Answer }[] = []
  const pick = <T>(list: readonly T[]): T | undefined => list[below(list.length)]

  const wish = (): Operation => {
    const [debtor, creditor] = [pick(accounts) as string, pick(accounts) as string]
    const sides = { debtor, creditor, amount: BigInt(1 + below(3_000)), currency: 'EUR' }
    const hold = pick(holds) ?? randomUUID()
    switch (below(8)) {
      case 0:
        return { kind: 'hold', ...sides }
      case 1:
        return { kind: 'settle', hold, ...(below(2) === 0 ? {} : { amount: BigInt(1 + below(500)) }) }
      case 2:
        return { kind: 'void', hold }
      case 3:
        return { kind: 'reverse', transfer: pick(done)?.id ?? randomUUID() }
      case 4:
        return {
          kind: 'group',
          legs: [
            { kind: 'transfer', ...sides },
            { kind: 'transfer', ...sides, amount: 7n },
          ],
        }
      default:
        return { kind: 'transfer', ...sides }
    }
  }

  let going = true
  /** Sends one order after the other, each until it is known what became of it, some of them twice. */
  const customer = async (): Promise<void> => {
    while (going) {
      const [id, operation] = [randomUUID(), wish()]
      const insist = async (): Promise<Answer> => {
        for (;;) {
          try {
            const replica = pick(replicas) as (typeof replicas)[number]
            return await replica.writer.submit({ id, fingerprint, operation, memo: '' })
          } catch (error) {
            if (!(error instanceof NotWriter || error instanceof Overdue)) throw error
            await delay(5)
          }
        }
      }
      const answers = await Promise.all(Array.from({ length: 1 + below(2) }, insist))
      // A refusal leaves the id free: sent again, the order may be possible.
      const told = answers.filter(({ result }) => result !== 'refused')
      t.ok(new Set(told.map(({ result }) => result)).size <= 1, 'one key, one outcome')
      const answer = told[0] ?? answers[0]
      if (answer === undefined) continue
      done.push({ id, operation, answer })
      if (operation.kind === 'hold' && answer.result === 'booked') holds.push(id)
    }
  }

  const { sql } = it.owner
  const mischief = async (): Promise<void> => {
    while (going) {
      await delay(20 + below(150))
      if (below(3) > 0)
        await sql`
          SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name LIKE '% ledger writer' AND pg_has_role(usename, 'USAGE')`
      // Whoever comes first takes it; the other one goes on until it is told.
      else await sql`UPDATE ledger.writer SET until = '-infinity'`
    }
  }
  const looking = async (): Promise<void> => {
    while (going) {
      const [books] = await sql<{ sum: string; lowest: bigint }[]>`
        SELECT sum(balance)::text AS sum, min(balance - held) FILTER (WHERE floor IS NOT NULL) AS lowest FROM ledger.account`
      t.ok(books?.sum === '0' && books.lowest >= 0n, 'every look at the books adds up')
      await delay(20)
    }
  }
  const all = Promise.all([...Array.from({ length: 24 }, customer), mischief(), looking()])
  await delay(seconds * 1_000)
  going = false
  await all

  const ids = done.flatMap(({ answer }) => (answer.result === 'refused' ? [] : answer.entries.map(entry => entry.id)))
  const written = new Map<string, Entry>()
  for (let n = 0; n < ids.length; n += 500)
    for (const entry of (await it.store.find(ids.slice(n, n + 500), [], [], [])).entries) written.set(entry.id, entry)
  for (const { answer } of done)
    if (answer.result !== 'refused') for (const entry of answer.entries) t.same(written.get(entry.id), entry)
  const refused = done.filter(({ answer }) => answer.result === 'refused').map(({ id }) => id)
  const [rows] = await sql<{ n: number }[]>`SELECT count(*)::int AS n FROM ledger.journal`
  t.equal(rows?.n, written.size + accounts.length, 'what was answered is what was written')
  t.same((await it.store.find(refused.slice(0, 1_000), [], [], [])).entries, [], 'a refusal leaves nothing')
  t.same((await verify(sql)).findings, [])
  const failures = replicas.reduce((sum, replica) => sum + replica.failures.length, 0)
  t.comment(`${done.length} orders, ${written.size} rows, ${failures} failures`)
  t.ok(done.length > 50 && failures > 0)
})
