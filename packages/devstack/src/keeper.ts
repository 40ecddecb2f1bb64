import { setTimeout as sleep } from 'node:timers/promises'
import { type Exit, type Guard, type Program, type Running, run } from './process.ts'

/** A process that is kept running until it is stopped. */
export type Keeper = {
  /** Milliseconds until it first answered. Rejects when its first start fails; it is tried again all the same. */
  started: Promise<number>
  /** Ends it in an orderly way and starts it again at once. @returns whether it answers again; it is tried on if not */
  restart(): Promise<boolean>
  stop(): Promise<void>
}

export type KeeperOptions = {
  guard: Guard
  name: string
  /** Called before each start. */
  program(): Promise<Program>
  /** Resolves once it answers, asked again and again. */
  answers(): Promise<void>
  /** Milliseconds it may take to answer. */
  patience: number
  /** One start that fails is the end of it: a part that never worked will not work by itself. */
  giveUp?: boolean
  onLine(line: string): void
  /** What it says is shown as it says it, so a message about its end need not repeat it. */
  isShown?: boolean
  onChange(state: { pid: number; ready: boolean; readyMs: number }): void
  say(text: string): void
}

/** Starts a program, waits until it answers, and starts it again whenever it ends without being asked to. */
export function keep(options: KeeperOptions): Keeper {
  const { guard, name, say } = options
  let stopping = false
  let restarting = false
  let hasStarted = false
  let isPreparing = false
  let current: Running | undefined
  let wake = () => {}
  /** How the start after a `restart()` went. */
  let again = Promise.withResolvers<boolean>()
  const first = Promise.withResolvers<number>()
  first.promise.catch(() => {}) // whoever waits for it sees it; it may be nobody

  const life = live()

  async function live(): Promise<void> {
    for (let failures = 0; !stopping; ) {
      const begin = performance.now()
      const problem = await once(begin)
      if (stopping) return
      if (problem === undefined) {
        failures = 0
        continue
      }
      first.reject(problem)
      again.resolve(false)
      if (options.giveUp === true && failures === 0 && !hasStarted) return
      if (performance.now() - begin > 30_000) failures = 0
      failures++
      const pause = Math.min(10_000, 250 * 2 ** (failures - 1))
      const told = options.isShown === true ? (problem.message.split('\n')[0] ?? '') : problem.message
      say(`${told}\nIt is started again in ${pause / 1000} s.`)
      const { promise, resolve } = Promise.withResolvers<void>()
      wake = resolve
      await Promise.race([promise, sleep(pause, undefined, { ref: false })])
    }
  }

  /** One life of the process. @returns why it should not simply be started again */
  async function once(begin: number): Promise<Error | undefined> {
    restarting = false
    let running: Running
    try {
      isPreparing = true
      const program = await options.program()
      isPreparing = false
      if (stopping) return undefined
      running = await run(guard, program, options.onLine)
    } catch (error) {
      isPreparing = false
      return error as Error
    }
    current = running
    if (stopping) {
      await running.stop()
      return undefined
    }
    options.onChange({ pid: running.pid, ready: false, readyMs: 0 })
    const late = await untilReady(running)
    if (late === undefined) {
      const readyMs = Math.round(performance.now() - begin)
      hasStarted = true
      options.onChange({ pid: running.pid, ready: true, readyMs })
      first.resolve(readyMs)
      again.resolve(true)
    } else if (late === 'late') {
      await running.stop()
    }
    const exit = await running.exited
    current = undefined
    options.onChange({ pid: 0, ready: false, readyMs: 0 })
    if (stopping || restarting) return undefined
    if (late === 'late') return failed(`does not answer within ${options.patience / 1000} s`, running)
    if (late === 'ended') return failed(`ended with ${describe(exit)} before it was ready`, running)
    if (exit.code === 0) {
      say('It was ended from outside in good order and is started again.')
      return undefined
    }
    return new Error(`${name} ended with ${describe(exit)}.`)
  }

  async function untilReady(running: Running): Promise<'late' | 'ended' | undefined> {
    const deadline = performance.now() + options.patience
    let ended = false
    void running.exited.then(() => {
      ended = true
    })
    for (;;) {
      if (ended) return 'ended'
      try {
        await options.answers()
        return ended ? 'ended' : undefined
      } catch {
        if (performance.now() > deadline) return 'late'
      }
      await Promise.race([running.exited, sleep(40)])
    }
  }

  const failed = (what: string, running: Running): Error => {
    const said = running.tail().slice(-12)
    return new Error(
      [`${name} ${what}.`, ...(said.length === 0 ? [] : ['It said:', ...said.map(line => `  ${line}`)])].join('\n'),
    )
  }

  return {
    started: first.promise,
    async restart() {
      restarting = true
      again = Promise.withResolvers()
      wake()
      await current?.stop()
      return again.promise
    },
    async stop() {
      stopping = true
      again.resolve(false)
      wake()
      await current?.stop()
      // A preparation (a download, a first import) is not waited for; what it runs ends with the guard.
      if (!isPreparing) await life
    },
  }
}

const describe = ({ code, signal }: Exit): string => (signal === null ? `exit code ${code}` : signal)
