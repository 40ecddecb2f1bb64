import { type Problem, problem } from '@banking/contracts'

/** What postgres.js calls a lost or refused connection, and SQLSTATEs that mean "not now" (PostgreSQL, appendix A). */
const unavailable = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  'CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '57014', // query_canceled: statement_timeout
  '55P03', // lock_not_available
  '53300', // too_many_connections
  '53100', // disk_full
  '53200', // out_of_memory
  '08000', // connection_exception
  '08003', // connection_does_not_exist
  '08006', // connection_failure
  '40001', // serialization_failure, after the retries
  '40P01', // deadlock_detected, after the retries
])

/** A database that cannot be reached or is too busy is a 503 the client may repeat; anything else stays what it is. */
export function asDatabaseProblem(error: unknown): Problem | undefined {
  const code = codeOf(error)
  if (code === undefined || !unavailable.has(code)) return undefined
  return problem('database_unavailable', undefined, { headers: { 'retry-after': '2' }, cause: error })
}

/** drizzle wraps the driver's error; the code is on the cause then. */
function codeOf(error: unknown): string | undefined {
  for (let current = error; current instanceof Error; current = current.cause) {
    const { code } = current as { code?: unknown }
    if (typeof code === 'string') return code
  }
  return undefined
}
