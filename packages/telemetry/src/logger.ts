import { type ChildLoggerOptions, type Logger, pino } from 'pino'
import { logDestination } from './log-destination.ts'

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
  const destination =
    options.destination ?? logDestination(1, { lost: lines => logger.warn({ lines }, 'log lines were lost') })
  const logger = pino(
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
    destination,
  )
  return logger
}

/**
 * A line that is written often: what is the same each time is made into text once, which pino does anew for each.
 *
 * @param fixed facts that every line carries
 * @param varying names of the facts that follow
 * @returns writes one line at level `info`; a fact that is undefined is left out
 */
export function preparedLine(
  logger: Logger,
  fixed: Record<string, unknown>,
  varying: readonly string[],
  message: string,
): (...values: (string | number | undefined)[]) => void {
  const { streamSym, chindingsSym } = pino.symbols as unknown as Record<'streamSym' | 'chindingsSym', symbol>
  const { [streamSym]: stream, [chindingsSym]: bindings } = logger as unknown as Record<symbol, unknown>
  const start = `{"level":"info"`
  const known = `${bindings}${JSON.stringify(redacted(fixed, levels))
    .slice(1, -1)
    .replace(/^(?=.)/, ',')}`
  const names = varying.map(name => `,${JSON.stringify(name)}:`)
  const end = `,"msg":${JSON.stringify(message)}}\n`
  return (...values) => {
    if (!logger.isLevelEnabled('info')) return
    let line = start + timestamp() + known
    for (let at = 0; at < values.length; at++) {
      const value = values[at]
      if (value !== undefined)
        line += (names[at] as string) + (typeof value === 'number' ? value : JSON.stringify(value))
    }
    ;(stream as { write(line: string): void }).write(line + end)
  }
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
