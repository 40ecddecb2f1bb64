import { randomUUID } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import type { CloudEvent, EventData, EventType } from '@banking/contracts'
import { newEvent } from '@banking/messaging'
import { createMetrics } from '@banking/telemetry'
import { type TestIssuer, testDatabase, testIssuer, testLogger } from '@banking/testkit'
import type { Test } from 'tap'
import { buildApp } from '../src/app.ts'
import { handlers } from '../src/consumers.ts'
import { createNotificationStore } from '../src/notification-store.ts'
import { createStreams, type StreamLimits } from '../src/streams.ts'

export const alice = 'a11ce000-0000-4000-8000-000000000001'
export const bob = 'b0b00000-0000-4000-8000-000000000002'

type TokenClaims = Parameters<TestIssuer['token']>[0]
type PaymentType = Extract<EventType, `payment.${string}`>

/** The service on a database of its own, with people who can call it. */
export async function notificationApp(t: Test, options: { limits?: Partial<StreamLimits> } = {}) {
  const { database, owner, url } = await inboxDatabase(t)
  const identity = await testIssuer(t)
  const { logger, lines } = testLogger()
  const metrics = createMetrics('notification')
  const store = createNotificationStore(database)
  const streams = createStreams({
    sql: database.sql,
    store,
    logger,
    metrics,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  })
  const app = await buildApp({ issuer: identity.issuer, store, streams, logger, metrics })
  t.teardown(async () => {
    await streams.close()
    await app.close()
  })
  const as = async (sub: string, more: Partial<TokenClaims> = {}) => ({
    authorization: `Bearer ${await identity.token({ service: 'notification', sub, ...more })}`,
  })
  return {
    app,
    identity,
    store,
    streams,
    metrics,
    owner,
    sql: database.sql,
    url,
    lines,
    as,
    /** The effect of an event, as the consumer has it. */
    handle: <T extends PaymentType>(event: CloudEvent<T>) => {
      const handler = handlers[event.type] as (event: CloudEvent<T>, sql: unknown) => Promise<void>
      return database.sql.begin(sql => handler(event, sql))
    },
    get: async (path: string, sub: string, more: Partial<TokenClaims> = {}) =>
      app.inject({ url: `/api/notifications${path}`, headers: await as(sub, more) }),
    post: async (path: string, sub: string, payload?: object) =>
      app.inject({
        method: 'POST',
        url: `/api/notifications${path}`,
        headers: await as(sub),
        ...(payload === undefined ? {} : { payload }),
      }),
    /** Address of the app on a free port, for streams. */
    listen: async () => {
      await app.listen({ host: '127.0.0.1', port: 0 })
      return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
    },
  }
}

async function inboxDatabase(t: Test) {
  const created = await testDatabase(t, 'notification')
  return { database: created.open(), owner: created.openAsOwner(), url: created.url }
}

const party = (ownerId: string | null, accountId: string, ibanLast4: string) => ({ ownerId, accountId, ibanLast4 })
export const aliceAccount = randomUUID()
export const bobAccount = randomUUID()

/** An event of the payment service: by default 12.50 EUR from Alice to Bob. */
export function paymentEvent<T extends PaymentType>(type: T, changes: Partial<EventData<T>> = {}): CloudEvent<T> {
  const data = {
    paymentId: randomUUID(),
    amount: { amount: '1250', currency: 'EUR' },
    debtor: party(alice, aliceAccount, '1111'),
    creditor: party(bob, bobAccount, '2222'),
    reference: 'Lunch',
    transferId: randomUUID(),
    originalId: randomUUID(),
    reasons: ['large_amount'],
    code: 'insufficient_funds',
    ...changes,
  }
  return newEvent({ source: '/payment', type, subject: aliceAccount, seq: 1, data: data as unknown as EventData<T> })
}
