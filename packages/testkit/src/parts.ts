import { readFileSync } from 'node:fs'
import type { Test } from 'tap'

export type PartName = 'postgres' | 'redis' | 'kafka' | 'keycloak'
export type Part = { name: PartName; kind: string; program: string; version: string; url: string; pid: number }

/** What the launcher writes while it runs (`.dev/status.json`). */
export type Stack = {
  ready: boolean
  baseUrl: string
  issuer: string
  parts: Part[]
  apps: { name: string; url: string; healthUrl: string; pid: number }[]
  logins: { username: string; password: string; roles: string[]; note: string }[]
  admin: { username: string; password: string }
}

/** The running stack that `STACK` names, or undefined. */
export function stack(): Stack | undefined {
  const file = process.env['STACK']
  if (file === undefined) return undefined
  return JSON.parse(readFileSync(file, 'utf8')) as Stack
}

/**
 * The addresses of real parts for this test file. When one is missing, the file is skipped with the remedy (and
 * continuous integration treats a skip as a failure).
 */
export function parts<N extends PartName>(t: Test, ...names: N[]): Record<N, string> {
  const running = stack()?.parts ?? []
  const missing = names.filter(name => !running.some(part => part.name === name))
  if (missing.length > 0) {
    t.plan(0, `needs ${missing.join(' and ')}: run \`npx -y pnpm@10.34.9 test\`, which starts them`)
    // tap has no way to leave a file early but to end the process once the plan is written.
    process.exit(0)
  }
  return Object.fromEntries(names.map(name => [name, running.find(part => part.name === name)?.url ?? ''])) as Record<
    N,
    string
  >
}
