import { openDatabase } from '@banking/db'
import t from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { settlementAccountId } from '../src/bookkeeping.ts'
import { createLedgerStore } from '../src/ledger-store.ts'
import { type Bank, bank, type Test, type TestAccount } from './app.ts'

const noon = Date.UTC(2026, 0, 1, 12)

/** Books so many amounts of 1 from outside on one day, by one call of the posting function. */
async function bookOutside(it: Bank, account: TestAccount, count: number, at: Date, sql = it.owner.sql) {
  const ids = Array.from({ length: count }, () => uuidv7())
  const all = <T>(value: T) => ids.map(() => value)
  await sql`
    SELECT count(*) FROM post_payments('test', 'external', ${at.toISOString()}, NULL, ${ids}::uuid[], ${ids}::uuid[], NULL,
      ${all('bank')}::text[], ${ids}::text[], ${all('\\x00')}::bytea[], ${all(settlementAccountId)}::uuid[],
      ${all(account.id)}::uuid[], NULL, ${all('Outside')}::text[], ${all('1')}::bigint[], ${all('EUR')}::text[],
      ${all('')}::text[], NULL, NULL, NULL)`
}

/** The tables that a batch of eight, in a session that has planned nothing yet, reads from end to end. */
async function readWhole(t: Test, it: Bank, account: TestAccount): Promise<string[]> {
  const database = openDatabase({ url: it.database.ownerUrl, name: 'test', max: 1 })
  t.teardown(() => database.close())
  return database.sql.begin(async sql => {
    await bookOutside(it, account, 8, new Date(noon), sql as unknown as typeof it.owner.sql)
    const rows = await sql<{ relname: string }[]>`SELECT relname FROM pg_stat_xact_user_tables WHERE seq_scan > 0`
    return rows.map(({ relname }) => relname)
  })
}

t.test('books by index on a ledger that is empty, young, or large, whatever was analysed when', async t => {
  const it = await bank(t)
  const account = await it.open('alice', 0n)
  t.same(await readWhole(t, it, account), [], 'empty')
  await bookOutside(it, account, 100, new Date(noon))
  await it.owner.sql`ANALYZE`
  t.same(await readWhole(t, it, account), [], 'analysed while it was small')
  for (let n = 0; n < 20; n += 1) await bookOutside(it, account, 500, new Date(noon))
  t.same(await readWhole(t, it, account), [], 'large, not analysed since')
  await it.owner.sql`ANALYZE`
  t.same(await readWhole(t, it, account), [], 'large and analysed')
})

t.test('finds a person’s accounts among many by index', async t => {
  const it = await bank(t)
  await it.owner.sql`
    INSERT INTO account (id, owner_id, holder, name, kind, iban, currency)
    SELECT gen_random_uuid(), 'owner ' || n, 'Holder', 'Current account', 'current', 'DE00' || lpad(n::text, 18, '0'), 'EUR'
    FROM generate_series(1, 5000) n`
  await it.owner.sql`VACUUM ANALYZE account`
  // One connection, so that what it has counted can be asked for.
  const database = openDatabase({ url: it.database.url, name: 'test', max: 1 })
  t.teardown(() => database.close())
  t.match(await createLedgerStore(database).accountsOf('owner 4321'), [{ iban: 'DE00000000000000004321' }])
  await database.sql`SELECT pg_stat_force_next_flush()`
  const [rows] = await it.owner.sql<{ read: bigint }[]>`
    SELECT seq_tup_read AS read FROM pg_stat_user_tables WHERE relname = 'account'`
  t.ok((rows?.read ?? 5_000n) < 5_000n, `${rows?.read} rows read from end to end`)
})
