import { CloudEvent, type EventData, type EventType, eventData } from '@banking/contracts'
import { formatTraceparent, type Trace } from '@banking/telemetry'
import { Compile, type Validator } from 'typebox/compile'
import { v7 as uuidv7 } from 'uuid'

/**
 * An event of this app, ready for its outbox.
 *
 * @param fields.source `/payment`: the app that owns the event
 * @param fields.subject id of the aggregate, also the message key
 * @param fields.seq version of the aggregate after the change
 * @param fields.trace the request's span
 * @example newEvent({ source: '/payment', type: 'payment.posted', subject: accountId, seq: 7, data, trace })
 */
export function newEvent<T extends EventType>(fields: {
  source: string
  type: T
  subject: string
  seq: number
  data: EventData<T>
  trace?: Trace
  correlationId?: string
  causationId?: string
}): CloudEvent<T> {
  return {
    specversion: '1.0',
    id: uuidv7(),
    type: fields.type,
    source: fields.source,
    subject: fields.subject,
    time: new Date().toISOString(),
    seq: fields.seq,
    datacontenttype: 'application/json',
    ...(fields.trace === undefined ? {} : { traceparent: formatTraceparent(fields.trace) }),
    ...(fields.correlationId === undefined ? {} : { correlationid: fields.correlationId }),
    ...(fields.causationId === undefined ? {} : { causationid: fields.causationId }),
    data: fields.data,
  }
}

/** Why a message can never be handled; such a message goes to the dead letters at once. */
export class PoisonMessage extends Error {
  readonly reason: 'empty' | 'too_large' | 'not_json' | 'not_an_event' | 'data_invalid'
  constructor(reason: PoisonMessage['reason'], message: string) {
    super(message)
    this.name = 'PoisonMessage'
    this.reason = reason
  }
}

/** Bytes. An event names ids and amounts; a body beyond this is a mistake or an attack. */
export const eventLimit = 256 * 1024

const envelope = Compile(CloudEvent)
const dataOf = new Map<string, Validator>(Object.entries(eventData).map(([type, schema]) => [type, Compile(schema)]))

/**
 * Reads and checks one message against the contracts.
 *
 * @returns undefined for a well-formed event of a type this version does not know
 * @throws PoisonMessage for anything that is no event of the contracts; its message never quotes the data
 */
export function readEvent(value: Buffer | undefined): CloudEvent | undefined {
  if (value === undefined || value.length === 0) throw new PoisonMessage('empty', 'the message has no body')
  if (value.length > eventLimit) throw new PoisonMessage('too_large', `the message has ${value.length} bytes`)
  const event = parse(value)
  if (!envelope.Check(event)) throw new PoisonMessage('not_an_event', firstError(envelope, event))
  const data = dataOf.get(event.type)
  if (data === undefined) return undefined
  if (!data.Check(event.data)) throw new PoisonMessage('data_invalid', `${event.type}: ${firstError(data, event.data)}`)
  return event as CloudEvent
}

function parse(value: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(value))
  } catch {
    throw new PoisonMessage('not_json', 'the message is not JSON in UTF-8')
  }
}

function firstError(validator: Validator, value: unknown): string {
  const [error] = validator.Errors(value)
  return error === undefined ? 'is not valid' : `${error.instancePath || '/'} ${error.message}`
}
