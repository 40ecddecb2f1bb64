import { envSchema } from 'env-schema'
import type { Static, TObject } from 'typebox'

export { type KeyRing, readKeyRing } from './key-ring.ts'

/**
 * Reads the environment once, at the start of a process; nothing else reads `process.env`.
 *
 * @param schema a TypeBox object whose property names are the variables; numbers and booleans are converted, and the
 *   `description` of a pattern says what it asks for: "must be " is put before it
 * @param env the environment, e.g. `process.env`
 * @returns the typed configuration, frozen
 * @throws ConfigError that names every variable that is missing or wrong, and never prints a value
 */
export function loadConfig<T extends TObject>(schema: T, env: NodeJS.ProcessEnv = process.env): Readonly<Static<T>> {
  const names = Object.keys(schema.properties)
  // Empty means "not set": a chart or shell that passes an empty string asks for the default.
  const data = Object.fromEntries(names.filter(name => env[name]).map(name => [name, env[name]]))
  try {
    return Object.freeze(envSchema<Static<T>>({ schema, data, env: false }))
  } catch (cause) {
    throw new ConfigError(problemsOf(cause, schema), { cause })
  }
}

/**
 * Starts a process. A configuration that cannot be used ends it with what is wrong, without a stack, and exit code 78
 * (`EX_CONFIG` of sysexits: starting again does not help); a port that is taken ends it with 1, and as plainly.
 *
 * @example
 * await start(async () => {
 *   const config = loadConfig(Config)
 *   await serve(await buildApp(config), config)
 * })
 */
export async function start(run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
    if (!(error instanceof ConfigError) && !isTaken) throw error
    console.error(isTaken ? takenMessage(error as ListenError) : (error as Error).message)
    // A port may be free again in a moment.
    process.exit(isTaken ? 1 : 78)
  }
}

type ListenError = NodeJS.ErrnoException & { address?: string; port?: number }

const takenMessage = ({ address, port }: ListenError): string =>
  `${address}:${port} is in use. Stop the program that listens there, or choose another port.`

/** A configuration that cannot be used; the message is meant for the person who starts the process. */
export class ConfigError extends Error {
  constructor(problems: readonly string[], options?: ErrorOptions) {
    super(`The configuration is not usable:\n${problems.map(line => `  - ${line}`).join('\n')}`, options)
    this.name = 'ConfigError'
  }
}

type AjvError = { keyword: string; instancePath: string; message?: string; params: Record<string, unknown> }

function problemsOf(cause: unknown, { properties }: TObject): string[] {
  const errors = (cause as { errors?: AjvError[] }).errors ?? []
  if (errors.length === 0) return [(cause as Error).message]
  return errors.map(error => {
    if (error.keyword === 'required') return `${String(error.params.missingProperty)} is not set`
    const name = error.instancePath.slice(1)
    const { description } = (properties[name] ?? {}) as { description?: string }
    if (error.keyword === 'pattern' && description !== undefined) return `${name} must be ${description}`
    return `${name} ${error.message ?? 'is not valid'}`
  })
}
