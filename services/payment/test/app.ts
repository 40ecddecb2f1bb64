import { randomUUID } from 'node:crypto'
import type { Currency } from '@banking/contracts'
import { openDatabase } from '@banking/db'
import { createMetrics } from '@banking/telemetry'
import { type TestDatabase, type TestIssuer, testDatabase, testIssuer, testLogger } from '@banking/testkit'
import type { Test } from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { buildApp } from '../src/app.ts'
import { book, openAccount, settlementAccountId } from '../src/bookkeeping.ts'
import { createLedgerStore } from '../src/ledger-store.ts'
import { holdAbove } from '../src/payment.ts'
import { createPaymentStore } from '../src/payment-store.ts'

export type { Test } from 'tap'

type TokenClaims = Parameters<TestIssuer['token']>[0]
export type TestAccount = { id: string; ownerId: string; iban: string; currency: Currency }
export type Bank = Awaited<ReturnType<typeof bank>>

/** A bank on a database of its own: apps as in production, people with accounts, and a look behind the scenes. */
export async function bank(t: Test) {
  const database = await testDatabase(t, 'payment')
  const identity = await testIssuer(t)
  const owner = database.openAsOwner()
  const start = (url?: string) => startApp(t, database, identity, url)
  const { app, payments, lines, woken } = await start()
  const as = async (sub: string, more: Partial<TokenClaims> = {}) => ({
    authorization: `Bearer ${await identity.token({ service: 'payment', sub, ...more })}`,
  })
  let accounts = 0
  const open = async (ownerId: string, balance: bigint, more: Partial<Pick<TestAccount, 'currency'>> = {}) => {
    accounts += 1
    const account = {
      id: randomUUID(),
      ownerId,
      holder: `Holder ${accounts}`,
      name: 'Current account',
      kind: 'current' as const,
      iban: germanIban(accounts),
      currency: 'EUR' as Currency,
      ...more,
    }
    await openAccount(owner.sql, account)
    const { id, currency } = account
    if (balance > 0n)
      await book(owner.sql, {
        id: uuidv7(),
        kind: 'opening',
        at: new Date(Date.now() - 60_000),
        debtorId: settlementAccountId,
        creditorId: id,
        name: 'Opening balance',
        amount: balance,
        currency,
        reference: '',
      })
    return account
  }

  /** Events that wait in the outbox, oldest first. */
  const events = () =>
    owner.sql<{ event: EventRow; key: string; topic: string }[]>`SELECT event, key, topic FROM outbox ORDER BY position`

  return {
    app,
    payments,
    lines,
    /** How often the store said that there are events to publish. */
    woken,
    database,
    identity,
    owner,
    as,
    open,
    /** Another replica on the same database. */
    start,
    get: async (path: string, sub: string, more: Partial<TokenClaims> = {}, on = app) =>
      on.inject({ url: `/api/payments${path}`, headers: await as(sub, more) }),
    pay: async (
      order: Order,
      { key = randomUUID(), on = app, headers = {} }: { key?: string; on?: typeof app; headers?: object } = {},
    ) =>
      on.inject({
        method: 'POST',
        url: '/api/payments',
        headers: { ...(await as(order.from.ownerId)), 'idempotency-key': key, ...headers },
        payload: bodyOf(order),
      }),
    post: async (path: string, sub: string, payload?: object, headers: object = {}) =>
      app.inject({
        method: 'POST',
        url: `/api/payments${path}`,
        headers: { ...(await as(sub)), ...headers },
        ...(payload === undefined ? {} : { payload }),
      }),
    /** What the account's row says. */
    account: async (id: string) => {
      const [row] = await owner.sql<{ posted: bigint; held: bigint; version: bigint; entries: bigint }[]>`
        SELECT posted, held, version, entries FROM account WHERE id = ${id}`
      if (row === undefined) throw new Error(`no account ${id}`)
      return row
    },
    freeze: (id: string) => owner.sql`UPDATE account SET status = 'frozen' WHERE id = ${id}`,
    events,
    onlyEvent: async () => {
      const [event, ...others] = await events()
      if (event === undefined || others.length > 0) throw new Error(`not one event but ${others.length}`)
      return event
    },
    count: async (table: 'payment' | 'transfer' | 'posting' | 'outbox' | 'idempotency_key') => {
      const [row] = await owner.sql<{ n: number }[]>`SELECT count(*)::int AS n FROM ${owner.sql(table)}`
      return row?.n ?? 0
    },
    /** Asserts that the books are in order: nothing made, nothing lost, every chain of postings whole. */
    audit: async (total: bigint) => {
      const [sums] = await owner.sql<{ booked: string; customers: string; lowest: bigint; held: string }[]>`
        SELECT (SELECT coalesce(sum(amount), 0) FROM posting)::text AS booked, sum(posted)::text AS customers,
          min(posted - held - floor) AS lowest, sum(held)::text AS held
        FROM account WHERE kind <> 'system'`
      t.equal(sums?.booked, '0', 'all postings sum to zero')
      t.equal(sums?.customers, total.toString(), 'no money was made or lost')
      t.ok((sums?.lowest ?? -1n) >= 0n, 'nobody is below the floor')
      const broken = await owner.sql`
        SELECT id FROM account a LEFT JOIN LATERAL (
          SELECT count(*) AS n, max(seq) AS last, sum(amount) AS sum,
            bool_and(balance_after = running) AS runs
          FROM (SELECT *, sum(amount) OVER (ORDER BY seq) AS running FROM posting WHERE account_id = a.id) p
        ) p ON true
        WHERE a.kind <> 'system' AND a.entries > 0
          AND (p.n <> a.entries OR p.last <> a.entries OR p.sum <> a.posted OR NOT p.runs)`
      t.same([...broken], [], 'every running balance adds up without a gap')
      const holds = await owner.sql`
        SELECT a.id FROM account a LEFT JOIN transfer h ON h.debtor_id = a.id AND h.kind = 'hold'
          AND NOT EXISTS (SELECT FROM transfer r WHERE r.pending_id = h.id)
        GROUP BY a.id HAVING a.held <> coalesce(sum(h.amount), 0)`
      t.same([...holds], [], 'what is held is what pending transfers hold')
    },
  }
}

type EventRow = { type: string; seq: number; subject: string; traceparent: string; correlationid: string; data: object }
export type Order = { from: TestAccount; to: TestAccount; amount: bigint | string; reference?: string }

export const bodyOf = ({ from, to, amount, reference = 'Lunch' }: Order) => ({
  debtorAccountId: from.id,
  creditor: { name: 'Bob Example', iban: to.iban },
  amount: { amount: amount.toString(), currency: from.currency },
  reference,
})

async function startApp(t: Test, database: TestDatabase, identity: TestIssuer, url = database.url) {
  const pool = openDatabase({ url, name: 'payment' })
  t.teardown(() => pool.close())
  const { logger, lines } = testLogger()
  const metrics = createMetrics('payment')
  const woken = { times: 0 }
  const payments = createPaymentStore(pool, metrics, () => {
    woken.times += 1
  })
  const app = await buildApp({
    issuer: identity.issuer,
    ledger: createLedgerStore(pool),
    payments,
    decide: holdAbove(1_000_000n),
    logger,
    metrics,
  })
  t.teardown(() => app.close())
  return { app, payments, pool, lines, woken }
}

/** A German IBAN with valid check digits for an account number. */
export function germanIban(account: number): string {
  const bban = `99977788${String(account).padStart(10, '0')}`
  return `DE${String(98n - (BigInt(`${bban}131400`) % 97n)).padStart(2, '0')}${bban}`
}
