import { createHash, randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Database, migrate, openDatabase } from '@banking/db'
import postgres from 'postgres'
import type { Test } from 'tap'
import { parts } from './parts.ts'

export type TestDatabase = {
  /** As the app's own role, which has only the rights it has in production. */
  url: string
  /** As the owner of tables and functions: for arranging and for looking behind the scenes. */
  ownerUrl: string
  /** A pool as the app's role, closed at teardown. */
  open(): Database
  /** A pool as the owner, closed at teardown. */
  openAsOwner(): Database
}

const password = 'development-only'

/**
 * A database of this test's own: a copy of a template that was migrated once, dropped at teardown.
 *
 * @param service the folder under `services/`, which is also the name of the role
 */
export async function testDatabase(t: Test, service: string): Promise<TestDatabase> {
  const { postgres: url } = parts(t, 'postgres')
  const admin = postgres(url, { max: 1, onnotice: () => {} })
  const template = await migratedTemplate(admin, url, service)
  const name = `test_${service}_${randomBytes(6).toString('hex')}`
  // Copying a template needs it to be idle: one copy at a time.
  await exclusively(admin, () => admin.unsafe(`CREATE DATABASE ${name} TEMPLATE ${template} OWNER ${service}_owner`))
  const address = (role: string) => withRole(url, role, name)
  const opened: Database[] = []
  const open = (role: string) => {
    const database = openDatabase({ url: address(role), name: `test ${role}` })
    opened.push(database)
    return database
  }
  t.teardown(async () => {
    await Promise.all(opened.map(database => database.close()))
    await admin.unsafe(`DROP DATABASE ${name} WITH (FORCE)`)
    await admin.end()
  })
  return {
    url: address(service),
    ownerUrl: address(`${service}_owner`),
    open: () => open(service),
    openAsOwner: () => open(`${service}_owner`),
  }
}

async function migratedTemplate(admin: postgres.Sql, url: string, service: string): Promise<string> {
  const folder = resolve(import.meta.dirname, '../../../services', service, 'migrations')
  const name = `template_${service}_${hashOf(folder)}`
  await exclusively(admin, async () => {
    await ensureRoles(admin, service)
    const [ready] = await admin`SELECT 1 FROM pg_database WHERE datname = ${name} AND datistemplate`
    if (ready !== undefined) return
    await admin.unsafe(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
    await admin.unsafe(`CREATE DATABASE ${name} OWNER ${service}_owner`)
    await migrate({ url: withRole(url, `${service}_owner`, name), folder })
    await admin.unsafe(`ALTER DATABASE ${name} IS_TEMPLATE true`)
  })
  return name
}

async function ensureRoles(admin: postgres.Sql, service: string): Promise<void> {
  for (const role of [`${service}_owner`, service]) {
    const [exists] = await admin`SELECT 1 FROM pg_roles WHERE rolname = ${role}`
    if (exists === undefined) await admin.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD '${password}'`)
  }
}

/** Test files run side by side on one server: roles, templates and copies are made one at a time. */
async function exclusively(admin: postgres.Sql, work: () => Promise<unknown>): Promise<void> {
  await admin`SELECT pg_advisory_lock(7203114002)`
  try {
    await work()
  } finally {
    await admin`SELECT pg_advisory_unlock(7203114002)`
  }
}

function hashOf(folder: string): string {
  const hash = createHash('sha256')
  for (const file of readdirSync(folder)
    .filter(name => name.endsWith('.sql'))
    .sort())
    hash.update(file).update(readFileSync(join(folder, file)))
  return hash.digest('hex').slice(0, 12)
}

function withRole(url: string, role: string, database: string): string {
  const address = new URL(url)
  address.username = role
  address.password = password
  address.pathname = `/${database}`
  return address.href
}
