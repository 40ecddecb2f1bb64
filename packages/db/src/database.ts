import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { knowArrays } from './arrays.ts'

/** One service's database, through one small pool. */
export type Database = {
  sql: postgres.Sql<{ bigint: bigint }>
  drizzle: PostgresJsDatabase
  /** Rejects while the database does not answer. */
  check(): Promise<void>
  /** Waits for running queries, at most 5 s. */
  close(): Promise<void>
}

/**
 * @param options.url `postgres://role:password@host/database`
 * @param options.max connections; a few more than the server's cores serve more than many do
 * @param options.name shown in `pg_stat_activity`
 */
export function openDatabase(options: { url: string; name: string; max?: number }): Database {
  const sql = postgres(options.url, {
    max: options.max ?? 8,
    idle_timeout: 0,
    connect_timeout: 5,
    // Seconds between attempts to reconnect; the driver's own pauses grow to 20 s, long after the database is back.
    backoff: attempt => Math.min(0.05 * 2 ** attempt, 1),
    // A hung statement or a forgotten transaction frees its locks by itself.
    connection: {
      application_name: options.name,
      statement_timeout: 10_000,
      lock_timeout: 2_000,
      idle_in_transaction_session_timeout: 10_000,
    },
    types: { bigint: postgres.BigInt },
    fetch_types: false,
    onnotice: () => {},
  })
  knowArrays(sql)
  return {
    sql,
    drizzle: drizzle(sql),
    check: async () => {
      await sql`SELECT 1`
    },
    close: () => sql.end({ timeout: 5 }),
  }
}
