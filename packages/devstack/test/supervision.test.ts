import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { keep } from '../src/keeper.ts'
import { isFree } from '../src/ports.ts'
import { commandOf, complete, isAlive, type Program, parentOf, startGuard } from '../src/process.ts'
import { statusFile } from '../src/status.ts'

type Chain = { shells: number[]; launcher: number; port: number; pids: number[]; state: string }

/** npx → pnpm → sh → launcher → server → stray, as far as signals can tell. */
async function startChain(t: Test): Promise<Chain> {
  const state = t.testdir()
  const script = (name: string, line: string) => {
    const file = join(state, name)
    // The exit status keeps the shell from replacing itself by its last command.
    writeFileSync(file, `#!/bin/sh\n${line}\nexit $?\n`)
    chmodSync(file, 0o755)
    return file
  }
  const launcher = join(import.meta.dirname, 'fixture/launcher.ts')
  const plain = script('script', `"${process.execPath}" "${launcher}" "${state}"`)
  const pnpm = script('pnpm', plain)
  const npx = script('npx', pnpm)
  const top = spawn(npx, { stdio: ['ignore', 'pipe', 'ignore'], env: { PATH: process.env['PATH'] } })
  const line = await firstLine(top)
  const facts = JSON.parse(line) as { launcher: number; port: number; pids: number[] }
  const shells: number[] = []
  for (let pid = parentOf(facts.launcher); pid !== undefined && shells.length < 3; pid = parentOf(pid)) {
    shells.unshift(pid)
  }
  t.teardown(() => {
    for (const pid of [...shells, facts.launcher, ...facts.pids]) if (isAlive(pid)) process.kill(pid, 'SIGKILL')
  })
  t.equal(shells[0], top.pid, 'the chain begins with the process we started')
  return { ...facts, shells, state }
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise(resolve => {
    if (child.stdout !== null) createInterface({ input: child.stdout }).once('line', resolve)
  })
}

/** Never 0: a signal to it would reach the tests themselves. */
function known(pid: number | undefined): number {
  if (pid === undefined || pid < 2) throw new Error('there is no such process')
  return pid
}

/** Waits until something holds, at most as long as the guard gives the processes and a little more. */
async function eventually(holds: () => boolean | Promise<boolean>): Promise<boolean> {
  for (let tries = 0; tries < 300; tries++) {
    if (await holds()) return true
    await sleep(50)
  }
  return false
}

t.test('a SIGKILL of any process of the chain leaves no process, no port and no status file', async t => {
  for (const victim of ['npx', 'pnpm', 'script', 'launcher']) {
    await t.test(victim, async t => {
      const chain = await startChain(t)
      t.ok(existsSync(statusFile(chain.state)), 'it runs and says so')
      const index = ['npx', 'pnpm', 'script'].indexOf(victim)
      const pid = index < 0 ? chain.launcher : known(chain.shells[index])
      process.kill(pid, 'SIGKILL')
      const all = [...chain.shells, chain.launcher, ...chain.pids]
      await eventually(() => !all.some(isAlive) && !existsSync(statusFile(chain.state)))
      t.strictSame(all.filter(isAlive).map(commandOf), [])
      t.ok(await isFree(chain.port), 'the port is free')
      t.notOk(existsSync(statusFile(chain.state)), 'the status file is gone')
    })
  }
})

t.test('a SIGTERM stops everything in order', async t => {
  const chain = await startChain(t)
  process.kill(chain.launcher, 'SIGTERM')
  const all = [chain.launcher, ...chain.pids]
  await eventually(() => !all.some(isAlive))
  t.strictSame(all.filter(isAlive).map(commandOf), [])
})

t.test('a guard that was ended is replaced, and still guards', async t => {
  const chain = await startChain(t)
  const guard = known(chain.pids.at(-1))
  process.kill(guard, 'SIGKILL')
  await eventually(() => !isAlive(guard))
  await sleep(300) // the launcher hears of it and starts another
  process.kill(chain.launcher, 'SIGKILL')
  const all = [chain.launcher, ...chain.pids]
  await eventually(() => !all.some(isAlive))
  t.strictSame(all.filter(isAlive).map(commandOf), [])
})

/** A kept process that says its pid, and what is told about it. */
function kept(t: Test, script: string, more: { giveUp?: boolean; patience?: number } = {}) {
  const guard = startGuard(t.testdir())
  const said: string[] = []
  const pids: number[] = []
  const lines: string[] = []
  const program: Program = { name: 'thing', command: process.execPath, args: ['-e', script] }
  const keeper = keep({
    guard,
    name: 'thing',
    program: async () => program,
    answers: async () => {
      if (!lines.includes(`up ${pids.at(-1)}`)) throw new Error('not yet')
    },
    patience: more.patience ?? 20_000,
    giveUp: more.giveUp ?? false,
    onLine: line => lines.push(line),
    onChange: ({ pid, ready }) => {
      if (pid > 0 && !ready) pids.push(pid)
    },
    say: text => said.push(text),
  })
  t.teardown(async () => {
    await keeper.stop()
    await guard.close()
  })
  return { keeper, said, pids, isUp: (index: number) => lines.includes(`up ${pids[index] ?? 0}`) }
}

const steady = 'console.log("up " + process.pid); setInterval(() => {}, 1000)'

t.test('a process that crashed is started again', async t => {
  const { keeper, pids, said, isUp } = kept(t, steady)
  await keeper.started
  process.kill(known(pids[0]), 'SIGKILL')
  t.ok(await eventually(() => isUp(1)), 'another one answers')
  t.match(said.join('\n'), /thing ended with SIGKILL\.\nIt is started again in 0\.25 s/)
})

t.test('a process that was told to stop from outside is started again at once', async t => {
  const { keeper, pids, said, isUp } = kept(t, `process.on('SIGTERM', () => process.exit(0)); ${steady}`)
  await keeper.started
  process.kill(known(pids[0]), 'SIGTERM')
  t.ok(await eventually(() => isUp(1)))
  t.match(said.join('\n'), /started again/)
})

t.test('a restart ends the old process before the new one begins', async t => {
  const { keeper, pids, isUp } = kept(t, steady)
  await keeper.started
  await keeper.restart()
  t.notOk(isAlive(pids[0] ?? 0))
  t.ok(await eventually(() => isUp(1)))
})

t.test('a part that does not start says what, why, and is not tried for ever', async t => {
  const { keeper, pids } = kept(t, 'console.error("the disk is full"); process.exit(3)', { giveUp: true })
  await t.rejects(keeper.started, /thing ended with exit code 3 before it was ready\.\nIt said:\n {2}the disk is full/)
  t.equal(pids.length, 1)
})

t.test('a part that never answers is ended and named', async t => {
  const { keeper, pids } = kept(t, 'setInterval(() => {}, 1000)', { giveUp: true, patience: 300 })
  await t.rejects(keeper.started, /thing does not answer within 0\.3 s/)
  t.ok(await eventually(() => !isAlive(pids[0] ?? 0)))
})

t.test('what stops in spite of SIGTERM is killed after its grace', async t => {
  const guard = startGuard(t.testdir())
  t.teardown(() => guard.close())
  const { run } = await import('../src/process.ts')
  let isUp = false
  const script = `process.on('SIGTERM', () => {}); ${steady}`
  const program = { name: 'stubborn', command: process.execPath, args: ['-e', script], grace: 200 }
  const running = await run(guard, program, () => {
    isUp = true
  })
  await eventually(() => isUp)
  const { signal } = await running.stop()
  t.equal(signal, 'SIGKILL')
})

t.test('a program that fails is named with its last words', async t => {
  const guard = startGuard(t.testdir())
  t.teardown(() => guard.close())
  const program = {
    name: 'a tool',
    command: process.execPath,
    args: ['-e', 'console.error("no luck"); process.exit(9)'],
  }
  await t.rejects(complete(guard, program), /a tool ended with 9:\nno luck/)
  await t.rejects(complete(guard, { ...program, command: '/nowhere/tool' }), /ENOENT/)
})

t.test('nothing of the package manager that started us reaches the programs', async t => {
  const guard = startGuard(t.testdir())
  t.teardown(() => guard.close())
  process.env['npm_config_registry'] = 'x'
  process.env['KC_HOSTNAME'] = 'elsewhere'
  const script = 'console.log(Object.keys(process.env).filter(name => /^(npm_|KC_|TAP)/.test(name)).join())'
  t.equal(await complete(guard, { name: 'env', command: process.execPath, args: ['-e', script] }), '')
})
