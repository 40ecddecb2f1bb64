import { type ChildLoggerOptions, type Logger, pino } from 'pino'

export type { Logger } from 'pino'

/** Fields that are never written, down to this many levels. Bodies are not logged at all. */
const secretFields: ReadonlySet<string> = new Set([
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
])
const levels = 3

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
      timestamp,
      formatters: {
        level: label => ({ level: label }),
        bindings: bindings => redacted(bindings, levels),
        log: facts => redacted(facts, levels),
      },
      serializers: { err: serializeError },
    },
    // Each write is work for two threads, so lines leave together: when there are some kilobytes of them, a few times a
    // second, at `flush()`, at once after a fatal one, and as the process exits.
    options.destination ?? pino.destination({ dest: 1, sync: false, minLength: 4 * 1024, periodicFlush: 200 }),
  )
}

let lastTime = 0
let lastText = ''
/** The time of a line; many are written within a millisecond. */
function timestamp(): string {
  const now = Date.now()
  if (now !== lastTime) {
    lastTime = now
    lastText = `,"time":"${new Date(now).toISOString()}"`
  }
  return lastText
}

/**
 * The same facts without what is secret. pino's own redaction copies every line in full and parses its list of paths
 * again for every child: half of what a forwarded request costs.
 */
function redacted(facts: Record<string, unknown>, depth: number): Record<string, unknown> {
  let copy: Record<string, unknown> | undefined
  for (const [name, value] of Object.entries(facts)) {
    const kept = secretFields.has(name)
      ? '[redacted]'
      : isPlain(value) && depth > 1
        ? redacted(value, depth - 1)
        : value
    if (kept === value) continue
    copy ??= { ...facts }
    copy[name] = kept
  }
  return copy ?? facts
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' &&
  value !== null &&
  (Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype)

/**
 * A child logger that is only made once it writes: most requests have nothing to say.
 *
 * @param bindings fields of each of its lines
 */
export function deferredChild(parent: Logger, bindings: () => Record<string, unknown>): Logger {
  return new DeferredChild(parent, bindings) as unknown as Logger
}

class DeferredChild {
  readonly #parent: Logger
  readonly #bindings: () => Record<string, unknown>
  #made: Logger | undefined

  constructor(parent: Logger, bindings: () => Record<string, unknown>) {
    this.#parent = parent
    this.#bindings = bindings
  }

  get #logger(): Logger {
    this.#made ??= this.#parent.child(this.#bindings())
    return this.#made
  }

  get level(): string {
    return this.#parent.level
  }

  child(bindings: Record<string, unknown>, options?: ChildLoggerOptions): Logger {
    return this.#logger.child(bindings, options)
  }

  fatal(...line: Line): void {
    this.#logger.fatal(...line)
  }

  error(...line: Line): void {
    this.#logger.error(...line)
  }

  warn(...line: Line): void {
    this.#logger.warn(...line)
  }

  info(...line: Line): void {
    this.#logger.info(...line)
  }

  debug(...line: Line): void {
    if (this.#parent.isLevelEnabled('debug')) this.#logger.debug(...line)
  }

  trace(...line: Line): void {
    if (this.#parent.isLevelEnabled('trace')) this.#logger.trace(...line)
  }

  silent(): void {}
}

type Line = [facts: object, message: string]

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
