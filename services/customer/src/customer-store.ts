import { auditTopic, topicOf } from '@banking/contracts'
import type { Database } from '@banking/db'
import { appendToOutbox, type Queryable } from '@banking/messaging'
import type { Customer, PersonalData } from './customer.ts'
import { type AuditFacts, auditKey, auditRecorded, customerRegistered } from './events.ts'
import { newDataKey, openField, sealField, unwrapDataKey, type WrappingKeys } from './pii.ts'

type Row = {
  state: Customer['state']
  data_key: string | null
  /** drizzle on the same pool leaves times as text. */
  member_since: string
  field: string
  sealed: Buffer
}

/** Customers, whose personal data is opened here and nowhere else. */
export type CustomerStore = ReturnType<typeof createCustomerStore>

export function createCustomerStore({ sql }: Pick<Database, 'sql'>, keys: WrappingKeys) {
  return {
    /** @returns undefined for nobody and for somebody who was erased */
    find: (id: string): Promise<Customer | undefined> => find(sql, keys, id),

    /**
     * A read by somebody else. The read and its record are one transaction: there is no look without a trace, and a
     * look at somebody who is not there leaves one too.
     */
    findForStaff: (id: string, facts: Omit<AuditFacts, 'action' | 'resource' | 'outcome'>) =>
      sql.begin(async transaction => {
        const found = await find(transaction, keys, id)
        await recordAudit(transaction, {
          ...facts,
          action: 'customer.read',
          resource: `customer/${id}`,
          outcome: found === undefined ? 'refused' : 'success',
        })
        return found
      }),
  }
}

async function find(sql: Queryable, keys: WrappingKeys, id: string): Promise<Customer | undefined> {
  const rows = await sql<Row[]>`
    SELECT c.state, c.data_key, c.member_since, p.field, p.sealed
    FROM customer c JOIN personal_data p ON p.customer_id = c.id WHERE c.id = ${id}`
  const [first] = rows
  if (first === undefined || first.data_key === null) return undefined
  const key = unwrapDataKey(keys, id, first.data_key)
  const data = Object.fromEntries(rows.map(({ field, sealed }) => [field, openField(sealed, key, id, field)]))
  return { ...(data as PersonalData), id, state: first.state, memberSince: new Date(first.member_since) }
}

/** Records a deed in the caller's transaction, which holds the counter until it ends: the numbers have no gap. */
async function recordAudit(sql: Queryable, facts: AuditFacts): Promise<void> {
  const [row] = await sql<{ seq: bigint }[]>`UPDATE audit_counter SET last_seq = last_seq + 1 RETURNING last_seq AS seq`
  if (row === undefined) throw new Error('the audit counter is missing')
  await appendToOutbox(sql, auditTopic, auditKey, auditRecorded(row.seq, facts))
}

/** Adds a customer and the event of it. @returns false when the customer is known already */
export async function register(
  sql: Queryable,
  keys: WrappingKeys,
  customer: Omit<Customer, 'state'>,
): Promise<boolean> {
  const { id, memberSince, ...data } = customer
  const { key, wrapped } = newDataKey(keys, id)
  const added = await sql`
    INSERT INTO customer (id, data_key, member_since) VALUES (${id}, ${wrapped}, ${memberSince.toISOString()}::timestamptz)
    ON CONFLICT DO NOTHING RETURNING 1`
  if (added.length === 0) return false
  for (const [field, value] of Object.entries(data))
    await sql`
      INSERT INTO personal_data (customer_id, field, sealed)
      VALUES (${id}, ${field}, ${sealField(value, key, id, field)})`
  await appendToOutbox(sql, topicOf('customer'), id, customerRegistered(id))
  return true
}
