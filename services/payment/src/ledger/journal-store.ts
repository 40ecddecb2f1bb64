import type { Database } from '@banking/db'
import postgres from 'postgres'
import type { Account, Hold, Original } from './decide.ts'
import type { Entry, Head } from './operation.ts'

/** The right to write, as the writer's row gives it. */
export type Term = {
  epoch: number
  /** Of the last batch in the journal; the next one counts one more. */
  batch: number
  /** µs since 1970: of the last entry, and of the database's clock. */
  last: number
  now: number
}

export type JournalStore = ReturnType<typeof openJournal>

type Sql = Database['sql']

/** Exactly, which a double of seconds would not be. */
const microseconds = (column: string): string => `(extract(epoch FROM ${column}) * 1000000)::bigint`

const append = `
  INSERT INTO ledger.journal (at, batch, id, kind, declined, debtor, creditor, amount, reserved, currency,
    debtor_version, debtor_entries, debtor_balance, debtor_held,
    creditor_version, creditor_entries, creditor_balance, creditor_held,
    expires_at, about, group_id, fingerprint, memo)
  SELECT timestamptz 'epoch' + u.at * interval '1 microsecond', $1, u.id, u.kind, u.declined, u.debtor, u.creditor, u.amount,
    u.reserved, u.currency, u.dv, u.de, u.db, u.dh, u.cv, u.ce, u.cb, u.ch, u.expires_at, u.about, u.group_id, u.fingerprint, u.memo
  FROM unnest($2::bigint[], $3::uuid[], $4::ledger.kind[], $5::ledger.decline[], $6::uuid[], $7::uuid[], $8::bigint[], $9::bigint[],
    $10::text[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[],
    $18::bigint[], $19::timestamptz[], $20::uuid[], $21::uuid[], $22::bytea[], $23::text[])
    AS u(at, id, kind, declined, debtor, creditor, amount, reserved, currency, dv, de, db, dh, cv, ce, cb, ch, expires_at,
      about, group_id, fingerprint, memo)`

const entryColumns = `
  ${microseconds('j.at')} AS at, j.id, j.kind::text, j.declined::text, j.debtor, j.creditor, j.amount, j.reserved, j.currency,
  j.debtor_version, j.debtor_entries, j.debtor_balance, j.debtor_held,
  j.creditor_version, j.creditor_entries, j.creditor_balance, j.creditor_held,
  j.expires_at, j.about, j.group_id, encode(j.fingerprint, 'hex') AS fingerprint, j.memo`

/** In the order of the parameters above, from the second on. */
const columns: readonly ((entry: Entry) => string)[] = [
  entry => String(entry.at),
  entry => entry.id,
  entry => entry.kind,
  entry => entry.declined ?? 'NULL',
  entry => entry.debtor,
  entry => entry.creditor ?? 'NULL',
  entry => entry.amount.toString(),
  entry => entry.reserved.toString(),
  entry => entry.currency,
  entry => String(entry.debtorHead.version),
  entry => String(entry.debtorHead.entries),
  entry => entry.debtorHead.balance.toString(),
  entry => entry.debtorHead.held.toString(),
  entry => (entry.creditorHead === null ? 'NULL' : String(entry.creditorHead.version)),
  entry => (entry.creditorHead === null ? 'NULL' : String(entry.creditorHead.entries)),
  entry => (entry.creditorHead === null ? 'NULL' : entry.creditorHead.balance.toString()),
  entry => (entry.creditorHead === null ? 'NULL' : entry.creditorHead.held.toString()),
  entry => (entry.expiresAt === null ? 'NULL' : `"${entry.expiresAt.toISOString()}"`),
  entry => entry.about ?? 'NULL',
  entry => entry.groupId ?? 'NULL',
  entry => `"\\\\x${entry.fingerprint}"`,
  entry => `"${entry.memo.replace(/[\\"]/g, '\\$&')}"`,
]

/** Array literals: nothing in them needs quotes but texts, times and bytes. */
const literals = (entries: readonly Entry[]): string[] => columns.map(column => `{${entries.map(column).join()}}`)

/** What an order names, as far as the database has it. */
export type Found = {
  accounts: Map<string, Account>
  holds: Map<string, Hold>
  originals: Map<string, Original>
  /** Entries that stand under the ids asked for. */
  entries: Entry[]
}

/**
 * The journal in the database: a connection to write, which executes in order what it was sent, and one to read.
 *
 * @param options.sql a pool of the service, whose address and settings they take
 * @param options.deadline ms after which a statement's outcome is unknown
 */
export function openJournal(options: { sql: Sql; deadline?: number }) {
  const { sql, deadline = 3_000 } = options
  const reading = connect(sql, 'ledger reader')
  let session: Sql | undefined

  /** A statement on the writing connection. */
  const write = async <Row extends object>(text: string, values: (string | number)[]): Promise<Row[]> => {
    session ??= connect(sql, 'ledger writer')
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), deadline)
    try {
      return await Promise.race([
        session.unsafe<Row[]>(text, values, { prepare: true }) as Promise<Row[]>,
        new Promise<never>((_, reject) => {
          late.signal.onabort = () => reject(new UnknownOutcome(`no answer within ${deadline} ms`))
        }),
      ])
    } finally {
      clearTimeout(timer)
    }
  }

  /** Changes the writer's row where it still is as said. */
  const claim = async (changes: string, condition: string, values: (string | number)[]): Promise<Term | undefined> => {
    const [row] = await write<TermRow>(
      `UPDATE ledger.writer SET ${changes} WHERE shard = 1 AND ${condition}
       RETURNING epoch, batch, CASE WHEN isfinite(last) THEN ${microseconds('last')} ELSE 0 END AS last,
         ${microseconds('clock_timestamp()')} AS now`,
      values,
    )
    if (row === undefined) return undefined
    const { epoch, batch, last, now } = row
    return { epoch: Number(epoch), batch: Number(batch), last: Number(last), now: Number(now) }
  }
  const nextTerm = 'epoch = epoch + 1, batch = batch + 1'
  const until = "until = clock_timestamp() + $2 * interval '1 millisecond'"

  /** Nearly always there are none: only what is known to be there is looked for in the months of the journal. */
  const entriesOf = async (ids: string[]): Promise<Entry[]> => {
    const known = await read<{ id: string }>(reading, 'SELECT t.id FROM ledger.transfer t', 't.id', ids)
    const rows = await read<EntryRow>(
      reading,
      `SELECT ${entryColumns} FROM ledger.transfer t JOIN ledger.journal j ON j.at = t.at`,
      't.id',
      known.map(({ id }) => id),
    )
    return rows.map(toEntry)
  }

  return {
    /** Appends entries in one statement, which fails whole when one of them does not follow from what is there. */
    append: async (batch: number, entries: readonly Entry[]): Promise<void> => {
      await write(append, [batch, ...literals(entries)])
    },

    /**
     * Begins a term, unless somebody else's claim still holds.
     *
     * @param holder where the writer can be asked
     * @param ttl for how many ms nobody else tries
     */
    acquire: (holder: string, ttl: number) =>
      claim(`holder = $1, ${nextTerm}, ${until}`, '(until <= clock_timestamp() OR holder = $1)', [holder, ttl]),

    /** Begins another term after one whose last batches are in doubt: what is still under way cannot follow any more. */
    retake: (epoch: number, ttl: number) => claim(`${nextTerm}, ${until}`, 'epoch = $1', [epoch, ttl]),

    /** Holds the claim for longer; undefined when somebody else has it. */
    renew: (epoch: number, ttl: number) => claim(until, 'epoch = $1', [epoch, ttl]),

    /** Gives the claim up, so that the next one need not wait for its end. */
    release: async (epoch: number): Promise<void> => {
      await claim('until = clock_timestamp()', 'epoch = $1', [epoch])
    },

    /** Who says to write, and whether the claim holds. */
    holder: async (): Promise<{ holder: string | null; holds: boolean } | undefined> => {
      const [row] = await reading<{ holder: string | null; holds: boolean }[]>`
        SELECT holder, until > clock_timestamp() AS holds FROM ledger.writer WHERE shard = 1`
      return row
    },

    /** Drops the writing connection; what was sent over it may still happen. */
    drop: async (): Promise<void> => {
      const dropped = session
      session = undefined
      await dropped?.end({ timeout: 0 }).catch(() => {})
    },

    /** Looks up what is committed: entries by their ids, accounts, holds, and transfers that may be reversed. */
    find: async (ids: string[], accountIds: string[], holdIds: string[], originalIds: string[]): Promise<Found> => {
      const [entries, accounts, holds, originals] = await Promise.all([
        entriesOf(ids),
        read<Account & { id: string }>(reading, `SELECT ${accountColumns} FROM ledger.account a`, 'a.id', accountIds),
        read<Hold & { id: string }>(reading, `SELECT ${holdColumns} FROM ledger.hold h`, 'h.id', holdIds),
        read<Original & { id: string }>(
          reading,
          `SELECT t.id, j.debtor, j.creditor, j.amount, j.currency, t.reversed
           FROM ledger.transfer t JOIN ledger.journal j ON j.at = t.at AND j.creditor_version IS NOT NULL AND j.kind <> 'reverse'`,
          't.id',
          originalIds,
        ),
      ])
      return {
        entries,
        accounts: new Map(
          accounts.map(({ id, version, entries: count, ...account }) => [
            id,
            { ...account, version: Number(version), entries: Number(count) },
          ]),
        ),
        holds: new Map(holds.map(({ id, ...hold }) => [id, hold])),
        originals: new Map(originals.map(({ id, ...original }) => [id, original])),
      }
    },

    /** Opens an account without a history. @returns false when there is one of this id */
    openAccount: async (id: string, currency: string, floor: bigint | null): Promise<boolean> => {
      const rows = await reading`
        INSERT INTO ledger.account (id, currency, floor) VALUES (${id}, ${currency}, ${floor})
        ON CONFLICT (id) DO NOTHING RETURNING id`
      return rows.length > 0
    },

    /** Ids of holds whose time has passed, the oldest first. */
    overdueHolds: async (limit: number): Promise<string[]> => {
      const rows = await reading<{ id: string }[]>`
        SELECT id FROM ledger.hold WHERE expires_at <= clock_timestamp() ORDER BY expires_at LIMIT ${limit}`
      return rows.map(({ id }) => id)
    },

    /** What an account had at a moment: after the last entry before it. Undefined when there is none. */
    balanceAt: async (account: string, at: Date): Promise<{ balance: bigint; held: bigint } | undefined> => {
      const [row] = await reading<{ balance: bigint; held: bigint }[]>`
        SELECT balance, held FROM (
          (SELECT at, debtor_balance AS balance, debtor_held AS held FROM ledger.journal
            WHERE debtor = ${account} AND at < ${at.toISOString()} ORDER BY at DESC LIMIT 1)
          UNION ALL
          (SELECT at, creditor_balance, creditor_held FROM ledger.journal
            WHERE creditor = ${account} AND creditor_version IS NOT NULL AND at < ${at.toISOString()} ORDER BY at DESC LIMIT 1)
        ) sides ORDER BY at DESC LIMIT 1`
      return row
    },

    /** Entries after a place in the journal, in their order: a cursor without holes, since one writes. */
    entriesAfter: async (at: number, limit: number): Promise<Entry[]> => {
      const rows = await reading.unsafe<EntryRow[]>(
        `SELECT ${entryColumns} FROM ledger.journal j
         WHERE j.at > timestamptz 'epoch' + $1::bigint * interval '1 microsecond' ORDER BY j.at LIMIT $2`,
        [at, limit],
        { prepare: true },
      )
      return rows.map(toEntry)
    },

    /** Sees to it that there is room for the months to come. */
    prepareMonths: async (): Promise<void> => {
      await reading`SELECT ledger.prepare_months(12)`
    },

    close: async (): Promise<void> => {
      await Promise.all([session?.end({ timeout: 5 }), reading.end({ timeout: 5 })])
    },
  }
}

/** The database did not say what became of a statement, and it may still happen. */
class UnknownOutcome extends Error {}

/** One connection, as the service's pool is but for its settings; what is sent over it happens in its order. */
const connect = ({ options }: Sql, name: string): Sql =>
  postgres({
    ...(options as unknown as postgres.Options<{ bigint: postgres.PostgresType<bigint> }>),
    max: 1,
    max_lifetime: null,
    fetch_types: false,
    backoff: () => 0.05,
    connection: {
      ...options.connection,
      application_name: `${options.connection.application_name} ${name}`,
      // Nobody else has a reason to hold what a batch needs.
      lock_timeout: 250,
      // A plan that was made while a table was small would still read it from end to end when it is large, by one of these.
      enable_seqscan: false,
      enable_hashjoin: false,
      enable_mergejoin: false,
    },
  }) as Sql

/** Rows whose key is in a list; the database is not asked for nothing. */
const read = async <Row extends object>(sql: Sql, select: string, key: string, ids: string[]): Promise<Row[]> =>
  ids.length === 0
    ? []
    : ((await sql.unsafe<Row[]>(`${select} WHERE ${key} = ANY ($1::uuid[])`, [`{${ids.join()}}`], {
        prepare: true,
      })) as Row[])

const accountColumns = 'a.id, a.currency, a.floor, a.status::text, a.version, a.entries, a.balance, a.held'
const holdColumns = 'h.id, h.debtor, h.creditor, h.amount, h.currency, h.expires_at AS "expiresAt"'

type TermRow = { epoch: bigint; batch: bigint; last: bigint; now: bigint }
type EntryRow = Pick<
  Entry,
  'id' | 'kind' | 'declined' | 'debtor' | 'creditor' | 'amount' | 'reserved' | 'currency' | 'about'
> &
  Pick<Entry, 'fingerprint' | 'memo'> & {
    at: bigint
    debtor_version: bigint
    debtor_entries: bigint
    debtor_balance: bigint
    debtor_held: bigint
    creditor_version: bigint | null
    creditor_entries: bigint | null
    creditor_balance: bigint | null
    creditor_held: bigint | null
    expires_at: Date | null
    group_id: string | null
  }

const toEntry = ({ at, expires_at: expiresAt, group_id: groupId, ...row }: EntryRow): Entry => {
  const { id, kind, declined, debtor, creditor, amount, reserved, currency, about, fingerprint, memo } = row
  const head = (version: bigint | null, entries: bigint | null, balance: bigint | null, held: bigint | null): Head => ({
    version: Number(version),
    entries: Number(entries),
    balance: balance ?? 0n,
    held: held ?? 0n,
  })
  return {
    ...{ at: Number(at), id, kind, declined, debtor, creditor, amount, reserved, currency, expiresAt, about, groupId },
    ...{ fingerprint, memo },
    debtorHead: head(row.debtor_version, row.debtor_entries, row.debtor_balance, row.debtor_held),
    creditorHead:
      row.creditor_version === null
        ? null
        : head(row.creditor_version, row.creditor_entries, row.creditor_balance, row.creditor_held),
  }
}
