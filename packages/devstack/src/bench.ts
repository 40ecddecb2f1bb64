import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { unknown } from './flags.ts'

const suffix = '.bench.ts'
const folder = resolve(import.meta.dirname, '../../../bench')

/** `pnpm bench [name …]`: runs `bench/<name>.bench.ts`, all of them without a name. Each states what it needs. */
export async function main(args: readonly string[]): Promise<void> {
  const names = existsSync(folder)
    ? readdirSync(folder)
        .filter(file => file.endsWith(suffix))
        .map(file => basename(file, suffix))
    : []
  // What follows the first flag is the benchmark's own.
  const at = args.findIndex(arg => arg.startsWith('-'))
  const wanted = at === -1 ? args : args.slice(0, at)
  for (const name of wanted) {
    if (names.includes(name)) continue
    console.error(unknown(name, names))
    process.exitCode = 1
    return
  }
  const flags = at === -1 ? [] : args.slice(at)
  for (const name of wanted.length === 0 ? names : wanted) {
    const child = spawn(process.execPath, [join(folder, name + suffix), ...flags], { stdio: 'inherit' })
    const code = await new Promise<number>(done =>
      child.once('exit', (status, signal) => done(signal ? 1 : (status ?? 1))),
    )
    if (code !== 0) process.exitCode = code
  }
}
