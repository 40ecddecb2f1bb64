import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate as applyMigrations } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'

/** Any number, the same for all processes that migrate one database. */
const lock = 7_203_114_001

/**
 * Applies what is missing of a folder of drizzle migrations, as the owner role. Two at once are harmless: the second
 * waits for the first.
 *
 * @throws Error when a migration was edited after this database got it: drizzle would pass over it in silence, and the
 *   app would ask for what is not there
 */
export async function migrate(options: { url: string; folder: string }): Promise<void> {
  const sql = postgres(options.url, { max: 1, onnotice: () => {}, connection: { application_name: 'migrate' } })
  try {
    await sql`SELECT pg_advisory_lock(${lock})`
    await refuseEdited(sql, options.folder)
    await applyMigrations(drizzle(sql), { migrationsFolder: options.folder })
  } finally {
    await sql.end({ timeout: 5 })
  }
}

async function refuseEdited(sql: postgres.Sql, folder: string): Promise<void> {
  const [table] = await sql`SELECT to_regclass('drizzle.__drizzle_migrations') AS name`
  if (table?.['name'] === null) return
  const applied = await sql<{ hash: string; created_at: string }[]>`
    SELECT hash, created_at::text FROM drizzle.__drizzle_migrations`
  const hashes = new Map(applied.map(row => [row.created_at, row.hash]))
  const edited = readMigrationFiles({ migrationsFolder: folder }).findIndex(
    ({ folderMillis, hash }) => (hashes.get(String(folderMillis)) ?? hash) !== hash,
  )
  if (edited === -1) return
  throw new Error(
    `Migration ${edited} of ${folder} was edited after it was applied to this database. Add a migration instead of ` +
      'editing one; a development database is made anew by: npx -y pnpm@10.34.9 dev --reset',
  )
}
