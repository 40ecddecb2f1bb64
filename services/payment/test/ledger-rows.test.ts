import { randomUUID } from 'node:crypto'
import type { ISql } from 'postgres'
import t from 'tap'
import { openLedger, startReplica, type Test } from './ledger.ts'

type Row = Record<string, unknown>
type Head = { version: bigint; entries: bigint; balance: bigint; held: bigint }

/** Two accounts with 1,000 each, two holds of 100 in the first, and rows that would follow. */
async function books(t: Test) {
  const it = await openLedger(t)
  const [a, b, bank] = [await it.open(1_000n), await it.open(1_000n), it.bank]
  const hold = await it.order({ kind: 'hold', debtor: a, creditor: b, amount: 100n, currency: 'EUR' })
  await it.order({ kind: 'hold', debtor: a, creditor: b, amount: 100n, currency: 'EUR' })
  const paid = await it.order({ kind: 'transfer', debtor: a, creditor: b, amount: 50n, currency: 'EUR' })
  await it.lease.close()
  const { owner } = it
  const head = async (sql: ISql, account: string): Promise<Head> => {
    const [row] = await sql<Head[]>`SELECT version, entries, balance, held FROM ledger.account WHERE id = ${account}`
    if (row === undefined) throw new Error(`no account ${account}`)
    return row
  }
  const place = async (sql: ISql): Promise<Row> => {
    const [row] = await sql<Row[]>`
      SELECT batch + 1 AS batch, greatest(last + interval '1 microsecond', clock_timestamp())::text AS at FROM ledger.writer`
    return row as Row
  }
  /** A transfer of 5 from a to b that follows from what is there, but for what is said. */
  const row = async (sql: ISql, changes: Row = {}): Promise<Row> => {
    const [debtor, creditor] = [await head(sql, a), await head(sql, b)]
    return {
      ...(await place(sql)),
      id: randomUUID(),
      kind: 'transfer',
      debtor: a,
      creditor: b,
      amount: 5n,
      reserved: 0n,
      currency: 'EUR',
      fingerprint: `\\x${'00'.repeat(16)}`,
      memo: '',
      debtor_version: debtor.version + 1n,
      debtor_entries: debtor.entries + 1n,
      debtor_balance: debtor.balance - 5n,
      debtor_held: debtor.held,
      creditor_version: creditor.version + 1n,
      creditor_entries: creditor.entries + 1n,
      creditor_balance: creditor.balance + 5n,
      creditor_held: creditor.held,
      ...changes,
    }
  }
  /** The end of the first hold, without money moved. */
  const release = async (sql: ISql, changes: Row = {}): Promise<Row> => {
    const { version, entries, balance, held } = await head(sql, a)
    return row(sql, {
      ...{ kind: 'void', about: hold.id, amount: 100n, reserved: -100n, debtor_version: version + 1n },
      ...{ debtor_entries: entries, debtor_balance: balance, debtor_held: held - 100n },
      ...{ creditor_version: null, creditor_entries: null, creditor_balance: null, creditor_held: null },
      ...changes,
    })
  }
  const insert = async (sql: ISql, rows: Row[], table = 'ledger.journal') => {
    const names = Object.keys(rows[0] ?? {})
    const json = JSON.stringify(rows, (_, value) => (typeof value === 'bigint' ? value.toString() : value))
    await sql.unsafe(
      `INSERT INTO ${table} (${names.join()}) SELECT ${names.join()} FROM json_populate_recordset(NULL::ledger.journal, $1)`,
      [json],
    )
  }
  /** The transfer of 50, moved back. */
  const reversal = async (sql: ISql, changes: Row = {}): Promise<Row> => {
    const [debtor, creditor] = [await head(sql, b), await head(sql, a)]
    return row(sql, {
      ...{ kind: 'reverse', about: paid.id, debtor: b, creditor: a, amount: 50n },
      ...{ debtor_version: debtor.version + 1n, debtor_entries: debtor.entries + 1n },
      ...{ debtor_balance: debtor.balance - 50n, debtor_held: debtor.held },
      ...{ creditor_version: creditor.version + 1n, creditor_entries: creditor.entries + 1n },
      ...{ creditor_balance: creditor.balance + 50n, creditor_held: creditor.held },
      ...changes,
    })
  }
  return { ...it, owner, a, b, bank, hold, paid, row, release, reversal, head, place, insert }
}

type Books = Awaited<ReturnType<typeof books>>

/** In a transaction that is rolled back: what the database says to it. */
async function attempt(it: Books, work: (sql: ISql) => Promise<unknown>): Promise<string> {
  const undo = new Error('undo')
  return it.owner.sql
    .begin(async sql => {
      await work(sql as unknown as ISql)
      throw undo
    })
    .catch((error: { constraint_name?: string }) =>
      error === undo ? 'accepted' : (error.constraint_name ?? String(error)),
    ) as Promise<string>
}

const trigger = (name: string, table = 'journal') => `DROP TRIGGER ${name} ON ledger.${table}`
const check = (name: string, table = 'journal') => `ALTER TABLE ledger.${table} DROP CONSTRAINT ${name}`

/** What the owner tries, the constraint that refuses it, and what takes that constraint away. */
const attempts: [string, string, string, (it: Books, sql: ISql) => Promise<unknown>][] = [
  [
    'a balance raised without an entry',
    'account_follows',
    trigger('account_follows', 'account'),
    (it, sql) => sql`UPDATE ledger.account SET balance = balance + 100 WHERE id = ${it.a}`,
  ],
  [
    'a balance raised with a count, as if there were an entry',
    'account_follows',
    trigger('account_follows', 'account'),
    (it, sql) => sql`
      UPDATE ledger.account SET balance = balance + 100, entries = entries + 1, version = version + 1 WHERE id = ${it.a}`,
  ],
  [
    'a hold from nowhere in the account',
    'account_follows',
    trigger('account_follows', 'account'),
    (it, sql) => sql`UPDATE ledger.account SET held = held + 50 WHERE id = ${it.a}`,
  ],
  [
    'a lower floor',
    'account_follows',
    trigger('account_follows', 'account'),
    (it, sql) => sql`UPDATE ledger.account SET floor = -1000 WHERE id = ${it.a}`,
  ],
  [
    'another currency',
    'account_follows',
    trigger('account_follows', 'account'),
    (it, sql) => sql`UPDATE ledger.account SET currency = 'USD' WHERE id = ${it.a}`,
  ],
  [
    'a hold from nowhere in the holds',
    'hold_follows',
    trigger('hold_follows', 'hold'),
    (it, sql) => sql`INSERT INTO ledger.hold VALUES (${randomUUID()}, ${it.a}, ${it.b}, 50, 'EUR', NULL)`,
  ],
  [
    'a hold made larger',
    'hold_follows',
    trigger('hold_follows', 'hold'),
    (_, sql) => sql`UPDATE ledger.hold SET amount = 500`,
  ],
  ['a hold made to vanish', 'hold_follows', trigger('hold_follows', 'hold'), (_, sql) => sql`DELETE FROM ledger.hold`],
  [
    'an account born with money',
    'account_born_empty',
    check('account_born_empty', 'account'),
    (_, sql) =>
      sql`INSERT INTO ledger.account (id, currency, floor, balance) VALUES (${randomUUID()}, 'EUR', 0, 1000000)`,
  ],
  [
    'an account born with money and a history',
    'account_starts_at_nothing',
    trigger('account_starts_at_nothing', 'account'),
    (_, sql) => sql`
      INSERT INTO ledger.account (id, currency, floor, balance, version, entries) VALUES (${randomUUID()}, 'EUR', 0, 100, 1, 1)`,
  ],
  [
    'an account removed',
    'account_stays',
    trigger('account_stays', 'account'),
    (it, sql) => sql`DELETE FROM ledger.account WHERE id = ${it.a}`,
  ],
  [
    'an id freed',
    'transfer_follows',
    trigger('transfer_follows', 'transfer'),
    (it, sql) => sql`DELETE FROM ledger.transfer WHERE id = ${it.paid.id}`,
  ],
  [
    'an id that is taken without a transfer',
    'transfer_follows',
    trigger('transfer_follows', 'transfer'),
    (_, sql) => sql`INSERT INTO ledger.transfer (id, at) VALUES (${randomUUID()}, now())`,
  ],
  [
    'a reversal forgotten',
    'transfer_follows',
    trigger('transfer_follows', 'transfer'),
    (_, sql) => sql`UPDATE ledger.transfer SET reversed = true`,
  ],
  ...(['UPDATE ledger.journal SET memo = 1', 'DELETE FROM ledger.journal', 'TRUNCATE ledger.journal'] as const).map(
    statement =>
      [
        `a changed journal: ${statement}`,
        'journal_is_final',
        statement.startsWith('TRUNCATE')
          ? `DO $$ DECLARE p regclass; BEGIN FOR p IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'ledger.journal'::regclass
              LOOP EXECUTE 'DROP TRIGGER journal_by_its_name ON ' || p; END LOOP; END $$; ${trigger('journal_is_final')}`
          : trigger('journal_is_final'),
        (_: Books, sql: ISql) => sql.unsafe(statement),
      ] as [string, string, string, (it: Books, sql: ISql) => Promise<unknown>],
  ),
  [
    'a row removed from a partition by its name',
    'journal_by_its_name',
    `${trigger('journal_by_its_name', 'journal_now')}`,
    (_, sql) => sql`DELETE FROM ledger.journal_now`,
  ],
  [
    'a row written to a partition by its name',
    'journal_by_its_name',
    `${trigger('journal_by_its_name', 'journal_now')}`,
    async (it, sql) => it.insert(sql, [await it.row(sql)], 'ledger.journal_now'),
  ],
  [
    'the writer’s row set back',
    'writer_goes_forward',
    trigger('writer_goes_forward', 'writer'),
    (_, sql) => sql`UPDATE ledger.writer SET batch = batch - 1`,
  ],
  [
    'a new term under which the old writer could go on',
    'writer_goes_forward',
    trigger('writer_goes_forward', 'writer'),
    (_, sql) => sql`UPDATE ledger.writer SET epoch = epoch + 1`,
  ],
  [
    'a second writer’s row',
    'writer_stays',
    `${trigger('writer_stays', 'writer')}; ${check('writer_shard', 'writer')}`,
    (_, sql) => sql`INSERT INTO ledger.writer (shard) VALUES (2)`,
  ],
  [
    'one side alone',
    'journal_moved',
    check('journal_moved'),
    async (it, sql) =>
      it.insert(sql, [
        await it.row(sql, {
          creditor_version: null,
          creditor_entries: null,
          creditor_balance: null,
          creditor_held: null,
          debtor_balance: (await it.head(sql, it.a)).balance,
          debtor_entries: (await it.head(sql, it.a)).entries,
        }),
      ]),
  ],
  [
    'the same account twice',
    'journal_sides',
    check('journal_sides'),
    async (it, sql) =>
      it.insert(sql, [
        await it.row(sql, {
          creditor: it.a,
          creditor_version: (await it.head(sql, it.a)).version + 2n,
          creditor_entries: (await it.head(sql, it.a)).entries + 2n,
          creditor_balance: (await it.head(sql, it.a)).balance,
          creditor_held: (await it.head(sql, it.a)).held,
        }),
      ]),
  ],
  [
    'a negative amount',
    'journal_amount',
    check('journal_amount'),
    async (it, sql) =>
      it.insert(sql, [
        await it.row(sql, {
          amount: -5n,
          debtor_balance: (await it.head(sql, it.a)).balance + 5n,
          creditor_balance: (await it.head(sql, it.b)).balance - 5n,
        }),
      ]),
  ],
]

t.test('refuses what the owner tries, each by the constraint that is there for it', async t => {
  const it = await books(t)
  const [now] = await it.owner.sql<
    { name: string }[]
  >`SELECT tableoid::regclass::text AS name FROM ledger.journal LIMIT 1`
  // The partition of this month, under a name that the attempts know.
  await it.owner.sql.unsafe(`ALTER TABLE ${now?.name} RENAME TO journal_now`)
  for (const [what, constraint, removal, work] of attempts) {
    t.equal(await attempt(it, sql => work(it, sql)), constraint, what)
    t.equal(
      await attempt(it, async sql => {
        await sql.unsafe(removal)
        await work(it, sql)
      }),
      'accepted',
      `${what}: nothing else refuses it`,
    )
  }
})

t.test('takes only rows that follow from what is there', async t => {
  const it = await books(t)
  const [debtor, creditor] = [await it.head(it.owner.sql, it.a), await it.head(it.owner.sql, it.b)]
  const cases: [string, Row, string][] = [
    ['a gap in the versions', { debtor_version: debtor.version + 2n }, 'entry_follows'],
    ['a fork in the versions', { creditor_version: creditor.version }, 'entry_follows'],
    ['a gap in the entries', { debtor_entries: debtor.entries + 2n }, 'entry_follows'],
    ['no entry for what was booked', { creditor_entries: creditor.entries }, 'entry_follows'],
    ['a balance that does not follow', { debtor_balance: debtor.balance - 4n }, 'entry_follows'],
    ['money made', { creditor_balance: creditor.balance + 6n }, 'entry_follows'],
    ['a hold that came along', { debtor_held: debtor.held + 1n }, 'entry_follows'],
    ['a hold at the other side', { creditor_held: creditor.held + 1n }, 'entry_follows'],
    ['another currency', { currency: 'USD' }, 'entry_follows'],
    ['an account that does not exist', { creditor: randomUUID() }, 'entry_follows'],
    [
      'more than there is',
      { amount: 5_000n, debtor_balance: debtor.balance - 5_000n, creditor_balance: creditor.balance + 5_000n },
      'entry_follows',
    ],
    [
      'what is held for somebody else',
      { amount: 900n, debtor_balance: debtor.balance - 900n, creditor_balance: creditor.balance + 900n },
      'entry_follows',
    ],
    ['an id that was used', { id: it.paid.id }, 'transfer_pkey'],
    ['an id that was used long ago, in another month', { id: it.hold.id }, 'transfer_pkey'],
    ['a batch left out', { batch: 1_000_000n }, 'journal_follows'],
    ['a batch that was there', { batch: 3n }, 'journal_follows'],
    ['a time before the last', { at: '2026-01-01T00:00:00Z' }, 'journal_follows'],
    ['a time that has not come', { at: new Date(Date.now() + 3_600_000).toISOString() }, 'journal_follows'],
    ['something reserved by a transfer', { reserved: 5n, debtor_held: debtor.held + 5n }, 'journal_reserved'],
    ['a hold that a transfer would end', { about: it.hold.id }, 'journal_about'],
    ['a fingerprint cut short', { fingerprint: '\\x00' }, 'journal_fingerprint'],
    ['a decline that moves money', { declined: 'insufficient_funds' }, 'journal_moved'],
  ]
  const one = async (sql: ISql, changes: Row) => it.insert(sql, [await it.row(sql, changes)])
  for (const [what, changes, constraint] of cases) {
    t.equal(await attempt(it, sql => one(sql, changes)), constraint, what)
    // The trigger names what it refuses as constraints do.
    const isTrigger = /^(entry|journal_follows|transfer)/.test(constraint)
    const without = async (sql: ISql) => {
      await sql.unsafe(isTrigger ? trigger('carry_forward') : check(constraint))
      await one(sql, changes)
    }
    t.equal(await attempt(it, without), 'accepted', `${what}: nothing else refuses it`)
  }
  t.equal(await attempt(it, sql => one(sql, {})), 'accepted', 'the right one passes')
})

t.test(
  'takes no row in a batch that goes below the floor on its way, or does not follow from the one before',
  async t => {
    const it = await books(t)
    const [debtor, creditor] = [await it.head(it.owner.sql, it.a), await it.head(it.owner.sql, it.b)]
    /** All of a's money to b and back again: nothing is missing in the end. */
    const there = async (sql: ISql, amount: bigint, change: Row = {}) => {
      const first = await it.row(sql, {
        ...{ amount, debtor_balance: debtor.balance - amount, creditor_balance: creditor.balance + amount },
      })
      const back = {
        ...first,
        ...{ id: randomUUID(), at: new Date(Date.now() + 5_000).toISOString(), debtor: it.b, creditor: it.a },
        ...{ debtor_version: creditor.version + 2n, debtor_entries: creditor.entries + 2n },
        ...{ debtor_balance: creditor.balance, debtor_held: creditor.held },
        ...{ creditor_version: debtor.version + 2n, creditor_entries: debtor.entries + 2n },
        ...{ creditor_balance: debtor.balance, creditor_held: debtor.held },
        ...change,
      }
      await it.insert(sql, [first, back])
    }
    t.equal(await attempt(it, sql => there(sql, 750n)), 'accepted', 'exactly what is available')
    t.equal(await attempt(it, sql => there(sql, 751n)), 'entry_follows', 'one more')
    t.equal(await attempt(it, sql => there(sql, 5n, { creditor_balance: debtor.balance + 1n })), 'entry_follows')
    t.equal(await attempt(it, sql => there(sql, 5n, { creditor_version: debtor.version + 3n })), 'entry_follows')
    t.equal(await attempt(it, sql => there(sql, 5n, { batch: 1n })), 'journal_follows', 'two batches in one statement')
  },
)

t.test('ends a hold once, and only the one that there is', async t => {
  const it = await books(t)
  const cases: [string, Row, string][] = [
    ['a hold that does not exist', { about: randomUUID() }, 'hold_ends_once'],
    ['a transfer', { about: it.paid.id }, 'hold_ends_once'],
    ['a part of it without money', { amount: 60n, reserved: -60n, debtor_held: 140n }, 'hold_ends_once'],
    ['the hold of another creditor', { creditor: it.bank }, 'hold_ends_once'],
    ['a hold without a term, as expired', { kind: 'expire' }, 'hold_ends_once'],
    ['more released than held', { reserved: -101n, debtor_held: 99n }, 'journal_reserved'],
  ]
  for (const [what, changes, constraint] of cases)
    t.equal(await attempt(it, async sql => it.insert(sql, [await it.release(sql, changes)])), constraint, what)
  const twice = async (sql: ISql) => {
    await it.insert(sql, [await it.release(sql)])
    await it.insert(sql, [await it.release(sql)])
  }
  t.equal(await attempt(it, twice), 'hold_ends_once', 'twice')
  t.equal(await attempt(it, async sql => it.insert(sql, [await it.release(sql)])), 'accepted')
})

t.test('reverses only what moved, as it moved, once', async t => {
  const it = await books(t)
  const reverse = async (sql: ISql, changes: Row = {}) => it.insert(sql, [await it.reversal(sql, changes)])
  t.equal(await attempt(it, sql => reverse(sql)), 'accepted')
  t.equal(await attempt(it, sql => reverse(sql, { about: it.hold.id })), 'transfer_reversed_once', 'a hold')
  t.equal(await attempt(it, sql => reverse(sql, { about: randomUUID() })), 'transfer_reversed_once', 'nothing')
  t.equal(
    await attempt(it, sql => it.row(sql, { kind: 'reverse', about: it.paid.id }).then(row => it.insert(sql, [row]))),
    'transfer_reversed_once',
    'the same way again',
  )
  t.equal(
    await attempt(it, async sql => {
      await reverse(sql)
      await reverse(sql)
    }),
    'transfer_reversed_once',
    'twice',
  )
})

t.test('carries forward by index on a ledger that is empty, young, or large, whatever was analysed when', async t => {
  const it = await books(t)
  /** The tables that a transfer, the end of a hold and a reversal read from end to end, in a session without a plan. */
  const readWhole = async (): Promise<string[]> => {
    const database = it.database.openAsOwner()
    const undo = new Error('undo')
    const found: string[] = []
    const scans = (sql: ISql) => sql<{ name: string; scans: bigint }[]>`
      SELECT relname AS name, seq_scan AS scans FROM pg_stat_xact_user_tables WHERE schemaname = 'ledger'`
    await database.sql
      .begin(async sql => {
        for (const next of [it.row, it.release, it.reversal]) {
          const row = await next(sql as unknown as ISql)
          const before = new Map((await scans(sql as unknown as ISql)).map(one => [one.name, one.scans]))
          await it.insert(sql as unknown as ISql, [row])
          for (const one of await scans(sql as unknown as ISql))
            if (one.scans > (before.get(one.name) ?? 0n)) found.push(`${row['kind']}: ${one.name}`)
        }
        throw undo
      })
      .catch(error => t.equal(error, undo))
    return found
  }
  const { sql } = it.owner
  t.same(await readWhole(), [], 'young, never analysed')
  await sql`ANALYZE`
  t.same(await readWhole(), [], 'analysed while it was small')
  await sql`
    INSERT INTO ledger.account (id, currency, floor) SELECT gen_random_uuid(), 'EUR', 0 FROM generate_series(1, 20000)`
  const more = startReplica(t, it.database.open().sql)
  const transfer = { kind: 'transfer', debtor: it.bank, creditor: it.b, amount: 1n, currency: 'EUR' } as const
  for (let n = 0; n < 10; n += 1)
    await Promise.all(Array.from({ length: 1_000 }, () => it.order(transfer, { on: more })))
  await more.lease.close()
  t.same(await readWhole(), [], 'large, not analysed since')
  await sql`ANALYZE`
  t.same(await readWhole(), [], 'large and analysed')
})

t.test('leaves the app’s role the journal to grow, and nothing else', async t => {
  const it = await books(t)
  const { sql } = it.database.open()
  for (const statement of [
    'UPDATE ledger.journal SET amount = 1',
    'DELETE FROM ledger.journal',
    'TRUNCATE ledger.journal',
    'UPDATE ledger.account SET balance = 1',
    'UPDATE ledger.account SET floor = -1000',
    "INSERT INTO ledger.account (id, currency, floor, balance) VALUES (gen_random_uuid(), 'EUR', 0, 1)",
    'DELETE FROM ledger.account',
    'INSERT INTO ledger.hold SELECT * FROM ledger.hold',
    'DELETE FROM ledger.hold',
    'DELETE FROM ledger.transfer',
    'UPDATE ledger.writer SET last = now()',
    'DELETE FROM ledger.writer',
    'ALTER TABLE ledger.journal DISABLE TRIGGER ALL',
    'DROP TRIGGER carry_forward ON ledger.journal',
    'SELECT ledger.carry_forward()',
  ])
    t.match(await sql.unsafe(statement).catch(error => error), { code: '42501' }, statement)
  const definers = await it.owner.sql<{ proname: string; proconfig: string[] | null }[]>`
    SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace AND prosecdef`
  for (const { proname, proconfig } of definers)
    t.ok(proconfig?.includes('search_path=""'), `${proname} has a fixed search path`)
})
