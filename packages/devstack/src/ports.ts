import { execFileSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { apps, healthPortOf } from '@banking/contracts'
import { commandOf, markName } from './process.ts'

/** Where everything listens, on 127.0.0.1. */
export type Ports = {
  postgres: number
  redis: number
  kafka: number
  kafkaController: number
  keycloak: number
  keycloakManagement: number
  /** Public port by app; health and metrics are at +1000. */
  apps: Readonly<Record<string, number>>
  /** Of the edge's replicas; the round-robin in front of them has the app's own port. */
  replicas: readonly number[]
}

/** Where a process of the edge listens for other services. */
export const internalPortOf = (port: number): number => port + 500

/** The most replicas that have a port of their own. */
export const mostReplicas = 9

/** The fixed ports of `dev`: below 32768, where the system's own short-lived ports begin. */
export const developmentPorts: Ports = {
  postgres: 5442,
  redis: 6389,
  kafka: 9192,
  kafkaController: 9193,
  keycloak: 8180,
  keycloakManagement: 8190,
  apps: Object.fromEntries(apps.map(({ name, port }) => [name, port])),
  replicas: Array.from({ length: mostReplicas }, (_, index) => 3201 + index),
}

/** Ports that are free now, for a stack beside another one. */
export async function freePorts(): Promise<Ports> {
  const taken = new Set<number>()
  const free = async (...beside: ((port: number) => number)[]): Promise<number> => {
    for (;;) {
      const port = randomInt(20_000, 31_000)
      const all = [port, ...beside.map(of => of(port))]
      if (all.some(candidate => taken.has(candidate))) continue
      if (!(await Promise.all(all.map(isFree))).every(Boolean)) continue
      for (const candidate of all) taken.add(candidate)
      return port
    }
  }
  const byApp: Record<string, number> = {}
  for (const { name } of apps) byApp[name] = await free(healthPortOf, internalPortOf)
  const replicas: number[] = []
  while (replicas.length < mostReplicas) replicas.push(await free(healthPortOf, internalPortOf))
  return {
    postgres: await free(),
    redis: await free(),
    kafka: await free(),
    kafkaController: await free(),
    keycloak: await free(),
    keycloakManagement: await free(),
    apps: byApp,
    replicas,
  }
}

export function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/**
 * Makes sure that nobody listens on these ports (port → who needs it). What an earlier run of the same state folder left
 * is waited for: its guard may still be ending it.
 * @throws Error that names every port that is taken, its owner, and what to do
 */
export async function claimPorts(wanted: ReadonlyMap<number, string>, state: string): Promise<void> {
  const deadline = Date.now() + 12_000
  const taken: string[] = []
  for (const [port, name] of wanted) {
    while (!(await isFree(port))) {
      const owner = portOwner(port)
      if (owner !== undefined && isLeftFrom(owner, state) && Date.now() < deadline) {
        await new Promise(resolve => setTimeout(resolve, 200))
        continue
      }
      const who =
        owner === undefined ? 'a process of another user' : `process ${owner.pid}: ${owner.command.slice(0, 120)}`
      const remedy = owner === undefined ? 'Stop it' : `Stop it (kill ${owner.pid})`
      taken.push(`Port ${port}, which ${name} needs, is taken by ${who}. ${remedy}, then start again.`)
      break
    }
  }
  if (taken.length > 0) throw new Error(taken.join('\n'))
}

const isLeftFrom = (owner: PortOwner, state: string): boolean =>
  read(() => readFileSync(`/proc/${owner.pid}/environ`, 'latin1'))?.includes(`${markName}=${state}#`) === true

type PortOwner = { pid: number; command: string }

/** The process that listens on a port, as far as this user may see it. */
function portOwner(port: number): PortOwner | undefined {
  const pid = process.platform === 'linux' ? listenerByProc(port) : listenerByLsof(port)
  return pid === undefined ? undefined : { pid, command: commandOf(pid) }
}

function listenerByProc(port: number): number | undefined {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  const sockets = new Set<string>()
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of read(() => readFileSync(table, 'utf8').split('\n')) ?? []) {
      const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/)
      if (state === '0A' && local.endsWith(`:${hex}`)) sockets.add(`socket:[${inode}]`)
    }
  }
  for (const pid of read(() => readdirSync('/proc'))?.filter(name => /^\d+$/.test(name)) ?? []) {
    for (const descriptor of read(() => readdirSync(`/proc/${pid}/fd`)) ?? []) {
      const target = read(() => readlinkSync(`/proc/${pid}/fd/${descriptor}`))
      if (target !== undefined && sockets.has(target)) return Number(pid)
    }
  }
  return undefined
}

const listenerByLsof = (port: number): number | undefined => {
  const text = read(() => execFileSync('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-t'], { encoding: 'utf8' }))
  return text === undefined ? undefined : Number(text.split('\n')[0])
}

/** What has gone meanwhile, or belongs to somebody else, is simply not seen. */
function read<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}
