import type { Principal } from '@banking/auth'
import type { CloudEvent, EventData } from '@banking/contracts'
import { newEvent } from '@banking/messaging'
import type { Trace } from '@banking/telemetry'

const source = '/customer'
/** The key of this service's audit records: they stay in order. */
export const auditKey = 'customer'

/** Who did what to which customer, and why. */
export type AuditFacts = Pick<EventData<'audit.recorded'>, 'action' | 'resource' | 'outcome'> & {
  purpose: string
  actor: Principal
  trace: Trace
}

/** @param seq number of the record; the numbers have no gap */
export const auditRecorded = (seq: bigint, { actor, trace, ...data }: AuditFacts): CloudEvent<'audit.recorded'> =>
  newEvent({
    source,
    type: 'audit.recorded',
    subject: auditKey,
    seq: Number(seq),
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

/** Tells the others that there is a new customer; who that is stays here. */
export const customerRegistered = (customerId: string): CloudEvent<'customer.registered'> =>
  newEvent({ source, type: 'customer.registered', subject: customerId, seq: 1, data: { customerId } })
