import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  answering,
  cores,
  findProgram,
  freePort,
  nginx,
  processorTime,
  type Running,
  residentMemory,
  run,
  stop,
  stopAll,
} from './edge/programs.ts'
import { beginSessions } from './edge/sessions.ts'
import type { EdgeSettings } from './edge/settings.ts'
import { keyFiles, plainProxy, prefix, standInTokens, startRedis, startUpstream } from './edge/surroundings.ts'
import type { Attack, Effect } from './hostile/attack.ts'
import type { User, Waits } from './hostile/user.ts'

/*
 * What others notice, and what memory it takes, while somebody floods, leaves or dawdles: the edge with the limits that
 * it has by default, nginx as a plain proxy and bare node:http, in one run. README.md has the conditions, and
 * docs/compared.md the figures.
 */
const { values: flags } = parseArgs({ options: { only: { type: 'string', default: '' } } })
const seconds = Number(process.env['BENCH_SECONDS'] ?? 5)
/** Longer than the time that a head may take. */
const slowSeconds = Number(process.env['BENCH_SLOW_SECONDS'] ?? 15)

/** After an attack, until memory is looked at again. */
const calm = 10

type Candidate = { name: string; start: (port: number) => Running }

const attacks: { name: string; attack: Pick<Attack, 'kind' | 'connections' | 'requests' | 'seconds'> }[] = [
  { name: 'flood, 20 × 2,000 (1.1 MB)', attack: { kind: 'flood', connections: 20, requests: 2_000, seconds } },
  { name: 'flood, 300 × 2,300 (19 MB)', attack: { kind: 'flood', connections: 300, requests: 2_300, seconds } },
  { name: 'flood, 900 × 2,300 (58 MB)', attack: { kind: 'flood', connections: 900, requests: 2_300, seconds } },
  { name: 'leaver, 50 at a time', attack: { kind: 'leave', connections: 50, seconds } },
  { name: 'slow, 300 connections', attack: { kind: 'slow', connections: 300, seconds: slowSeconds } },
]

const folder = mkdtempSync(join(tmpdir(), 'bench-hostile-'))
try {
  await main()
} finally {
  await stopAll()
  rmSync(folder, { recursive: true })
}

async function main(): Promise<void> {
  if (process.platform !== 'linux') throw new Error('This reads /proc: it runs on Linux only.')
  const redis = await startRedis(folder)
  const tokens = standInTokens()
  const settings: EdgeSettings = {
    port: 0,
    upstream: await startUpstream(folder),
    redis,
    issuer: 'http://127.0.0.1:9/realms/banking',
    ...(await keyFiles(folder)),
    tokenLength: tokens.exchanged.length,
    isLimited: true,
  }
  const [user = '', attacker = ''] = await beginSessions(settings, tokens, 2)
  console.log(
    `${cpus()[0]?.model.trim()}, ${availableParallelism()} cores, Node ${process.version}, ${new Date().toISOString()}`,
  )
  console.log(
    `program on core 0; user, attacker, upstream and Redis on core 1; load before: ${loadavg()[0]?.toFixed(1)}`,
  )
  for (const { name, attack } of attacks) {
    console.log(`\n${name}`)
    console.log(
      `  ${'program'.padEnd(16)}${'p50 ms'.padStart(8)}${'p99 ms'.padStart(8)}${'most ms'.padStart(8)}${'failed'.padStart(8)}   RSS MB before, at most, after       processor   what became of it`,
    )
    for (const candidate of candidates(settings).filter(({ name }) => name.match(flags.only)))
      await measure(candidate, attack, { user, attacker })
  }
}

function candidates(settings: EdgeSettings): Candidate[] {
  const node = (
    name: string,
    file: string,
    args: string[],
    env: (port: number) => Record<string, string>,
  ): Candidate => ({
    name,
    start: port =>
      run(
        folder,
        file,
        cores.tested,
        [process.execPath, join(import.meta.dirname, 'edge', file), ...args, `${port}`],
        env(port),
      ),
  })
  const found = [
    node('edge', 'bff.ts', [], port => ({ SETTINGS: JSON.stringify({ ...settings, port }) })),
    node('bare node:http', 'upstream.ts', [], () => ({})),
  ]
  const server = findProgram('nginx')
  if (server === undefined) console.log('nginx skipped: install it (Debian: apt-get install nginx-light)')
  else
    found.splice(1, 0, {
      name: 'nginx',
      start: port => nginx(folder, `nginx-${port}`, cores.tested, server, plainProxy(port, settings.upstream)),
    })
  return found
}

async function measure(
  { name, start }: Candidate,
  attack: (typeof attacks)[number]['attack'],
  cookies: { user: string; attacker: string },
): Promise<void> {
  const port = await freePort()
  const { pid, child } = start(port)
  const url = `http://127.0.0.1:${port}${prefix}`
  await answering(url)
  const isAlive = (): boolean => child.exitCode === null && child.signalCode === null
  // What it does for the first time is not what is measured.
  await outcome<Waits>('user.ts', { url, cookie: cookies.user, seconds: 1 } satisfies User)
  const before = residentMemory(pid)
  const beforeTime = processorTime(pid)
  let most = before
  const looking = setInterval(() => {
    if (isAlive()) most = Math.max(most, residentMemory(pid))
  }, 50)
  const [waits, effect] = await Promise.all([
    outcome<Waits>('user.ts', { url, cookie: cookies.user, seconds: attack.seconds + 1 } satisfies User),
    new Promise(resolve => setTimeout(resolve, 500)).then(() =>
      outcome<Effect>('attack.ts', {
        ...attack,
        port,
        cookie: cookies.attacker,
        large: `${prefix}/large`,
      } satisfies Attack),
    ),
  ])
  const time = isAlive() ? `${((processorTime(pid) - beforeTime) / 1e6).toFixed(1)} s` : '-'
  // An idle process does not collect: the user goes on.
  if (isAlive()) await outcome<Waits>('user.ts', { url, cookie: cookies.user, seconds: calm } satisfies User)
  clearInterval(looking)
  const megabytes = (bytes: number): string => (bytes / 1024 / 1024).toFixed(0)
  const after = isAlive() ? megabytes(residentMemory(pid)) : 'died'
  const statuses = Object.entries(effect.statuses).map(([status, count]) => `${count} × ${status}`)
  console.log(
    `  ${name.padEnd(16)}${[waits.p50, waits.p99, waits.most].map(ms => ms.toFixed(1).padStart(8)).join('')}` +
      `${`${waits.failures}/${waits.requests}`.padStart(8)}   ${`${megabytes(before)}, ${megabytes(most)}, ${after}`.padEnd(32)}${time.padStart(11)}   ` +
      `${[...statuses, `${effect.cut} cut`].join(', ')}`,
  )
  await stop(child)
}

/** What one of the programs in `hostile/` has to say at its end. */
async function outcome<T>(file: string, input: object): Promise<T> {
  const program = join(import.meta.dirname, 'hostile', file)
  const { child } = run(folder, file, cores.rest, [process.execPath, program, JSON.stringify(input)])
  const [result] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => Promise.reject(new Error(`${file} said nothing`))),
  ])) as [T]
  return result
}
