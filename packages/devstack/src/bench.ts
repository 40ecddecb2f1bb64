import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { type Flag, help, unknown } from './flags.ts'

const suffix = '.bench.ts'
const folder = resolve(import.meta.dirname, '../../../bench')

const flags: Record<string, Flag> = { help: { text: 'this text; any other flag is the benchmark’s own' } }

const usage = (
  names: readonly string[],
) => `Measures ratios beside a running dev. bench/README.md has conditions, flags and figures.

  npx -y pnpm@10.34.9 bench                  all of them
  npx -y pnpm@10.34.9 bench edge [flags]     one of them: ${names.join(', ')}`

/** `pnpm bench [name …]`: runs `bench/<name>.bench.ts`, all of them without a name. Each states what it needs. */
export async function main(args: readonly string[]): Promise<void> {
  const names = existsSync(folder)
    ? readdirSync(folder)
        .filter(file => file.endsWith(suffix))
        .map(file => basename(file, suffix))
    : []
  if (args.includes('--help')) return console.log(help(usage(names), flags))
  // What follows the first flag is the benchmark's own.
  const at = args.findIndex(arg => arg.startsWith('-'))
  const wanted = at === -1 ? args : args.slice(0, at)
  for (const name of wanted) {
    if (names.includes(name)) continue
    console.error(unknown(name, names))
    process.exitCode = 1
    return
  }
  const own = at === -1 ? [] : args.slice(at)
  for (const name of wanted.length === 0 ? names : wanted) {
    const child = spawn(process.execPath, [join(folder, name + suffix), ...own], { stdio: 'inherit' })
    const code = await new Promise<number>(done =>
      child.once('exit', (status, signal) => done(signal ? 1 : (status ?? 1))),
    )
    if (code !== 0) process.exitCode = code
  }
}
