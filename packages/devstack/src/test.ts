import { createWriteStream, existsSync, globSync, readFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { developmentState, root, untilAsked } from './dev.ts'
import { type Flag, help, readFlags } from './flags.ts'
import { type PartName, partNames } from './parts/part.ts'
import { removeCluster } from './parts/postgres.ts'
import { installSystemPackages } from './parts/system.ts'
import { chosen, type Plan, readReplicas } from './plan.ts'
import { freePorts } from './ports.ts'
import { type Guard, ignoreBrokenPipe, run, startGuard } from './process.ts'
import { type Missing, type Stack, startStack } from './stack.ts'
import { readStatus, statusFile } from './status.ts'
import { createTally, type TestResult } from './tally.ts'
import { readable, type Terminal, terminal } from './terminal.ts'

const flags: Record<string, Flag> = {
  replicas: { value: 'bff=N', text: 'processes of the edge (default: bff=3)' },
  help: { text: 'this text' },
}

const usage = `Starts the bank beside whatever else runs, with fresh data and ports of its own, and runs its tests.

  npx -y pnpm@10.34.9 test                                all of them
  npx -y pnpm@10.34.9 test 'services/payment/**/*.test.ts'   some, with the parts that they ask for
  npx -y pnpm@10.34.9 snap                                all of them, writing tap-snapshots/ anew

STACK=<status file> uses a running stack instead. With CI=true a skipped test counts as failed.`

const usualState = join(developmentState, 'test')

/** In the order they run: side by side on the parts first, then what needs the whole bank and takes it apart. */
const suites = ['{bff,services/*,packages/*}/test/**/*.test.ts', 'test/*.test.ts']
const journeys = ['test/journeys/**/*.test.ts', 'test/faults/**/*.test.ts']
/** What takes the bank apart comes last. */
const rank = (file: string): number => (file.startsWith('test/faults/') ? 2 : isJourney(file) ? 1 : 0)
const isJourney = (file: string): boolean => /^test\/(journeys|faults)\//.test(file)

/** `pnpm test` and `pnpm snap`. */
export async function main(args: readonly string[]): Promise<void> {
  const screen = terminal()
  ignoreBrokenPipe(process.stdout, process.stderr)
  try {
    const { switches, values, rest } = readFlags(args, flags)
    if (switches.has('help')) return screen.say(help(usage, flags))
    process.exitCode = await runAll(rest, readReplicas(values.get('replicas')) ?? 3, screen)
  } catch (error) {
    screen.say(screen.style('red', (error as Error).message))
    screen.say('0 passed, 1 failed')
    process.exitCode = 1
  }
  process.exit()
}

/** @returns the exit code */
async function runAll(globs: readonly string[], replicas: number, screen: Terminal): Promise<number> {
  const end = untilAsked()
  const files = globSync(globs.length > 0 ? [...globs] : [...suites, ...journeys], { cwd: root })
    .map(file => relative(root, resolve(root, file)))
    .filter(file => file.endsWith('.test.ts') && !file.includes('node_modules'))
    .sort((a, b) => rank(a) - rank(b) || a.localeCompare(b))
  if (files.length === 0)
    throw new Error(`No test file matches ${globs.join(' ')}. Quote globs: 'packages/auth/**/*.test.ts'`)

  const guard = startGuard(join(developmentState, 'runner'))
  if (files.some(isJourney)) await prepareChromium(guard, screen)
  const given = process.env['STACK']
  const { stack, state } =
    given === undefined ? await provide(files, globs.length > 0, replicas, screen) : { stack: undefined, state: '' }
  const missing = stack?.missing ?? []
  const results: TestResult[] = []
  let asked = false
  void end.asked.then(() => {
    asked = true
  })
  try {
    try {
      if (stack !== undefined) await Promise.race([stack.healthy, end.asked])
    } catch (error) {
      // The tests that need what does not start will say so; the others are worth running.
      screen.say(screen.style('red', (error as Error).message))
      results.push({ file: 'the bank', name: 'starts', outcome: 'failed', reason: '' })
    }
    const options = { guard, environment: { STACK: given ?? statusFile(state) }, screen, asked: end.asked }
    for (const order of [0, 1, 2]) {
      const group = files.filter(file => rank(file) === order)
      const more = order === 0 ? [] : ['--jobs=1', '--timeout=240']
      if (group.length === 0 || asked) continue
      if (order > 0 && missing.length > 0) results.push(...group.map(file => skipped(file, missing)))
      else results.push(...(await runTap(group, more, options)))
    }
  } finally {
    await stack?.stop()
    await guard.close()
    if (state !== '' && state !== usualState) {
      await removeCluster(state)
      await rm(state, { recursive: true, force: true })
    }
  }
  if (asked) {
    screen.say('Interrupted.')
    return 130
  }
  return conclude(results, missing, state, screen)
}

/** What the browser of the journeys links to. Without it they say what is missing. */
async function prepareChromium(guard: Guard, screen: Terminal): Promise<void> {
  const site = { state: developmentState, guard, environment: process.env, progress: screen.progress }
  await installSystemPackages(site, 'chromium').catch((error: Error) =>
    screen.say(screen.style('yellow', error.message)),
  )
}

const skipped = (file: string, missing: readonly Missing[]): TestResult => ({
  file,
  name: file,
  outcome: 'skipped',
  reason: missing.map(({ name }) => `${name} is missing`).join(', '),
})

/** Starts what the files ask for, with data and ports of its own. */
async function provide(
  files: readonly string[],
  isSelection: boolean,
  replicas: number,
  screen: Terminal,
): Promise<{ stack: Stack; state: string }> {
  const isTaken = readStatus(statusFile(usualState)) !== undefined
  const state = isTaken ? `${usualState}-${process.pid}` : usualState
  const needs = isSelection ? partsOf(files) : 'all'
  const names = needs === 'all' ? chosen(root, []) : needs.length === 0 ? { parts: [], apps: [] } : chosen(root, needs)
  const plan: Plan = {
    root,
    state,
    ports: await freePorts(),
    ...names,
    replicas,
    rotate: false,
    watch: false,
    tolerant: true,
    fresh: true,
  }
  await mkdir(state, { recursive: true })
  const log = createWriteStream(logFile(state), { flags: 'w', mode: 0o600 })
  const quiet = {
    ...screen,
    log: (source: string, line: string) => void log.write(`${source.padEnd(12)} | ${readable(line)}\n`),
  }
  const stack = await startStack(plan, quiet)
  return { stack, state }
}

/** Beside the state folder, which is emptied at each start. */
const logFile = (state: string): string => `${state}.log`

/**
 * The parts that test files ask for: `parts(t, 'redis')`, `testDatabase` (PostgreSQL), `testTransport` (Kafka), in the
 * files themselves or in what they import from beside them. Journeys and whoever asks for the running bank get it all.
 */
export function partsOf(files: readonly string[]): PartName[] | 'all' {
  const found = new Set<PartName>()
  const seen = new Set<string>()
  const queue = files.map(file => resolve(root, file))
  for (const file of queue) {
    if (seen.has(file) || !existsSync(file)) continue
    seen.add(file)
    const text = readFileSync(file, 'utf8')
    if (isJourney(relative(root, file)) || /\b(runningBank|signIn|personToken|stack)\(/.test(text)) return 'all'
    if (/\btestDatabase\(/.test(text)) found.add('postgres')
    if (/\btestTransport\(/.test(text)) found.add('kafka')
    for (const [, list = ''] of text.matchAll(/\bparts\(([^)]*)\)/g)) {
      for (const name of partNames) if (list.includes(`'${name}'`)) found.add(name)
    }
    for (const [, path = ''] of text.matchAll(/from '(\.{1,2}\/[^']+)'/g)) {
      const target = resolve(dirname(file), path)
      if (/\/test\//.test(target)) queue.push(target)
    }
  }
  return [...found]
}

type RunOptions = {
  guard: Guard
  environment: Record<string, string>
  screen: Terminal
  asked: Promise<void>
}

/** Runs files with tap, telling each as it ends. */
async function runTap(files: readonly string[], more: readonly string[], options: RunOptions): Promise<TestResult[]> {
  const { screen } = options
  const tally = createTally(
    (result, details) => {
      screen.say(screen.style('red', `✗ ${result.file} › ${result.name}`))
      for (const line of details.slice(0, 60)) screen.say(`  ${line}`)
    },
    ({ file, failed, passed, skipped: left, ms }) => {
      const counts = [
        `${passed} passed`,
        ...(failed > 0 ? [`${failed} failed`] : []),
        ...(left > 0 ? [`${left} skipped`] : []),
      ]
      const sign =
        failed > 0 ? screen.style('red', '✗') : left > 0 ? screen.style('yellow', '-') : screen.style('green', '✓')
      screen.say(`${sign} ${file}  ${screen.style('gray', `${counts.join(', ')}, ${(ms / 1000).toFixed(1)} s`)}`)
    },
  )
  const isSnapshot = process.env['npm_lifecycle_event'] === 'snap' || process.env['TAP_SNAPSHOT'] === '1'
  const tap = await run(
    options.guard,
    {
      name: 'tap',
      command: process.execPath,
      args: [join(root, 'node_modules/tap/dist/esm/run.mjs'), '--reporter=tap', ...more, ...files],
      cwd: root,
      stderr: 'inherit', // a file that crashes says why there
      env: {
        ...options.environment,
        ...(isSnapshot ? { TAP_SNAPSHOT: '1' } : {}),
      },
    },
    tally.line,
  )
  void options.asked.then(() => tap.stop())
  const { code, signal } = await tap.exited
  const { results } = tally
  if (code !== 0 && !results.some(({ outcome }) => outcome === 'failed')) {
    screen.say([`tap itself ended with ${code ?? signal}:`, ...tap.tail().slice(-20)].join('\n  '))
    results.push({ file: 'tap', name: 'ends in good order', outcome: 'failed', reason: '' })
  }
  // After a file that ran out of time tap may leave out others (21.8). They are run again, once.
  const silent = files.filter(file => !results.some(result => result.file === file))
  if (silent.length > 0 && silent.length < files.length) results.push(...(await runTap(silent, more, options)))
  else {
    for (const file of silent) {
      screen.say(screen.style('red', `✗ ${file} was not run`))
      results.push({ file, name: 'is run', outcome: 'failed', reason: '' })
    }
  }
  return results
}

function conclude(
  results: readonly TestResult[],
  missing: readonly Missing[],
  state: string,
  screen: Terminal,
): number {
  const of = (outcome: TestResult['outcome']) => results.filter(result => result.outcome === outcome)
  const left = of('skipped')
  if (left.length > 0) {
    screen.say('\nSkipped:')
    for (const { file, name, reason } of left) screen.say(`  ${name === file ? file : `${file} › ${name}`}: ${reason}`)
    for (const { name, remedy } of missing) screen.say(`  To have ${name}: ${remedy}`)
  }
  const failed = of('failed')
  if (failed.length > 0) {
    screen.say('\nFailed:')
    for (const { file, name } of failed) screen.say(`  ${file} › ${name}`)
    if (state !== '') screen.say(`What the parts and apps said is in ${relative(root, logFile(state))}.`)
  }
  const isStrict = process.env['CI'] !== undefined && !['', '0', 'false'].includes(process.env['CI'])
  const bad = failed.length + (isStrict ? left.length : 0)
  if (isStrict && left.length > 0) screen.say(`\n${left.length} skipped: counted as failed, since CI is set.`)
  const skips = !isStrict && left.length > 0 ? `, ${left.length} skipped` : ''
  screen.say(`\n${of('passed').length} passed, ${bad} failed${skips}`)
  return bad > 0 ? 1 : 0
}
