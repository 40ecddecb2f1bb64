import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { type Bank, personToken, personTokens, runningBank } from '../packages/devstack/src/index.ts'
import { browserFields, loadGenerator } from './edge/load.ts'
import { measureMemory, soak } from './edge/memory.ts'
import { oauth2Proxy, startOauth2Proxy } from './edge/oauth2-proxy.ts'
import {
  answering,
  cores,
  findProgram,
  freePort,
  nginx,
  processorTime,
  type Running,
  run,
  stop,
  stopAll,
} from './edge/programs.ts'
import { beginSessions, type LoginTokens } from './edge/sessions.ts'
import { type EdgeSettings, redisWithoutTracking } from './edge/settings.ts'
import { measureStreams } from './edge/streams.ts'
import { keyFiles, plainProxy, prefix, standInTokens, startRedis, startUpstream } from './edge/surroundings.ts'

/*
 * Processor time per request of the edge, of nginx, of @fastify/http-proxy and of oauth2-proxy, on one core each, in one
 * interleaved run: only the ratios mean something on another machine. README.md has the conditions and figures.
 */
const { values: flags } = parseArgs({
  options: {
    minutes: { type: 'string' },
    connections: { type: 'string', default: '8,64,256' },
    only: { type: 'string', default: '' },
    streams: { type: 'string' },
  },
})
const seconds = Number(process.env['BENCH_SECONDS'] ?? 2)
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 5)
const starts = Number(process.env['BENCH_STARTS'] ?? 3)

/** A program to be measured. */
type Candidate = { name: string; start: () => Promise<Started> }
type Started = { port: number; running: Running; cookies: string[] }
type Variant = Started & { name: string; url: string }
type Cell = { size: 'small' | 'large'; path: string; connections: number }

const cells: Cell[] = [
  ...flags.connections.split(',').map(n => ({ size: 'small', path: prefix, connections: Number(n) }) as const),
  { size: 'large', path: `${prefix}/large`, connections: 64 },
]

const folder = mkdtempSync(join(tmpdir(), 'bench-edge-'))
const load = loadGenerator(folder)
const undo: (() => Promise<void>)[] = []
try {
  await main()
} finally {
  for (const step of undo) await step().catch(error => console.error(error))
  await stopAll()
  rmSync(folder, { recursive: true })
}

async function main(): Promise<void> {
  if (process.platform !== 'linux') throw new Error('This reads /proc: it runs on Linux only.')
  const bank = runningKeycloak()
  const redis = await startRedis(folder)
  const upstream = await startUpstream(folder)
  const tokens = bank === undefined ? standInTokens() : await keycloakTokens(bank)
  const settings: EdgeSettings = {
    port: await freePort(),
    upstream,
    redis,
    issuer: bank?.status.issuer ?? 'http://127.0.0.1:9/realms/banking',
    ...(await keyFiles(folder)),
    tokenLength: tokens.exchanged.length,
  }
  describe(bank)
  const [cookie = ''] = await beginSessions(settings, tokens, 1)
  if (flags.minutes !== undefined) {
    await soak({ folder, settings, tokens, load, minutes: Number(flags.minutes) })
    return
  }
  if (flags.streams !== undefined) {
    await measureStreams({ folder, settings, tokens, count: Number(flags.streams) })
    return
  }
  const wanted = (await candidates(settings, cookie, bank)).filter(({ name }) => name.match(flags.only))
  const samples = new Map<string, number[]>()
  for (let start = 1; start <= starts; start++) {
    const variants: Variant[] = []
    for (const one of wanted) variants.push(await started(one))
    await measure(variants, samples, start)
    for (const { running } of variants) await stop(running.child)
  }
  process.stderr.write('\n')
  report(samples)
  if (flags.only !== '') return
  await measureMemory({ folder, settings, tokens })
  await measureStreams({ folder, settings, tokens, count: 2_000 })
}

async function started({ name, start }: Candidate): Promise<Variant> {
  const program = await start()
  const url = `http://127.0.0.1:${program.port}`
  await answering(url)
  return { ...program, name, url }
}

async function candidates(settings: EdgeSettings, cookie: string, bank: Bank | undefined): Promise<Candidate[]> {
  const ours = (name: string, file: string, cookies: string[], more: Partial<EdgeSettings> = {}): Candidate => ({
    name,
    async start() {
      const own = { ...settings, ...more, port: await freePort() }
      const command = [process.execPath, join(import.meta.dirname, 'edge', file)]
      const running = run(folder, file, cores.tested, command, { SETTINGS: JSON.stringify(own) })
      return { port: own.port, running, cookies }
    },
  })
  const found = [
    ours('edge', 'bff.ts', [cookie]),
    ours('edge with undici', 'bff.ts', [cookie], { undici: true }),
    ours('edge, unauthenticated', 'unauthenticated.ts', []),
    ours('edge, Redis read each time', 'bff.ts', [cookie], { redis: await redisWithoutTracking(settings.redis) }),
    ours('@fastify/http-proxy', 'http-proxy.ts', [cookie]),
  ]
  const server = findProgram('nginx')
  if (server === undefined) console.log('nginx skipped: install it (Debian: apt-get install nginx-light)')
  else
    found.unshift({
      name: 'nginx',
      async start() {
        const port = await freePort()
        const running = nginx(folder, 'nginx', cores.tested, server, plainProxy(port, settings.upstream))
        return { port, running, cookies: [cookie] }
      },
    })
  const program = bank === undefined ? undefined : await oauth2Proxy()
  if (bank === undefined)
    console.log('oauth2-proxy skipped: it needs Keycloak; start `npx -y pnpm@10.34.9 dev` beside it, or set STACK')
  if (bank !== undefined && program !== undefined)
    found.push({
      name: 'oauth2-proxy',
      async start() {
        const place = { status: bank.status, redis: settings.redis, upstream: settings.upstream }
        const { running, port, cookie, forget } = await startOauth2Proxy(folder, program, place)
        undo.push(forget)
        return { running, port, cookies: [cookie] }
      },
    })
  return found
}

/** Adds one sample for each program and cell per round: those of one round stand at the same place. */
async function measure(variants: readonly Variant[], samples: Map<string, number[]>, start: number): Promise<void> {
  for (const { url, cookies } of variants)
    await load.apply({ url: url + prefix, headers: browserFields, cookies, connections: 64, seconds: 2 * seconds })
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? variants : variants.toReversed()
    for (const cell of cells)
      for (const { name, url, running, cookies } of order) {
        const before = processorTime(running.pid)
        const { requests, failures } = await load.apply({
          url: url + cell.path,
          headers: browserFields,
          cookies,
          connections: cell.connections,
          seconds,
        })
        if (failures > 0 || requests === 0)
          throw new Error(`${name} failed ${failures} of ${requests} requests at ${cell.connections} connections`)
        const key = keyOf(name, cell)
        samples.set(key, [...(samples.get(key) ?? []), (processorTime(running.pid) - before) / requests])
      }
    process.stderr.write(`\rstart ${start} of ${starts}, round ${round + 1} of ${rounds}`)
  }
}

function keyOf(name: string, { size, connections }: Cell): string {
  return `${name} ${size} ${connections}`
}

function report(samples: Map<string, number[]>): void {
  const names = [...new Set([...samples.keys()].map(key => key.replace(/ (?:small|large) \d+$/, '')))]
  const valuesOf = (name: string, cell: Cell): number[] => samples.get(keyOf(name, cell)) ?? []
  // Within a round, since what slows it slows all that is measured in it.
  const ratioOf = (over: string, under: string, cell: Cell): number => {
    const below = valuesOf(under, cell)
    return quantile(
      valuesOf(over, cell).map((value, at) => value / (below[at] ?? Number.NaN)),
      0.5,
    )
  }
  console.log(`\nµs of processor time per request: lower quartile of ${starts * rounds} rounds (median)`)
  console.log('× nginx and all ratios: median of the rounds’ own')
  for (const cell of cells) {
    console.log(`\n${cell.size === 'small' ? '1 KB' : '100 KB'}, ${cell.connections} connections`)
    for (const name of names) {
      const values = valuesOf(name, cell)
      const ratio = ratioOf(name, 'nginx', cell)
      const [low, middle] = [quantile(values, 0.25).toFixed(1), quantile(values, 0.5).toFixed(1)]
      console.log(
        `  ${name.padEnd(28)}${low.padStart(7)} (${middle})`.padEnd(50) +
          (Number.isNaN(ratio) ? '' : `${ratio.toFixed(2)} ×`),
      )
    }
  }
  const spreads = [...samples.values()].map(values => quantile(values, 0.75) / quantile(values, 0.25) - 1)
  console.log(
    `\nnoise: upper over lower quartile, median of all cells: +${(quantile(spreads, 0.5) * 100).toFixed(0)} %`,
  )
  console.log(`load after: ${loadavg()[0]?.toFixed(1)}\n`)
  const [cell] = cells.filter(({ size, connections }) => size === 'small' && connections === 64)
  const large = cells.find(({ size }) => size === 'large') as Cell
  if (cell === undefined) return
  const target = (text: string, over: string, under: string, at: Cell, isMet: (ratio: number) => boolean): void => {
    const ratio = ratioOf(over, under, at)
    const said = Number.isNaN(ratio) ? '-   ' : isMet(ratio) ? 'pass' : 'FAIL'
    console.log(`  ${said}  ${text}: ${Number.isNaN(ratio) ? 'not measured' : ratio.toFixed(2)}`)
  }
  console.log('targets (1 KB, 64 connections unless said)')
  target('oauth2-proxy : edge ≥ 4', 'oauth2-proxy', 'edge', cell, ratio => ratio >= 4)
  target('edge : nginx ≤ 4.5', 'edge', 'nginx', cell, ratio => ratio <= 4.5)
  target('edge : unauthenticated ≤ 1.1', 'edge', 'edge, unauthenticated', cell, ratio => ratio <= 1.1)
  const everyTime = 'edge, Redis read each time'
  target('Redis read each time : unauthenticated ≤ 1.5', everyTime, 'edge, unauthenticated', cell, r => r <= 1.5)
  target('edge with undici : edge ≥ 1.1', 'edge with undici', 'edge', cell, ratio => ratio >= 1.1)
  target('edge : @fastify/http-proxy ≤ 0.45', 'edge', '@fastify/http-proxy', cell, ratio => ratio <= 0.45)
  target('edge : nginx with 100 KB ≤ 2.6', 'edge', 'nginx', large, ratio => ratio <= 2.6)
}

function describe(bank: Bank | undefined): void {
  console.log(
    `${cpus()[0]?.model.trim()}, ${availableParallelism()} cores, Node ${process.version}, ${new Date().toISOString()}`,
  )
  console.log('tested program on core 0; load, upstream and Redis on core 1; plain HTTP on loopback')
  console.log(
    `load generator: ${load.name}; tokens: ${bank === undefined ? 'stand-ins of the usual size' : bank.status.issuer}`,
  )
  const length =
    flags.minutes === undefined ? `; ${starts} starts, each ${rounds} rounds of ${seconds} s, interleaved` : ''
  console.log(`load before: ${loadavg()[0]?.toFixed(1)}${length}`)
}

/** The running stack, if it has a Keycloak: both proxies get their tokens there. */
function runningKeycloak(): Bank | undefined {
  try {
    return runningBank(process.env['STACK'] ?? resolve(import.meta.dirname, '../.dev/status.json'))
  } catch {
    return undefined
  }
}

async function keycloakTokens(bank: Bank): Promise<LoginTokens> {
  const [login] = bank.status.logins
  const username = login?.username ?? ''
  const { accessToken, idToken, refreshToken = '' } = await personTokens(bank, username)
  return { accessToken, idToken, refreshToken, exchanged: await personToken(bank, username, 'payment') }
}

function quantile(numbers: readonly number[], q: number): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) * q)] ?? Number.NaN
}
