import { type Logger, pino } from 'pino'

export type { Logger } from 'pino'

/** Fields that are never written, at the top and one level down. Bodies are not logged at all. */
const secretFields = [
  'authorization',
  'cookie',
  'set-cookie',
  'password',
  'token',
  'access_token',
  'refresh_token',
  'id_token',
  'client_assertion',
  'code_verifier',
  'subject_token',
  'logout_token',
  'iban',
  'email',
  'phone',
]

/**
 * One JSON line per fact on stdout: constant message, facts as fields.
 *
 * @param options.name the app, written as `app` on every line
 * @param options.level pino's level name
 */
export function createLogger(options: { name: string; level?: string; destination?: NodeJS.WritableStream }): Logger {
  return pino(
    {
      level: options.level ?? 'info',
      base: { app: options.name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      redact: {
        paths: secretFields.flatMap(field => [`["${field}"]`, `*["${field}"]`, `*.headers["${field}"]`]),
        censor: '[redacted]',
      },
      serializers: { err: serializeError },
    },
    // One byte is enough to be written; with none, `flush()` would not wait for what is being written.
    options.destination ?? pino.destination({ dest: 1, sync: false, minLength: 1 }),
  )
}

/** Type, code, message and stack down the causes: an HTTP client's error may carry a request with its headers, so nothing else is taken. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return String(error)
  const { code } = error as { code?: unknown }
  return {
    type: error.name,
    ...(typeof code === 'string' ? { code } : {}),
    message: error.message,
    stack: error.stack,
    ...(error.cause === undefined ? {} : { cause: serializeError(error.cause) }),
  }
}
