import { envSchema } from 'env-schema'
import type { Static, TObject } from 'typebox'

/**
 * Reads the environment once, at the start of a process; nothing else reads `process.env`.
 *
 * @param schema a TypeBox object whose property names are the variables; numbers and booleans are converted
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
    throw new ConfigError(problemsOf(cause), { cause })
  }
}

/** A configuration that cannot be used; the message is meant for the person who starts the process. */
export class ConfigError extends Error {
  constructor(problems: readonly string[], options?: ErrorOptions) {
    super(`The configuration is not usable:\n${problems.map(line => `  - ${line}`).join('\n')}`, options)
    this.name = 'ConfigError'
  }
}

type AjvError = { keyword: string; instancePath: string; message?: string; params: Record<string, unknown> }

function problemsOf(cause: unknown): string[] {
  const errors = (cause as { errors?: AjvError[] }).errors ?? []
  if (errors.length === 0) return [(cause as Error).message]
  return errors.map(error => {
    if (error.keyword === 'required') return `${String(error.params.missingProperty)} is not set`
    return `${error.instancePath.slice(1)} ${error.message ?? 'is not valid'}`
  })
}
