import type { Principal } from '@banking/auth'
import { auditTopic, type CloudEvent, type EventData } from '@banking/contracts'
import { appendToOutbox, newEvent, type Queryable } from '@banking/messaging'
import type { Trace } from '@banking/telemetry'

const source = '/customer'
/** The key of this service's audit records: they stay in order. */
const auditKey = 'customer'

/** Who did what to which customer, and why. */
export type AuditFacts = Pick<EventData<'audit.recorded'>, 'action' | 'resource' | 'outcome'> & {
  purpose: string
  actor: Principal
  trace: Trace
}

/** Records a deed in the caller's transaction, with a number without a gap. */
export async function recordAudit(sql: Queryable, facts: AuditFacts): Promise<void> {
  const [row] = await sql<{ seq: bigint }[]>`UPDATE audit_counter SET last_seq = last_seq + 1 RETURNING last_seq AS seq`
  if (row === undefined) throw new Error('the audit counter is missing')
  const { actor, trace, ...data } = facts
  const event: CloudEvent<'audit.recorded'> = newEvent({
    source,
    type: 'audit.recorded',
    subject: auditKey,
    seq: Number(row.seq),
    trace,
    data: {
      ...data,
      actor: {
        sub: actor.sub,
        client: actor.client,
        roles: [...actor.roles],
        ...(actor.sid === undefined ? {} : { sid: actor.sid }),
      },
    },
  })
  await appendToOutbox(sql, auditTopic, auditKey, event)
}

/** Tells the others that there is a new customer; who that is stays here. */
export const customerRegistered = (customerId: string): CloudEvent<'customer.registered'> =>
  newEvent({ source, type: 'customer.registered', subject: customerId, seq: 1, data: { customerId } })
