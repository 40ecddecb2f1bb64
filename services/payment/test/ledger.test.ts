import { randomUUID } from 'node:crypto'
import t from 'tap'
import { book, settlementAccountId } from '../src/bookkeeping.ts'
import { bank, type Test } from './app.ts'

const [alice, bob] = ['a11ce000-0000-4000-8000-00000000000a', 'b0b00000-0000-4000-8000-00000000000b']

async function ledger(t: Test) {
  const it = await bank(t)
  const from = await it.open(alice, 1_000n)
  const to = await it.open(bob, 1_000n)
  await it.pay({ from, to, amount: 10n })
  return { ...it, from, to, app: it.database.open().sql, owner: it.owner.sql, audit: it.audit }
}

const refusal = (statement: PromiseLike<unknown>): Promise<{ code?: string; constraint_name?: string }> =>
  Promise.resolve(statement).then(
    () => ({ code: 'accepted' }),
    error => error,
  )

t.test('leaves the app’s role no way around the functions', async t => {
  const { app, from } = await ledger(t)
  const denied = [
    'UPDATE posting SET amount = 1',
    'DELETE FROM posting',
    'TRUNCATE posting',
    'INSERT INTO posting SELECT * FROM posting LIMIT 1',
    'UPDATE transfer SET amount = 1',
    'DELETE FROM transfer',
    'TRUNCATE transfer CASCADE',
    'INSERT INTO transfer SELECT * FROM transfer LIMIT 1',
    "UPDATE payment SET state = 'posted'",
    'DELETE FROM payment',
    'INSERT INTO payment SELECT * FROM payment LIMIT 1',
    'UPDATE account SET posted = posted + 1',
    'UPDATE account SET floor = -1000000',
    "UPDATE account SET status = 'active'",
    'DELETE FROM account',
    'SELECT 1 FROM account FOR UPDATE',
    'SELECT * FROM idempotency_key',
    'DELETE FROM idempotency_key',
    `INSERT INTO outbox (id, topic, key, event) VALUES (gen_random_uuid(), 'banking.payment', 'x', '{}')`,
    'UPDATE outbox SET event = event',
    'CREATE TABLE mine (x int)',
    'ALTER TABLE posting DISABLE TRIGGER ALL',
    'DROP FUNCTION post_payments',
    'SET session_replication_role = replica',
    ...["'opening', now()", "'external', NULL", 'NULL, NULL', "'payment', now()"].map(
      kindAndDate => `SELECT post_payments('x', ${kindAndDate}${', NULL'.repeat(17)})`,
    ),
  ]
  for (const statement of denied) t.match(await refusal(app.unsafe(statement)), { code: '42501' }, statement)
  await t.rejects(
    book(app, {
      id: randomUUID(),
      kind: 'external',
      at: new Date(),
      debtorId: settlementAccountId,
      creditorId: from.id,
      name: 'me',
      amount: 1_000_000n,
      currency: 'EUR',
      reference: '',
    }),
    { code: '42501' },
    'money from outside',
  )
})

t.test('never changes what was booked, not even for the owner', async t => {
  const { owner } = await ledger(t)
  for (const statement of [
    'UPDATE posting SET amount = 1',
    'DELETE FROM posting',
    'TRUNCATE posting',
    'UPDATE transfer SET amount = 1',
    'DELETE FROM transfer',
    'DELETE FROM account',
    'DELETE FROM payment',
    "UPDATE account SET currency = 'USD'",
    "UPDATE account SET owner_id = 'mallory'",
    'UPDATE payment SET amount = 1',
    "UPDATE payment SET answer = '{}'",
    'UPDATE account SET posted = posted + 1',
  ])
    t.match(await refusal(owner.unsafe(statement)), { code: '23000' }, statement)
})

t.test('takes only postings that balance, fit and leave no gap', async t => {
  const { owner, from, to, open } = await ledger(t)
  const third = randomUUID()
  const [accounts] = await owner<{ debit: bigint; credit: bigint; debits: bigint; credits: bigint }[]>`
    SELECT a.posted AS debit, a.entries AS debits, b.posted AS credit, b.entries AS credits
    FROM account a, account b WHERE a.id = ${from.id} AND b.id = ${to.id}`
  if (accounts === undefined) throw new Error('no accounts')
  const { debit, debits, credit, credits } = accounts
  type Side = { account: string; amount: bigint; seq: bigint | null; balance: bigint | null }
  const good: [Side, Side] = [
    { account: from.id, amount: -5n, seq: debits + 1n, balance: debit - 5n },
    { account: to.id, amount: 5n, seq: credits + 1n, balance: credit + 5n },
  ]
  const insert = (sides: readonly Side[], { transfer = true, creditor = to.id } = {}) =>
    owner.begin(async sql => {
      const id = randomUUID()
      if (transfer)
        await sql`INSERT INTO transfer (id, kind, payment_id, debtor_id, creditor_id, amount, currency, at)
          VALUES (${id}, 'payment', ${randomUUID()}, ${from.id}, ${creditor}, 5, 'EUR', now())`
      for (const { account, seq, balance } of sides)
        if (balance !== null && seq !== null)
          await sql`UPDATE account SET posted = ${balance}, entries = ${seq} WHERE id = ${account} AND kind <> 'system'
            AND entries < ${seq}`
      await sql`INSERT INTO posting (transfer_id, account_id, amount, seq, balance_after, at)
        SELECT ${id}, s.account, s.amount, s.seq, s.balance, now()
        FROM unnest(${sides.map(side => side.account)}::uuid[], ${sides.map(side => String(side.amount))}::bigint[],
          ${sides.map(side => side.seq?.toString() ?? null)}::bigint[],
          ${sides.map(side => side.balance?.toString() ?? null)}::bigint[]) AS s(account, amount, seq, balance)`
    })
  const [one, two] = good
  const cases: [string, readonly Side[], string][] = [
    ['one side alone', [one], 'posting_balanced'],
    ['sides that differ', [one, { ...two, amount: 6n, balance: credit + 6n }], 'posting_balanced'],
    ['an account that does not exist', [one, { ...two, account: third }], 'posting_fits'],
    ['another account than the transfer’s', [one, { ...two, account: settlementAccountId }], 'posting_fits'],
    [
      'sides the other way round',
      [
        { ...one, amount: 5n, balance: debit + 5n },
        { ...two, amount: -5n, balance: credit - 5n },
      ],
      'posting_fits',
    ],
    ['a gap', [{ ...one, seq: debits + 2n }, two], 'posting_fits'],
    ['a wrong running balance', [{ ...one, balance: debit - 4n }, two], 'posting_fits'],
    ['no place in the chain', [{ ...one, seq: null, balance: null }, two], 'posting_fits'],
    ['nothing moved', [{ ...one, amount: 0n }, two], 'posting_amount'],
  ]
  for (const [what, sides, constraint] of cases)
    t.match(await refusal(insert(sides)), { code: '23514', constraint_name: constraint }, what)
  const fresh = await open('carol', 0n)
  const second = { account: fresh.id, amount: 5n, seq: 2n, balance: 5n }
  t.match(await refusal(insert([one, second], { creditor: fresh.id })), { constraint_name: 'posting_fits' }, 'no first')
  t.match(await refusal(insert(good, { transfer: false })), { constraint_name: 'posting_fits' }, 'without a transfer')
  t.equal((await refusal(insert(good))).code, 'accepted', 'the right ones pass')
})

t.test('never lets an account below its floor', async t => {
  const { owner, from } = await ledger(t)
  const overdrawn = owner`UPDATE account SET held = held + 991 WHERE id = ${from.id}`
  t.match(await refusal(overdrawn), { code: '23514', constraint_name: 'account_funds' })
  const negative = owner`UPDATE account SET held = -1 WHERE id = ${from.id}`
  t.match(await refusal(negative), { code: '23514', constraint_name: 'account_held' })
})

t.test('resolves a hold once', async t => {
  const it = await bank(t)
  const from = await it.open(alice, 2_000_000n)
  const to = await it.open(bob, 0n)
  const { id } = (await it.pay({ from, to, amount: 1_500_000n })).json()
  await it.post(`/${id}/cancel`, alice)
  const again = it.owner.sql`
    INSERT INTO transfer (id, kind, pending_id, payment_id, debtor_id, creditor_id, amount, currency, at)
    SELECT gen_random_uuid(), kind, pending_id, payment_id, debtor_id, creditor_id, amount, currency, at
    FROM transfer WHERE kind = 'void'`
  t.match(await refusal(again), { code: '23505', constraint_name: 'transfer_resolution' })
})

t.test('keeps functions and search path out of a caller’s hands', async t => {
  const { owner } = await ledger(t)
  const functions = await owner<{ name: string; definer: boolean; config: string[] | null; open: boolean }[]>`
    SELECT proname AS name, prosecdef AS definer, proconfig AS config,
      has_function_privilege('payment', oid, 'EXECUTE') AS open
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace`
  t.same(
    functions
      .filter(({ open }) => open)
      .map(({ name }) => name)
      .sort(),
    ['cancel_payment', 'forget_idempotency_keys', 'mask_iban', 'post_payments'],
  )
  for (const { name, definer, config } of functions.filter(one => one.definer))
    t.ok(definer && config?.includes('search_path=public, pg_temp'), `${name} has a fixed search path`)
})
