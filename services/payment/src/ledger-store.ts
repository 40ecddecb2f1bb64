import { type Currency, money, type SignedMoney } from '@banking/contracts'
import type { Database } from '@banking/db'
import { and, asc, desc, eq, gte, lt, type SQL, sql } from 'drizzle-orm'
import { alias } from 'drizzle-orm/pg-core'
import { accounts, payments, postings, transfers } from './tables.ts'

export type LedgerStore = ReturnType<typeof createLedgerStore>

/** Which postings of an account; all bounds are optional but the limit. */
export type PostingQuery = { before?: bigint; from?: Date; to?: Date; limit: number }

const accountColumns = {
  id: accounts.id,
  name: accounts.name,
  kind: accounts.kind,
  iban: accounts.iban,
  currency: accounts.currency,
  posted: accounts.posted,
  held: accounts.held,
  floor: accounts.floor,
  status: accounts.status,
}

/** Accounts and postings, read only: the ledger is written by the SQL functions alone. */
export function createLedgerStore({ drizzle }: Pick<Database, 'drizzle'>) {
  const owned = eq(accounts.ownerId, sql.placeholder('owner'))
  const accountsOfOwner = drizzle
    .select(accountColumns)
    .from(accounts)
    .where(owned)
    .orderBy(asc(accounts.kind), asc(accounts.openedAt), asc(accounts.id))
    .prepare('accounts_of')
  const accountOfOwner = drizzle
    .select(accountColumns)
    .from(accounts)
    .where(and(eq(accounts.id, sql.placeholder('id')), owned))
    .prepare('account_of')

  return {
    accountsOf: async (owner: string) => (await accountsOfOwner.execute({ owner })).map(toAccount),

    /** An account, if it is this person's. */
    account: async (id: string, owner: string) => (await accountOfOwner.execute({ id, owner })).map(toAccount)[0],

    /** Newest first, one more than asked for when there is more. */
    postingsOf: async (accountId: string, currency: Currency, query: PostingQuery) => {
      const other = alias(accounts, 'other')
      const isDebit = sql`${postings.amount} < 0`
      const bounds: SQL[] = [eq(postings.accountId, accountId)]
      if (query.before !== undefined) bounds.push(lt(postings.seq, query.before))
      if (query.from !== undefined) bounds.push(gte(postings.at, query.from))
      if (query.to !== undefined) bounds.push(lt(postings.at, query.to))
      const rows = await drizzle
        .select({
          seq: postings.seq,
          paymentId: transfers.paymentId,
          transferId: postings.transferId,
          at: postings.at,
          amount: postings.amount,
          balanceAfter: postings.balanceAfter,
          // The payer wrote the payee's name; the payee sees whose account the money came from.
          counterparty: sql<string>`coalesce(CASE WHEN ${isDebit} THEN ${payments.creditorName} END,
            ${transfers.counterparty}, ${other.holder})`,
          ibanMasked: sql<string>`mask_iban(${other.iban})`,
          reference: sql<string>`coalesce(${payments.reference}, ${transfers.reference}, '')`,
          // Holds and their ends move no money: they have no postings.
          kind: sql<'payment' | 'opening' | 'external'>`${transfers.kind}`,
        })
        .from(postings)
        .innerJoin(transfers, eq(transfers.id, postings.transferId))
        .innerJoin(
          other,
          eq(other.id, sql`CASE WHEN ${isDebit} THEN ${transfers.creditorId} ELSE ${transfers.debtorId} END`),
        )
        .leftJoin(payments, eq(payments.id, transfers.paymentId))
        .where(and(...bounds))
        .orderBy(desc(postings.seq))
        .limit(query.limit + 1)
      return rows.map(({ amount, balanceAfter, ibanMasked, counterparty, paymentId, seq, at, ...row }) => ({
        ...row,
        seq: Number(seq),
        at: at.toISOString(),
        amount: money(amount, currency) as SignedMoney,
        balanceAfter: money(balanceAfter ?? 0n, currency) as SignedMoney,
        counterparty: { name: counterparty, ibanMasked },
        ...(paymentId === null ? {} : { paymentId }),
      }))
    },

    /** The sum of all postings per currency, which double entry keeps at zero. */
    trialBalance: async () => {
      const rows = await drizzle
        .select({
          currency: accounts.currency,
          sum: sql<string>`coalesce(sum(${postings.amount}), 0)::text`,
          accounts: sql<string>`count(DISTINCT ${accounts.id})`,
          postings: sql<string>`count(${postings.transferId})`,
        })
        .from(accounts)
        .leftJoin(postings, eq(postings.accountId, accounts.id))
        .groupBy(accounts.currency)
        .orderBy(asc(accounts.currency))
      const currencies = rows.map(row => ({
        ...row,
        accounts: Number(row.accounts),
        postings: Number(row.postings),
      }))
      return { currencies, balanced: currencies.every(({ sum }) => sum === '0') }
    },
  }
}

type AccountRow = Pick<typeof accounts.$inferSelect, keyof typeof accountColumns>

function toAccount({ posted, held, floor, kind, ...row }: AccountRow) {
  return {
    ...row,
    // A person owns no system account: the database refuses it.
    kind: kind as Exclude<typeof kind, 'system'>,
    posted: money(posted, row.currency) as SignedMoney,
    held: money(held, row.currency),
    available: money(posted - held - floor, row.currency),
  }
}
