import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { apps } from '@banking/contracts'
import t, { type Test } from 'tap'
import { help, readFlags } from '../src/flags.ts'
import { cached, java } from '../src/parts/artifacts.ts'
import type { Site } from '../src/parts/part.ts'
import { installSystemPackages } from '../src/parts/system.ts'
import { instancesOf, type Plan, wantedPorts } from '../src/plan.ts'
import { claimPorts, developmentPorts, freePorts, isFree } from '../src/ports.ts'
import { startGuard } from '../src/process.ts'
import { readStatus, type Status, statusFile, writeStatus } from '../src/status.ts'
import { createTally } from '../src/tally.ts'
import { readable, terminal } from '../src/terminal.ts'
import { partsOf } from '../src/test.ts'

const bin = resolve(import.meta.dirname, '../bin')
const command = (name: string, ...args: string[]) =>
  spawnSync(process.execPath, [join(bin, `${name}.js`), ...args], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] },
  })

t.test('an unknown flag is refused with the nearest name', async t => {
  const { status, stdout } = command('dev', '--onyl', 'redis')
  t.equal(status, 1)
  t.match(stdout, 'There is no --onyl. Did you mean --only?')
})

t.test('an unknown part or app is refused with the nearest name', async t => {
  const { status, stdout } = command('dev', '--only', 'redsi,payment')
  t.equal(status, 1)
  t.match(stdout, 'There is no redsi. Did you mean redis?')
})

t.test('a token lifetime that is no whole number of seconds is refused', async t => {
  for (const value of ['0', '-5', '1.5', 'soon']) {
    const { status, stdout } = command('dev', `--token-seconds=${value}`)
    t.equal(status, 1, value)
    t.match(stdout, /--token-seconds needs a whole number of seconds/)
  }
})

t.test('replicas of anything but the edge, or of no sensible number, are refused', async t => {
  for (const value of ['3', 'bff', 'bff=0', 'bff=10', 'bff=-1', 'bff=three', 'bff=3,payment=2']) {
    const { status, stdout } = command('dev', `--replicas=${value}`)
    t.equal(status, 1, value)
    t.match(stdout, `--replicas needs bff=<1 to 9>, for example bff=3, not ${value}.`)
  }
  const { status, stdout } = command('dev', '--replicas', 'payment=2')
  t.equal(status, 1)
  t.match(stdout, '--replicas knows bff alone: payment runs as one process here.')
})

t.test('replicas have names and ports of their own, and one process has the app’s', async t => {
  const plan = { ports: developmentPorts, replicas: 3, apps: ['bff'] } as unknown as Plan
  t.same(instancesOf(plan, 'bff'), [
    { name: 'bff-1', port: 3201 },
    { name: 'bff-2', port: 3202 },
    { name: 'bff-3', port: 3203 },
  ])
  t.same([...wantedPorts(plan, []).keys()].sort(), [3000, 3201, 3202, 3203, 3701, 3702, 3703, 4201, 4202, 4203])
  t.same(instancesOf({ ...plan, replicas: 1 }, 'bff'), [{ name: 'bff', port: 3000 }])
  t.same(instancesOf(plan, 'payment'), [{ name: 'payment', port: 3030 }])
})

t.test('--help names every flag and exits with 0', async t => {
  const { status, stdout } = command('dev', '--help')
  t.equal(status, 0)
  for (const flag of ['--only', '--ci', '--reset', '--token-seconds', '--rotate', '--replicas']) t.match(stdout, flag)
})

t.test('bench --help names the benchmarks and runs none', async t => {
  const { status, stdout, stderr } = command('bench', '--help')
  t.equal(status, 0)
  t.match(stdout, /: edge, hostile, transfers\n/)
  t.equal(stderr, '')
})

t.test('the tools say how to start the bank when it does not run', async t => {
  for (const [name = '', ...args] of [
    ['token', 'alice', 'payment'],
    ['session', 'alice'],
  ]) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(bin, `${name}.js`), ...args], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], STACK: join(t.testdir(), 'status.json') },
    })
    t.equal(status, 1)
    t.equal(stdout, '', 'nothing that a script could take for a token')
    t.match(stderr, 'The bank is not running. Start it: npx -y pnpm@10.34.9 dev')
  }
})

t.test('flags are read with and without an equals sign', async t => {
  const flags = { only: { value: 'a,b', text: '' }, ci: { text: '' } }
  const given = readFlags(['--', '--only=redis', '--ci', 'rest'], flags)
  t.equal(given.values.get('only'), 'redis')
  t.ok(given.switches.has('ci'))
  t.strictSame(given.rest, ['rest'])
  t.throws(() => readFlags(['--only'], flags), /--only needs a value/)
  t.throws(() => readFlags(['--only', '--ci'], flags), /--only needs a value/)
  t.throws(() => readFlags(['--ci=yes'], flags), /--ci takes no value/)
  t.match(help('usage', flags), /--only a,b/)
})

t.test('a taken port is named with its owner and the remedy', async t => {
  const server = createServer()
  const port = await new Promise<number>(done => {
    server.listen(0, '127.0.0.1', () => done((server.address() as { port: number }).port))
  })
  t.teardown(() => server.close())
  await t.rejects(
    claimPorts(new Map([[port, 'redis']]), t.testdir()),
    new RegExp(
      `Port ${port}, which redis needs, is taken by process ${process.pid}: .*node.*Stop it \\(kill ${process.pid}\\)`,
    ),
  )
})

t.test('free ports are free, different, and below the short-lived ones', async t => {
  const { apps: byApp, replicas, ...parts } = await freePorts()
  const all = [...Object.values(parts), ...[...Object.values(byApp), ...replicas].flatMap(port => [port, port + 1000])]
  t.equal(new Set(all).size, all.length)
  for (const port of all) {
    t.ok(port < 32_768)
    t.ok(await isFree(port))
  }
})

t.test('the ports of development follow the list of apps', async t => {
  for (const { name, port } of apps) t.equal(developmentPorts.apps[name], port)
})

t.test('the status file is for its owner alone, and stale without its launcher', async t => {
  const state = t.testdir()
  const status = { ready: true, pid: process.pid } as Status
  await writeStatus(state, status)
  const file = statusFile(state)
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.strictSame(readdirSync(state), ['status.json'], 'no draft is left')
  t.match(readStatus(file), { ready: true })
  await writeStatus(state, { ...status, pid: 2 ** 22 })
  t.equal(readStatus(file), undefined)
  await writeStatus(state, { ...status, pid: 1 })
  t.equal(readStatus(file), undefined, 'a number that another program has now')
  t.equal(readStatus(join(state, 'none.json')), undefined)
  writeFileSync(file, '{')
  t.throws(() => readStatus(file))
})

t.test('a folder of the cache appears whole or not at all', async t => {
  const home = t.testdir()
  const site = { environment: { XDG_CACHE_HOME: home } } as unknown as Site
  const folder = join(home, 'zero-trust-banking')
  await t.rejects(
    cached(site, 'thing-1', async draft => {
      writeFileSync(join(draft, 'half'), '')
      throw new Error('the line was cut')
    }),
    /the line was cut/,
  )
  t.strictSame(readdirSync(folder), [], 'nothing is left of it')
  let fills = 0
  const fill = async (draft: string) => {
    fills++
    writeFileSync(join(draft, 'whole'), '')
  }
  const path = await cached(site, 'thing-1', fill)
  t.ok(existsSync(join(path, 'whole')))
  t.equal(await cached(site, 'thing-1', fill), path)
  t.equal(fills, 1, 'it is made once')
})

t.test('a line of the apps’ JSON is made readable', async t => {
  const time = '2026-11-24T21:44:54.862Z'
  const line = JSON.stringify({ level: 'info', time, app: 'payment', msg: 'request', status: 200, route: '/x y' })
  t.equal(readable(line), '21:44:54.862 info  request status=200 route="/x y"')
  const err = { type: 'Error', message: 'no', stack: 'Error: no\n    at here' }
  t.equal(
    readable(JSON.stringify({ level: 'error', time, msg: 'failed', err })),
    '21:44:54.862 error failed\n  Error: no\n  at here',
  )
  for (const other of ['plain text', '{broken', '{"no":"level"}', '']) t.equal(readable(other), other)
})

t.test('output is plain where nobody watches, and where colours are not wanted', async t => {
  const written: string[] = []
  const stream = (isTTY: boolean) =>
    ({ isTTY, write: (text: string) => written.push(text) }) as unknown as NodeJS.WriteStream
  terminal(stream(false), {}).log('redis', 'hello')
  terminal(stream(true), { NO_COLOR: '1' }).log('redis', 'hello')
  t.strictSame(written, ['redis        | hello\n', 'redis        | hello\n'])
  terminal(stream(true), {}).log('redis', 'hello')
  t.ok(written.at(-1)?.includes('\u001b['))
})

t.test('tests are counted: passed, failed, skipped, crashed', async t => {
  const said: string[] = []
  const files: object[] = []
  const tally = createTally(
    ({ file, name }, details) => said.push(`${file} ${name}: ${details.join(' / ')}`),
    result => files.push(result),
  )
  const output = `TAP version 14
1..4
# Subtest: a.test.ts
    # Subtest: adds
        ok 1 - should be equal
        not ok 2 - two is three
          ---
          diff: |
            -3
            +2
          source: |
            ok 1 - not a result
          ...
        1..2
    not ok 1 - adds # time=9ms
      ---
      at: there
      ...
    ok 2 - waits # SKIP needs kafka
    # Subtest: greets
        ok 1 - hello
        1..1
    ok 3 - greets # time=1ms
    not ok 4 - a bare assertion
      ---
      found: 1
      ...
    1..4
not ok 1 - a.test.ts # time=139.013ms
  ---
  exitCode: 1
  ...
# Subtest: crashed.test.ts
    1..0
not ok 2 - crashed.test.ts # time=3ms
# Subtest: left.test.ts
    1..0 # needs redis
ok 3 - left.test.ts # SKIP needs redis
# Subtest: empty.test.ts
    1..0
ok 4 - empty.test.ts # time=1ms`
  for (const line of output.split('\n')) tally.line(line)
  t.strictSame(
    tally.results.map(({ file, name, outcome, reason }) => [file, name, outcome, reason].join(' | ')),
    [
      'a.test.ts | adds | failed | ',
      'a.test.ts | waits | skipped | needs kafka',
      'a.test.ts | greets | passed | ',
      'a.test.ts | a bare assertion | failed | ',
      'crashed.test.ts | the file itself | failed | ',
      'left.test.ts | left.test.ts | skipped | needs redis',
      'empty.test.ts | has no tests | failed | ',
    ],
  )
  t.match(said[0], /two is three .*-3 .*\+2/)
  t.match(said[1], /a bare assertion: .*found: 1/)
  t.strictSame(files[0], { file: 'a.test.ts', ok: false, passed: 1, failed: 2, skipped: 1, ms: 139.013 })
})

t.test('a selection of tests starts what its files ask for', async t => {
  const folder = t.testdir({
    test: {
      'plain.test.ts': "import t from 'tap'",
      'shop.test.ts': "import { shop } from './shop.ts'\nparts(t, 'redis')",
      'shop.ts': 'export const shop = testDatabase(t)',
      'whole.test.ts': 'const bank = runningBank()',
    },
  })
  const file = (name: string) => join(folder, 'test', name)
  t.strictSame(partsOf([file('plain.test.ts')]), [])
  t.strictSame(new Set(partsOf([file('shop.test.ts')])), new Set(['redis', 'postgres']))
  t.equal(partsOf([file('whole.test.ts')]), 'all')
})

/** A system with nothing but programs that write down how they were called; `apt-get install` brings a java and a mvn. */
async function bareSystem(t: Test, programs: readonly string[]) {
  const folder = t.testdir()
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  const calls = join(folder, 'calls')
  writeFileSync(calls, '')
  const program = (name: string, text: string) => {
    writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`)
    chmodSync(join(bin, name), 0o755)
  }
  const note = `echo "$(/usr/bin/basename "$0") $*" >> '${calls}'`
  const java = 'echo \'openjdk version "17.0.18"\''
  const scripts: Record<string, string> = {
    // What is asked of the two is answered as on Debian 12, where nothing is installed yet.
    'dpkg-query': 'exit 1',
    'apt-cache': 'case "$2" in openjdk-21*|*t64) exit 100;; *) echo "Package: $2";; esac',
    'apt-get': `${note}\n[ "$1" = install ] || exit 0\necho 'Setting up things (1.0) ...'
printf '#!/bin/sh\\n%s\\n' '${java.replaceAll("'", "'\\''")}' > '${bin}/java'; /bin/chmod +x '${bin}/java'`,
  }
  for (const name of programs) program(name, scripts[name] ?? '')
  const told: string[] = []
  const guard = startGuard(join(folder, 'state'))
  t.teardown(() => guard.close())
  const site: Site = {
    state: folder,
    guard,
    environment: { PATH: bin },
    progress: (source, text) => void told.push(`${source}: ${text}`),
  }
  return { site, bin, told, calls: () => readFileSync(calls, 'utf8').trim().split('\n').filter(Boolean) }
}
const isRoot = process.getuid?.() === 0

t.test('Java is installed where that may be done without asking anybody, and that is said', async t => {
  const { site, bin, told, calls } = await bareSystem(t, ['apt-get', 'apt-cache', 'dpkg-query'])
  if (isRoot) {
    t.equal(await java(site), join(bin, 'java'))
    t.same(calls(), ['apt-get update -qq', 'apt-get install -y --no-install-recommends openjdk-17-jre-headless'])
    t.match(told, [
      'apt-get: reading the lists of packages …',
      'apt-get: installing openjdk-17-jre-headless …',
      'apt-get: Setting up things (1.0) ...',
      'apt-get: installed openjdk-17-jre-headless',
    ])
    t.equal(await java(site), join(bin, 'java'))
    t.equal(calls().length, 2, 'once')
  } else {
    await t.rejects(java(site), /Install it: sudo apt-get install -y openjdk-17-jre-headless maven/)
    t.same(calls(), [])
  }
})

t.test('the names of packages are those that the release knows', async t => {
  const { site, calls } = await bareSystem(t, ['apt-get', 'apt-cache', 'dpkg-query'])
  await installSystemPackages(site, 'chromium')
  const installed = calls().at(-1) ?? ''
  if (!isRoot) return t.equal(installed, '')
  t.match(installed, / libnss3 .* libatk1\.0-0 .* libasound2 .* fonts-liberation/)
  t.notMatch(installed, 't64')
})

t.test('without apt it is said what to type, for all that is missing', async t => {
  const { site, calls } = await bareSystem(t, [])
  const remedy = process.platform === 'darwin' ? 'brew install openjdk@21 maven' : 'openjdk-17-jre-headless maven'
  await t.rejects(java(site), { message: new RegExp(`^Java is missing: .*${remedy}`) })
  t.same(calls(), [])
})
