import { randomBytes } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createMetrics } from '@banking/telemetry'
import { type TestIssuer, testDatabase, testIssuer, testLogger } from '@banking/testkit'
import type { Test } from 'tap'
import { buildApp } from '../src/app.ts'
import { createCustomerStore, register } from '../src/customer-store.ts'
import { readWrappingKeys, type WrappingKeys } from '../src/pii.ts'

export const alice = {
  id: 'a11ce000-0000-4000-8000-000000000001',
  givenName: 'Alice',
  familyName: 'Sommer',
  email: 'alice.sommer@banking.example',
  phone: '+49 30 5550142',
  birthDate: '1987-04-12',
  address: { street: 'Lindenallee 7', postalCode: '10115', city: 'Berlin', country: 'DE' },
  memberSince: new Date('2024-02-01T09:00:00Z'),
}

type TokenClaims = Parameters<TestIssuer['token']>[0]

/** A key file as the launcher and a secret store make it. */
export function keyFile(t: Test, content?: unknown): string {
  const folder = mkdtempSync(join(tmpdir(), 'pii-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const file = join(folder, 'keys.json')
  const value = content ?? { current: 'k1', keys: { k1: randomBytes(32).toString('base64url') } }
  writeFileSync(file, JSON.stringify(value))
  return file
}

/** The service on a database of its own, with Alice in it. */
export async function customerApp(t: Test) {
  const created = await testDatabase(t, 'customer')
  const database = created.open()
  const owner = created.openAsOwner()
  const keys: WrappingKeys = readWrappingKeys(keyFile(t))
  await owner.sql.begin(sql => register(sql, keys, alice))
  await owner.sql`DELETE FROM outbox`
  const identity = await testIssuer(t)
  const { logger, text } = testLogger()
  const metrics = createMetrics('customer')
  const app = await buildApp({ issuer: identity.issuer, store: createCustomerStore(database, keys), logger, metrics })
  t.teardown(() => app.close())
  return {
    app,
    identity,
    keys,
    sql: database.sql,
    owner: owner.sql,
    log: text,
    get: async (path: string, claims: Partial<TokenClaims> = {}, headers: Record<string, string> = {}) =>
      app.inject({
        url: `/api/customers${path}`,
        headers: {
          authorization: `Bearer ${await identity.token({ service: 'customer', sub: alice.id, ...claims })}`,
          ...headers,
        },
      }),
    /** What waits to be published. */
    events: async () =>
      (await owner.sql<{ topic: string; key: string; event: Record<string, unknown> }[]>`
        SELECT topic, key, event FROM outbox ORDER BY position`) as unknown as {
        topic: string
        key: string
        event: { type: string; seq: number; data: Record<string, unknown>; traceparent: string }
      }[],
  }
}
