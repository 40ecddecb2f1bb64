import { money, type ProblemCode, problem } from '@banking/contracts'
import { asDatabaseProblem, type Database } from '@banking/db'
import { formatTraceparent, type Metrics, type Trace } from '@banking/telemetry'
import { and, eq, sql as fragment } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { createBatches, type Failure } from './batches.ts'
import type { Decision, Order, Payment } from './payment.ts'
import { accounts, payments } from './tables.ts'

/** One request to pay, as it enters the database. */
export type Placement = {
  /** `sub` of the person who asks: must own the debtor account. */
  subject: string
  key: string
  fingerprint: Buffer
  order: Order
  decision: Decision
  trace: Trace
  correlationId: string
}

/** What to send: the same bytes at every repetition. */
export type Answer = { status: number; body: string; replayed: boolean }

export type PaymentStore = ReturnType<typeof createPaymentStore>

/** Scope of the keys; one per operation that takes them. */
const route = 'POST /api/payments'

/** The two refusals that are booked: their problem documents, open at the end for the payment's id. */
const declines = (['insufficient_funds', 'account_frozen'] as const).map(code =>
  JSON.stringify(problem(code).toDocument()).slice(0, -1),
)

type Row = { item: number; outcome: string; answer_status: number | null; answer: string | null }

/** Types of array parameters, by their object ids in PostgreSQL. */
const arrays = { uuid: 2951, text: 1009, bytea: 1001, bigint: 1016 }

/**
 * Payments: placed, read, cancelled. Money moves in the SQL function alone (`migrations/0002_posting.sql`).
 *
 * @param onEvents called after each commit that wrote events into the outbox
 */
export function createPaymentStore(
  { sql, drizzle }: Pick<Database, 'sql' | 'drizzle'>,
  metrics: Metrics,
  onEvents: () => void,
) {
  const outcomes = metrics.counter('payments_total', 'Payment orders by what became of them.', ['outcome'])
  const retries = metrics.counter('payment_retries_total', 'Calls repeated after a lost race.')
  const calls = metrics.counter('payment_batches_total', 'Calls of the posting function, each for a batch of orders.')

  const run = async (items: readonly Placement[]): Promise<Row[]> => {
    calls.inc()
    const column = (type: keyof typeof arrays, value: (item: Placement) => unknown) =>
      sql.array(items.map(value) as string[], arrays[type])
    const rows = await sql<Row[]>`
      SELECT item, outcome, answer_status, answer FROM post_payments(
        ${route}, 'payment', NULL, ${sql.array(declines, arrays.text)},
        ${column('uuid', () => uuidv7())}, ${column('uuid', () => uuidv7())}, ${column('uuid', () => uuidv7())},
        ${column('text', item => item.subject)}, ${column('text', item => item.key)},
        ${column('bytea', item => item.fingerprint)},
        ${column('uuid', item => item.order.debtorAccountId)}, ${column('uuid', item => item.order.creditor.accountId)},
        ${column('text', item => item.order.creditor.iban)}, ${column('text', item => item.order.creditor.name)},
        ${column('bigint', item => item.order.amount.toString())}, ${column('text', item => item.order.currency)},
        ${column('text', item => item.order.reference)}, ${column('text', item => reasonsOf(item.decision))},
        ${column('text', item => formatTraceparent(item.trace))}, ${column('text', item => item.correlationId)})`
    const ordered = new Array<Row>(items.length)
    for (const row of rows) ordered[row.item - 1] = row
    onEvents()
    return ordered
  }
  const batches = createBatches({ run, classify, onRetry: () => retries.inc() })

  const post = async (placement: Placement): Promise<Answer> => {
    try {
      const { outcome, answer_status: status, answer: body } = await batches.submit(placement)
      outcomes.inc({ outcome })
      if (status !== null && body !== null) return { status, body, replayed: outcome === 'replay' }
      throw problem(outcome as ProblemCode)
    } catch (error) {
      if (isKeyInFlight(error)) throw problem('key_in_flight', undefined, { headers: { 'retry-after': '1' } })
      throw asDatabaseProblem(error) ?? error
    }
  }

  /** Orders of this process that are under way, by person and key. */
  const underWay = new Map<string, { fingerprint: Buffer; answer: Promise<Answer> }>()

  const findRow = drizzle
    .select({
      id: payments.id,
      state: payments.state,
      debtorAccountId: payments.debtorId,
      creditorName: payments.creditorName,
      ibanMasked: fragment<string>`mask_iban((SELECT iban FROM account WHERE id = ${payments.creditorId}))`,
      amount: payments.amount,
      currency: payments.currency,
      reference: payments.reference,
      createdAt: payments.createdAt,
      reasons: payments.reasons,
      transferId: payments.transferId,
    })
    .from(payments)
    .innerJoin(accounts, eq(accounts.id, payments.debtorId))
    .where(and(eq(payments.id, fragment.placeholder('id')), eq(accounts.ownerId, fragment.placeholder('owner'))))
    .prepare('payment_of')

  const find = async (id: string, owner: string): Promise<Payment | undefined> => {
    const [row] = await findRow.execute({ id, owner })
    if (row === undefined) return undefined
    return {
      id: row.id,
      state: row.state,
      debtorAccountId: row.debtorAccountId,
      creditor: { name: row.creditorName, ibanMasked: row.ibanMasked },
      amount: money(row.amount, row.currency),
      reference: row.reference,
      createdAt: row.createdAt.toISOString(),
      ...(row.state === 'posted' && row.transferId !== null ? { transferId: row.transferId } : {}),
      ...(row.reasons === null ? {} : { reasons: row.reasons }),
    }
  }

  return {
    /**
     * Moves the money, holds it or declines, once per person and key; repetitions get the first answer.
     *
     * @throws Problem `not_found` (the debtor account is not the person's), `creditor_unknown`, `same_account`,
     * `currency_mismatch`, `key_reused`, `key_in_flight`; none of these leaves a trace
     */
    place: async (placement: Placement): Promise<Answer> => {
      const slot = `${placement.subject}\n${placement.key}`
      // The same key twice in this process: the later one waits and shares the answer.
      for (let first = underWay.get(slot); first !== undefined; first = underWay.get(slot)) {
        if (first.fingerprint.equals(placement.fingerprint)) return { ...(await first.answer), replayed: true }
        await first.answer.catch(() => {})
      }
      const answer = post(placement)
      underWay.set(slot, { fingerprint: placement.fingerprint, answer })
      try {
        return await answer
      } finally {
        underWay.delete(slot)
      }
    },

    /** A payment that this person ordered. */
    find,

    /**
     * Gives the money of a held payment back, once.
     *
     * @throws Problem `not_found` or `already_resolved`
     */
    cancel: async (id: string, owner: string, trace: Trace, correlationId: string): Promise<Payment> => {
      const [row] = await sql<{ outcome: string }[]>`
        SELECT cancel_payment(${id}, ${owner}, ${uuidv7()}, ${uuidv7()}, ${formatTraceparent(trace)}, ${correlationId})
          AS outcome`
      if (row?.outcome === 'already_resolved') throw problem('already_resolved')
      const payment = row?.outcome === 'cancelled' ? await find(id, owner) : undefined
      if (payment === undefined) throw problem('not_found')
      onEvents()
      outcomes.inc({ outcome: 'cancelled' })
      return payment
    },

    /** Forgets keys older than seven days. */
    forgetKeys: async (): Promise<void> => {
      await sql`SELECT forget_idempotency_keys()`
    },
  }
}

/** A hold's reasons as PostgreSQL writes an array; null for a payment that goes through. */
const reasonsOf = (decision: Decision): string | null =>
  decision.outcome === 'hold' ? `{${decision.reasons.join()}}` : null

/** The first request with a key has not finished within the lock's time limit: PostgreSQL says where it waited. */
const isKeyInFlight = (error: unknown): boolean =>
  codeOf(error) === lockTimeout && /INSERT INTO idempotency_key/.test(String((error as { where?: unknown }).where))

const lockTimeout = '55P03'
const races = new Set([
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '23505', // unique_violation
])

function classify(error: unknown): Failure {
  const code = codeOf(error)
  if (code !== undefined && races.has(code)) return 'retry'
  // A lock that was not had in time failed one statement; anything else of this kind fails the next call too.
  if (code !== lockTimeout && asDatabaseProblem(error) !== undefined) return 'unavailable'
  return 'refused'
}

const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error ? String(error.code) : undefined
