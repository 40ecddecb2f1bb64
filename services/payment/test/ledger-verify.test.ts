import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ISql } from 'postgres'
import t from 'tap'
import { verify } from '../src/ledger/verifier-store.ts'
import { openLedger, type Test } from './ledger.ts'

const run = promisify(execFile)

async function books(t: Test) {
  const it = await openLedger(t)
  const [a, b] = [await it.open(1_000n), await it.open(500n)]
  await it.order({ kind: 'transfer', debtor: a, creditor: b, amount: 50n, currency: 'EUR' })
  await it.order({ kind: 'hold', debtor: a, creditor: b, amount: 100n, currency: 'EUR' })
  await it.order({ kind: 'transfer', debtor: b, creditor: a, amount: 20n, currency: 'EUR' })
  return { ...it, a, b }
}

t.test('finds nothing in books that are in order, also while money moves', async t => {
  const it = await books(t)
  const app = it.database.open().sql
  t.same(await verify(app), { accounts: 3, entries: 9, findings: [] })
  let going = true
  const moving = Promise.all(
    Array.from({ length: 8 }, async (_, n) => {
      const [debtor, creditor] = n % 2 === 0 ? [it.a, it.b] : [it.b, it.a]
      while (going) await it.order({ kind: 'transfer', debtor, creditor, amount: 1n, currency: 'EUR' })
    }),
  )
  for (let round = 0; round < 20; round += 1) t.same((await verify(app)).findings, [])
  going = false
  await moving
})

const damages: [string, (it: Awaited<ReturnType<typeof books>>, sql: ISql) => Promise<unknown>][] = [
  [
    'an account that is not what its newest entry says',
    (it, sql) => sql`UPDATE ledger.account SET balance = balance + 1 WHERE id = ${it.a}`,
  ],
  [
    'balances that do not sum to zero',
    (it, sql) => sql`UPDATE ledger.account SET balance = balance + 1 WHERE id = ${it.a}`,
  ],
  [
    'an entry that does not follow from the one before',
    (it, sql) => sql`UPDATE ledger.journal SET amount = 49 WHERE debtor = ${it.a} AND amount = 50`,
  ],
  [
    'an entry that does not follow from the one before',
    (it, sql) => sql`DELETE FROM ledger.journal WHERE debtor = ${it.a} AND amount = 50`,
  ],
  [
    'an entry below the floor',
    (it, sql) => sql`UPDATE ledger.journal SET debtor_balance = -1 WHERE debtor = ${it.a} AND amount = 50`,
  ],
  ['holds that do not add up to what is held', (_, sql) => sql`UPDATE ledger.hold SET amount = 99`],
  ['a hold without its entry', (it, sql) => sql`UPDATE ledger.hold SET id = ${randomUUID()} WHERE debtor = ${it.a}`],
  [
    'an entry whose id is not registered',
    (_, sql) => sql`DELETE FROM ledger.transfer WHERE id IN (SELECT id FROM ledger.journal WHERE amount = 50)`,
  ],
]

t.test('finds each damage that somebody did who took the guards away', async t => {
  const it = await books(t)
  await it.lease.close()
  for (const [what, damage] of damages) {
    const undo = new Error('undo')
    await it.owner.sql
      .begin(async sql => {
        for (const table of ['account', 'journal', 'hold', 'transfer'])
          await sql.unsafe(`ALTER TABLE ledger.${table} DISABLE TRIGGER USER`)
        await damage(it, sql as unknown as ISql)
        const { findings } = await verify(sql as unknown as typeof it.owner.sql)
        t.ok(
          findings.some(finding => finding.what === what),
          `${what}: ${JSON.stringify(findings)}`,
        )
        throw undo
      })
      .catch(error => t.equal(error, undo))
  }
})

t.test('ends with 1, and says where, when there is something', async t => {
  const it = await books(t)
  await it.lease.close()
  const look = () =>
    run(process.execPath, [join(import.meta.dirname, '../src/verify.ts')], {
      env: { ...process.env, DATABASE_URL: it.database.url },
    })
  t.match((await look()).stdout, '3 accounts, 9 changes, 0 findings')
  await it.owner.sql`ALTER TABLE ledger.account DISABLE TRIGGER USER`
  await it.owner.sql`UPDATE ledger.account SET held = 90 WHERE id = ${it.a}`
  const failed = await look().catch(error => error)
  t.match(failed, { code: 1, stdout: new RegExp(`"where":"${it.a}"`) })
})
