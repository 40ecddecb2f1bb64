import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate as applyMigrations } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'

/** Any number, the same for all processes that migrate one database. */
const lock = 7_203_114_001

/**
 * Applies what is missing of a folder of drizzle migrations, as the owner role. Two at once are harmless: the second
 * waits for the first.
 */
export async function migrate(options: { url: string; folder: string }): Promise<void> {
  const sql = postgres(options.url, { max: 1, onnotice: () => {}, connection: { application_name: 'migrate' } })
  try {
    await sql`SELECT pg_advisory_lock(${lock})`
    await applyMigrations(drizzle(sql), { migrationsFolder: options.folder })
  } finally {
    await sql.end({ timeout: 5 })
  }
}
