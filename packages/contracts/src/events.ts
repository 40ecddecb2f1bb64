import Type, { type Static, type TSchema } from 'typebox'
import { Money } from './money.ts'

/** CloudEvents 1.0 in structured mode, JSON. */
export const eventContentType = 'application/cloudevents+json'

const Party = Type.Object({
  accountId: Type.String({ format: 'uuid' }),
  /** `sub` of the owner; null for the bank's own accounts. */
  ownerId: Type.Union([Type.String(), Type.Null()]),
  ibanLast4: Type.String({ pattern: '^[0-9A-Z]{4}$' }),
})

const payment = {
  paymentId: Type.String({ format: 'uuid' }),
  amount: Money,
  debtor: Party,
  creditor: Party,
  reference: Type.String({ maxLength: 140 }),
}

const AuditRecord = Type.Object({
  action: Type.String(),
  resource: Type.String(),
  outcome: Type.Enum(['success', 'refused']),
  purpose: Type.Optional(Type.String()),
  actor: Type.Object({
    sub: Type.String(),
    client: Type.String(),
    roles: Type.Array(Type.String()),
    sid: Type.Optional(Type.String()),
  }),
})

/** Who a session belongs to; `sid` is the provider's name of its own session. */
const SessionOwner = Type.Object({ sub: Type.String(), sid: Type.Optional(Type.String()) })
/** Why, as a word that a program can compare; later versions know more of them. */
const Reason = Type.String({ maxLength: 64 })

/** `data` by event type. A schema only grows: what was published stays readable. */
export const eventData = {
  'payment.posted': Type.Object({ ...payment, transferId: Type.String({ format: 'uuid' }) }),
  'payment.held': Type.Object({ ...payment, reasons: Type.Array(Type.String()) }),
  'payment.declined': Type.Object({ ...payment, code: Type.String() }),
  'payment.cancelled': Type.Object(payment),
  'payment.reversed': Type.Object({
    ...payment,
    transferId: Type.String({ format: 'uuid' }),
    originalId: Type.String({ format: 'uuid' }),
  }),
  'payment.expired': Type.Object(payment),
  'account.opened': Type.Object({ accountId: Type.String(), ownerId: Type.String(), currency: Type.String() }),
  'customer.registered': Type.Object({ customerId: Type.String() }),
  'audit.recorded': AuditRecord,
  'login.started': Type.Object({}),
  'login.refused': Type.Object({ code: Reason }),
  /** A login that was finished. */
  'session.started': Type.Object({
    actor: SessionOwner,
    /** Browser and system in a few words. */
    device: Type.String(),
    authTime: Type.String({ format: 'date-time' }),
  }),
  'session.refreshed': Type.Object({ actor: SessionOwner }),
  'session.ended': Type.Object({ reason: Reason, actor: Type.Optional(SessionOwner) }),
  /** A request with a session's cookie that was refused before it went anywhere, e.g. `csrf_refused`. */
  'session.refused': Type.Object({ code: Reason, actor: Type.Optional(SessionOwner) }),
  /** Somebody else than the person asked for the end of sessions. */
  'logout.received': Type.Object({
    from: Type.Enum(['provider', 'staff']),
    actor: Type.Partial(SessionOwner),
    sessions: Type.Integer({ minimum: 0 }),
  }),
  'logout.refused': Type.Object({ code: Reason }),
} as const satisfies Record<string, TSchema>

/** Every kind of event that is published; {@link eventData} has their schemas. */
export type EventType = keyof typeof eventData
/** `data` of one kind of event. */
export type EventData<T extends EventType> = Static<(typeof eventData)[T]>

/** The envelope; extension attributes are in lower case as CloudEvents asks. */
export const CloudEvent = Type.Object({
  specversion: Type.Literal('1.0'),
  id: Type.String({ format: 'uuid' }),
  type: Type.String(),
  source: Type.String({ description: '"/payment": the app that owns the event' }),
  subject: Type.String({ description: 'the aggregate id, also the message key' }),
  time: Type.String({ format: 'date-time' }),
  seq: Type.Integer({ minimum: 0, description: 'version of the aggregate' }),
  datacontenttype: Type.Literal('application/json'),
  traceparent: Type.Optional(Type.String()),
  correlationid: Type.Optional(Type.String()),
  causationid: Type.Optional(Type.String()),
  data: Type.Record(Type.String(), Type.Unknown()),
})

/** One event as it is stored in an outbox and sent to Kafka. */
export type CloudEvent<T extends EventType = EventType> = Omit<Static<typeof CloudEvent>, 'type' | 'data'> & {
  type: T
  data: EventData<T>
}
