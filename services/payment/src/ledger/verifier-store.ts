import type { Database } from '@banking/db'

/** Something in the books that cannot be. */
type Finding = {
  what:
    | 'an entry that does not follow from the one before'
    | 'an entry below the floor'
    | 'an account that is not what its newest entry says'
    | 'holds that do not add up to what is held'
    | 'a hold without its entry'
    | 'an entry whose id is not registered'
    | 'balances that do not sum to zero'
  /** The account, or the currency. */
  where: string
  /** The version of the account, where it is an entry. */
  version?: number
}

export type Verdict = { accounts: number; entries: number; findings: Finding[] }

/** Accounts per statement: what one statement sees is of one moment, however much is booked meanwhile. */
const atOnce = 500
/** Findings after which no more are listed. */
const most = 1_000

/**
 * Computes every balance anew from the journal and compares it with what is there, account by account, beside a running
 * bank. The journal's own trigger is the first line; this is the second, for what the owner or the disk did to it.
 *
 * @param sql a pool of one connection
 */
export async function verify(sql: Database['sql']): Promise<Verdict> {
  const verdict: Verdict = { accounts: 0, entries: 0, findings: [] }
  // One of the bank's own accounts may have very many entries.
  await sql`SET statement_timeout = 0`
  const sums = await sql<{ currency: string }[]>`
    SELECT currency FROM ledger.account GROUP BY currency HAVING sum(balance) <> 0`
  verdict.findings.push(
    ...sums.map(({ currency }) => ({ what: 'balances that do not sum to zero', where: currency }) as const),
  )
  let after = '00000000-0000-0000-0000-000000000000'
  for (;;) {
    const rows = await sql.unsafe<ChunkRow[]>(chunk, [after, atOnce], { prepare: true })
    const changes = new Map(rows.map(row => [row.id, Number(row.changes)]))
    verdict.accounts += changes.size
    verdict.entries += [...changes.values()].reduce((sum, n) => sum + n, 0)
    for (const { id, what, version } of rows) {
      if (what === null || verdict.findings.length === most) continue
      verdict.findings.push({ what, where: id, ...(version === null ? {} : { version: Number(version) }) })
    }
    const last = rows.at(-1)
    if (last === undefined || changes.size < atOnce) return verdict
    after = last.id
  }
}

type ChunkRow = { id: string; changes: bigint; what: Finding['what'] | null; version: bigint | null }

const chunk = `
  WITH part AS (
    SELECT * FROM ledger.account WHERE id > $1 ORDER BY id LIMIT $2
  ), side AS (
    SELECT p.id AS account, p.floor, s.*
    FROM part p CROSS JOIN LATERAL (
      SELECT at, id AS transfer, debtor_version AS version, debtor_entries AS entries, debtor_balance AS balance,
        debtor_held AS held, CASE WHEN creditor_version IS NULL THEN 0 ELSE -amount END AS moved,
        CASE WHEN creditor_version IS NULL THEN 0 ELSE 1 END AS booked, reserved
      FROM ledger.journal WHERE debtor = p.id
      UNION ALL
      SELECT at, id, creditor_version, creditor_entries, creditor_balance, creditor_held, amount, 1, 0
      FROM ledger.journal WHERE creditor = p.id AND creditor_version IS NOT NULL
    ) s
  ), link AS (
    SELECT *, coalesce(lag(version) OVER chain, 0) = version - 1 AND coalesce(lag(entries) OVER chain, 0) = entries - booked
        AND coalesce(lag(balance) OVER chain, 0) = balance - moved AND coalesce(lag(held) OVER chain, 0) = held - reserved
        AND coalesce(lag(at) OVER chain < at, true) AS follows,
      lead(version) OVER chain IS NULL AS is_last
    FROM side WINDOW chain AS (PARTITION BY account ORDER BY version, at)
  ), newest AS MATERIALIZED (
    SELECT * FROM link WHERE is_last
  ), finding AS MATERIALIZED (
    SELECT account, 'an entry that does not follow from the one before' AS what, version FROM link WHERE NOT follows
    UNION ALL
    SELECT account, 'an entry below the floor', version FROM link WHERE balance - held < floor
    UNION ALL
    SELECT p.id, 'an account that is not what its newest entry says', NULL
    FROM part p LEFT JOIN newest l ON l.account = p.id
    WHERE (p.version, p.entries, p.balance, p.held)
      <> (coalesce(l.version, 0), coalesce(l.entries, 0), coalesce(l.balance, 0), coalesce(l.held, 0))
    UNION ALL
    SELECT p.id, 'holds that do not add up to what is held', NULL
    FROM part p WHERE p.held <> (SELECT coalesce(sum(amount), 0) FROM ledger.hold h WHERE h.debtor = p.id)
    UNION ALL
    SELECT p.id, 'a hold without its entry', NULL
    FROM part p JOIN ledger.hold h ON h.debtor = p.id
    WHERE NOT EXISTS (SELECT FROM ledger.transfer t JOIN ledger.journal j ON j.at = t.at AND j.id = t.id
      WHERE t.id = h.id AND j.kind = 'hold' AND j.declined IS NULL AND j.amount = h.amount AND j.creditor = h.creditor)
    UNION ALL
    SELECT s.account, 'an entry whose id is not registered', s.version
    FROM side s WHERE NOT EXISTS (SELECT FROM ledger.transfer t WHERE t.id = s.transfer AND t.at = s.at)
  )
  SELECT p.id, p.version AS changes, f.what, f.version FROM part p LEFT JOIN finding f ON f.account = p.id ORDER BY p.id`
