import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, homedir, loadavg, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { exportJWK, generateKeyPair } from 'jose'
import { type Bank, personToken, personTokens, runningBank } from '../packages/devstack/src/index.ts'
import { browserFields, loadGenerator } from './edge/load.ts'
import { measureMemory, soak } from './edge/memory.ts'
import { oauth2Proxy, startOauth2Proxy } from './edge/oauth2-proxy.ts'
import { answering, cores, findProgram, freePort, nginx, processorTime, run, stopAll } from './edge/programs.ts'
import { beginSessions, type LoginTokens } from './edge/sessions.ts'
import { type EdgeSettings, redisWithoutTracking } from './edge/settings.ts'

/*
 * Processor time per request of the edge, of nginx, of @fastify/http-proxy and of oauth2-proxy, on one core each, in one
 * interleaved run: only the ratios mean something on another machine. README.md has the conditions and figures.
 */
const { values: flags } = parseArgs({
  options: {
    minutes: { type: 'string' },
    connections: { type: 'string', default: '8,64,256' },
    only: { type: 'string', default: '' },
  },
})
const seconds = Number(process.env['BENCH_SECONDS'] ?? 2)
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 7)

type Variant = { name: string; url: string; pid: number; headers: Record<string, string>; cookies: string[] }
type Cell = { size: 'small' | 'large'; path: string; connections: number }

const prefix = '/api/payments'
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
  const redisServer = findProgram('redis-server', `${homedir()}/.cache/zero-trust-banking/redis-*/redis-server`)
  if (redisServer === undefined) throw new Error('There is no redis-server: install it, or run `pnpm dev` once.')
  const bank = runningKeycloak()
  const redisPort = await freePort()
  run(folder, 'redis', cores.rest, [
    ...[redisServer, '--port', String(redisPort), '--bind', '127.0.0.1', '--save', '', '--loglevel', 'warning'],
  ])
  const upstream = await startUpstream()
  const tokens = bank === undefined ? standInTokens() : await keycloakTokens(bank)
  const settings: EdgeSettings = {
    port: await freePort(),
    upstream,
    redis: `redis://127.0.0.1:${redisPort}`,
    issuer: bank?.status.issuer ?? 'http://127.0.0.1:9/realms/banking',
    clientKeyFile: await keyFile('client.json', { keys: [await clientKey()] }),
    tokenLength: tokens.exchanged.length,
    sessionKeyFile: await keyFile('session.json', { current: 'k', keys: { k: randomBytes(32).toString('base64url') } }),
  }
  describe(bank)
  const [cookie = ''] = await beginSessions(settings, tokens, 1)
  if (flags.minutes !== undefined) {
    await soak({ folder, settings, tokens, load, minutes: Number(flags.minutes) })
    return
  }
  const variants = await startVariants(settings, cookie, bank)
  const wanted = variants.filter(({ name }) => flags.only === '' || name.match(flags.only))
  report(await measure(wanted))
  if (flags.only === '') await measureMemory({ folder, settings, tokens })
}

async function startVariants(settings: EdgeSettings, cookie: string, bank: Bank | undefined): Promise<Variant[]> {
  const variants: Variant[] = []
  const add = async (name: string, pid: number, port: number, cookies: string[] = [], headers = {}): Promise<void> => {
    const url = `http://127.0.0.1:${port}`
    await answering(url)
    variants.push({ name, url, pid, cookies, headers })
  }
  const ours = async (name: string, program: string, more: Partial<EdgeSettings>, cookies: string[]): Promise<void> => {
    const own = { ...settings, ...more, port: await freePort() }
    const file = join(import.meta.dirname, 'edge', program)
    const { pid } = run(folder, program, cores.tested, [process.execPath, file], { SETTINGS: JSON.stringify(own) })
    await add(name, pid, own.port, cookies)
  }
  const server = findProgram('nginx')
  if (server === undefined) console.log('nginx skipped: install it (Debian: apt-get install nginx-light)')
  else {
    const port = await freePort()
    const { pid } = nginx(folder, 'nginx', cores.tested, server, plainProxy(port, settings.upstream))
    await add('nginx', pid, port, [cookie])
  }
  await ours('edge', 'bff.ts', {}, [cookie])
  await ours('edge, Redis read each time', 'bff.ts', { redis: await redisWithoutTracking(settings.redis) }, [cookie])
  await ours('edge, unauthenticated', 'unauthenticated.ts', {}, [])
  await ours('@fastify/http-proxy', 'http-proxy.ts', {}, [cookie])
  const program = bank === undefined ? undefined : await oauth2Proxy()
  if (bank === undefined)
    console.log('oauth2-proxy skipped: it needs Keycloak; start `npx -y pnpm@10.34.9 dev` beside it, or set STACK')
  if (bank !== undefined && program !== undefined) {
    const place = { status: bank.status, redis: settings.redis, upstream: settings.upstream }
    const started = await startOauth2Proxy(folder, program, place)
    undo.push(started.forget)
    await add('oauth2-proxy', started.running.pid, started.port, [started.cookie])
  }
  return variants
}

async function measure(variants: readonly Variant[]): Promise<Map<string, number[]>> {
  const samples = new Map<string, number[]>()
  for (const { url, cookies, headers } of variants)
    await load.apply({
      url: url + prefix,
      headers: { ...browserFields, ...headers },
      cookies,
      connections: 64,
      seconds,
    })
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? variants : variants.toReversed()
    for (const cell of cells)
      for (const { name, url, pid, headers, cookies } of order) {
        const before = processorTime(pid)
        const { requests, failures } = await load.apply({
          url: url + cell.path,
          headers: { ...browserFields, ...headers },
          cookies,
          connections: cell.connections,
          seconds,
        })
        if (failures > 0 || requests === 0)
          throw new Error(`${name} failed ${failures} of ${requests} requests at ${cell.connections} connections`)
        const key = keyOf(name, cell)
        samples.set(key, [...(samples.get(key) ?? []), (processorTime(pid) - before) / requests])
      }
    process.stderr.write(`\rround ${round + 1} of ${rounds}`)
  }
  process.stderr.write('\n')
  return samples
}

function keyOf(name: string, { size, connections }: Cell): string {
  return `${name} ${size} ${connections}`
}

function report(samples: Map<string, number[]>): void {
  const names = [...new Set([...samples.keys()].map(key => key.replace(/ (?:small|large) \d+$/, '')))]
  const costOf = (name: string, cell: Cell): number => quantile(samples.get(keyOf(name, cell)) ?? [], 0.25)
  console.log(`\nµs of processor time per request: lower quartile of ${rounds} rounds (median), × nginx`)
  for (const cell of cells) {
    console.log(`\n${cell.size === 'small' ? '1 KB' : '100 KB'}, ${cell.connections} connections`)
    for (const name of names) {
      const values = samples.get(keyOf(name, cell)) ?? []
      const cost = costOf(name, cell)
      const ratio = cost / costOf('nginx', cell)
      console.log(
        `  ${name.padEnd(28)}${cost.toFixed(1).padStart(7)} (${quantile(values, 0.5).toFixed(1)})`.padEnd(50) +
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
    const ratio = costOf(over, at) / costOf(under, at)
    const said = Number.isNaN(ratio) ? '-   ' : isMet(ratio) ? 'pass' : 'FAIL'
    console.log(`  ${said}  ${text}: ${Number.isNaN(ratio) ? 'not measured' : ratio.toFixed(2)}`)
  }
  console.log('targets (1 KB, 64 connections unless said)')
  target('oauth2-proxy : edge ≥ 4', 'oauth2-proxy', 'edge', cell, ratio => ratio >= 4)
  target('edge : nginx ≤ 4.5', 'edge', 'nginx', cell, ratio => ratio <= 4.5)
  target('edge : unauthenticated ≤ 1.1', 'edge', 'edge, unauthenticated', cell, ratio => ratio <= 1.1)
  const everyTime = 'edge, Redis read each time'
  target('Redis read each time : unauthenticated ≤ 1.6', everyTime, 'edge, unauthenticated', cell, r => r <= 1.6)
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
  console.log(`load before: ${loadavg()[0]?.toFixed(1)}; ${rounds} rounds of ${seconds} s, interleaved`)
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

function standInTokens(): LoginTokens {
  const token = (size: number): string => randomBytes(size).toString('base64url').slice(0, size)
  return { accessToken: token(900), idToken: token(900), refreshToken: token(700), exchanged: token(900) }
}

async function keyFile(name: string, content: object): Promise<string> {
  const file = join(folder, name)
  writeFileSync(file, JSON.stringify(content), { mode: 0o600 })
  return file
}

async function clientKey(): Promise<object> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  return { ...(await exportJWK(privateKey)), kid: 'bench' }
}

/** A service that answers 1 KB, or 100 KB below `/large`, with the header fields that services of the bank send. */
async function startUpstream(): Promise<string> {
  const port = await freePort()
  const server = findProgram('nginx')
  const small = JSON.stringify({ items: 'x'.repeat(1000) })
  const large = JSON.stringify({ items: 'x'.repeat(100_000) })
  if (server === undefined)
    run(folder, 'upstream', cores.rest, [process.execPath, join(import.meta.dirname, 'edge/upstream.ts'), String(port)])
  else {
    writeFileSync(join(folder, 'large.json'), large)
    const fields = 'add_header cache-control no-store; add_header x-request-id 0190a1b2; add_header vary accept;'
    nginx(
      folder,
      'upstream',
      cores.rest,
      server,
      `default_type application/json; open_file_cache max=10; sendfile on; server { listen 127.0.0.1:${port}; ${fields}
location ${prefix} { return 200 '${small}'; }
location = ${prefix}/large { alias ${join(folder, 'large.json')}; } }`,
    )
  }
  const url = `http://127.0.0.1:${port}`
  await answering(url + prefix)
  return url
}

/** nginx as somebody writes it who wants a proxy and nothing else: connections to the upstream are kept. */
function plainProxy(port: number, upstream: string): string {
  return `
upstream service { server ${new URL(upstream).host}; keepalive 256; keepalive_requests 1000000000; }
server { listen 127.0.0.1:${port} backlog=4096; location / {
  proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Cookie "";
  proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; } }`
}

function quantile(numbers: readonly number[], q: number): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) * q)] ?? Number.NaN
}
