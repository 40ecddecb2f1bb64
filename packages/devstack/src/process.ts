import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'

/** What the launcher tells its guard, one JSON document a line. */
export type GuardMessage =
  | { mark: string }
  | { file: string; pid: number }
  | { group: number; signal: NodeJS.Signals }
  | { gone: number }

/** Ends every registered process group when the launcher is gone, however it went. */
export type Guard = {
  pid(): number
  /** Put into each child's environment, so that the guard finds what left its group. */
  environment: Readonly<Record<string, string>>
  watch(group: number, signal: NodeJS.Signals): void
  forget(group: number): void
  /** A status file that must not outlive the launcher. */
  remove(file: string): void
  /** Nothing may be started any more. */
  isClosing(): boolean
  /** Ends the guard; what is still registered ends with it. */
  close(): Promise<void>
}

/** A program to run in its own process group. */
export type Program = {
  name: string
  command: string
  args: readonly string[]
  cwd?: string
  env?: Readonly<Record<string, string | undefined>>
  /** User and group to run as; only root may choose. */
  owner?: number | undefined
  /** `inherit` shows it as it is; by default it is read line by line like the output. */
  stderr?: 'inherit'
  /** What asks it to end in an orderly way; SIGTERM by default. */
  stopSignal?: NodeJS.Signals
  /** Milliseconds until SIGKILL follows. */
  grace?: number
}

export type Exit = { code: number | null; signal: NodeJS.Signals | null }

export type Running = {
  pid: number
  exited: Promise<Exit>
  /** Its last lines, for the message about why it did not work. */
  tail(): readonly string[]
  stop(): Promise<Exit>
}

/** The variable that marks every process of a run, whatever its group. */
export const markName = 'BANKING_STACK'

/** Variables that belong to the package manager that started us, not to the bank. */
const foreign = /^(npm_|INIT_CWD$|NODE_OPTIONS$|TAP|_TAP|JAVA_OPTS|KC_)/

/** Starts the guard; call it before the first {@link run}. */
export function startGuard(state: string): Guard {
  const value = `${state}#${process.pid}.${Date.now()}`
  const mark = `${markName}=${value}`
  const messages = new Map<string, GuardMessage>()
  let closing = false
  let child = start()

  function start(): ChildProcess {
    const guard = spawn(process.execPath, [fileURLToPath(new URL('guard.ts', import.meta.url))], {
      detached: true,
      cwd: '/',
      stdio: ['pipe', 'ignore', 'ignore'],
      env: { PATH: process.env['PATH'] ?? '' },
    })
    guard.stdin?.on('error', () => {})
    guard.stdin?.write(`${JSON.stringify({ mark })}\n`)
    for (const message of messages.values()) guard.stdin?.write(`${JSON.stringify(message)}\n`)
    // Somebody ended the guard: without one a SIGKILL of the launcher would leave everything running.
    guard.once('exit', () => {
      if (!closing) child = start()
    })
    return guard
  }
  const tell = (key: string, message: GuardMessage) => {
    if ('gone' in message) messages.delete(`group ${message.gone}`)
    else messages.set(key, message)
    child.stdin?.write(`${JSON.stringify(message)}\n`)
  }
  return {
    pid: () => child.pid ?? 0,
    environment: { [markName]: value },
    watch: (group, signal) => tell(`group ${group}`, { group, signal }),
    forget: group => tell(`gone ${group}`, { gone: group }),
    remove: file => tell(`file ${file}`, { file, pid: process.pid }),
    isClosing: () => closing,
    close: () =>
      new Promise(resolve => {
        closing = true
        child.once('exit', () => resolve())
        child.stdin?.end()
      }),
  }
}

/**
 * Runs a program in a process group of its own: a Ctrl-C in the terminal reaches only the launcher, which ends its
 * children in order.
 * @param onLine every line of its output
 * @throws Error when there is no such program
 */
export async function run(guard: Guard, program: Program, onLine: (line: string) => void = () => {}): Promise<Running> {
  if (guard.isClosing()) throw new Error(`${program.name} is not started: everything stops.`)
  const inherited = Object.entries(process.env).filter(([name]) => !foreign.test(name))
  const child = spawn(program.command, program.args, {
    detached: true,
    ...(program.cwd === undefined ? {} : { cwd: program.cwd }),
    env: { ...Object.fromEntries(inherited), ...program.env, ...guard.environment },
    ...(program.owner === undefined ? {} : { uid: program.owner, gid: program.owner }),
    stdio: ['ignore', 'pipe', program.stderr ?? 'pipe'],
  })
  const { pid } = child
  if (pid === undefined) {
    throw await new Promise<Error>(resolve => child.once('error', resolve))
  }
  const stopSignal = program.stopSignal ?? 'SIGTERM'
  guard.watch(pid, stopSignal)
  const last: string[] = []
  const read = (stream: Readable) =>
    createInterface({ input: stream }).on('line', line => {
      last.push(line)
      if (last.length > 40) last.shift()
      onLine(line)
    })
  if (child.stdout !== null) read(child.stdout)
  if (child.stderr !== null) read(child.stderr)
  const exited = new Promise<Exit>(resolve => {
    child.once('exit', (code, signal) => {
      signalGroup(pid, 'SIGKILL')
      guard.forget(pid)
      // Its last words may still be in the pipe; a stray that inherited the pipe is not waited for.
      const done = () => resolve({ code, signal })
      const timer = setTimeout(done, 500)
      child.once('close', () => {
        clearTimeout(timer)
        done()
      })
    })
  })
  return {
    pid,
    exited,
    tail: () => last,
    stop: async () => {
      signalGroup(pid, stopSignal)
      const timer = setTimeout(() => signalGroup(pid, 'SIGKILL'), program.grace ?? 10_000)
      const exit = await exited
      clearTimeout(timer)
      return exit
    },
  }
}

/**
 * Runs a program to its end.
 * @returns its output
 * @throws Error with its last lines unless it exits with 0
 */
export async function complete(
  guard: Guard,
  program: Program,
  onLine: (line: string) => void = () => {},
): Promise<string> {
  const lines: string[] = []
  const running = await run(guard, program, line => {
    lines.push(line)
    onLine(line)
  })
  const { code, signal } = await running.exited
  if (code === 0) return lines.join('\n')
  throw new Error(`${program.name} ended with ${code ?? signal}:\n${running.tail().slice(-15).join('\n')}`)
}

/** Sends a signal to a whole group. A group that is gone already is what was wanted. */
function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Whether a process is running; one that has ended and waits to be collected is not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  return stat(pid)?.state !== 'Z'
}

type Stat = { state: string; parent: number; started: string }

/** What /proc knows of a process; nothing on systems without it. */
function stat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0] ?? '', parent: Number(fields[1]), started: fields[19] ?? '' }
  } catch {
    return undefined
  }
}

/** The parent of a process; undefined when there is no such process. */
export function parentOf(pid: number): number | undefined {
  const parent = stat(pid)?.parent ?? Number(ps(pid, 'ppid='))
  return Number.isInteger(parent) && parent > 0 ? parent : undefined
}

/** The command line of a process, empty when there is none. */
export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
  } catch {
    return process.platform === 'linux' ? '' : ps(pid, 'command=')
  }
}

function ps(pid: number, column: string): string {
  const { stdout } = spawnSync('ps', ['-o', column, '-p', String(pid)], { encoding: 'utf8' })
  return (stdout ?? '').trim()
}

/**
 * Watches the chain of parents up to the topmost package runner (npx → sh → pnpm → sh → us). A signal to one of them
 * often reaches nobody else, so whoever ends first ends all.
 * @param onBroken called once
 */
export function watchParents(onBroken: () => void): () => void {
  const chain = parents()
  if (chain.length === 0) return () => {}
  const { ppid } = process
  const timer = setInterval(() => {
    const whole =
      process.ppid === ppid && chain.every(({ pid, started }) => isAlive(pid) && stat(pid)?.started === started)
    if (whole) return
    clearInterval(timer)
    onBroken()
  }, 250)
  timer.unref()
  return () => clearInterval(timer)
}

function parents(): { pid: number; started: string | undefined }[] {
  const all: { pid: number; started: string | undefined; isRunner: boolean }[] = []
  for (
    let pid: number | undefined = process.ppid;
    pid !== undefined && pid > 1 && all.length < 12;
    pid = parentOf(pid)
  ) {
    const isRunner = /\b(npx|npm|pnpm|pnpx)\b/.test(commandOf(pid))
    all.push({ pid, started: stat(pid)?.started, isRunner })
  }
  const top = all.findLastIndex(({ isRunner }) => isRunner)
  return all.slice(0, top + 1)
}

/** A pipe that nobody reads any more must not end us before everything is stopped. */
export function ignoreBrokenPipe(...streams: Writable[]): void {
  for (const stream of streams) {
    stream.on('error', error => {
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error
    })
  }
}
