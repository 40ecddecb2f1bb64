import { type AppName, healthPortOf } from '@banking/contracts'
import { appFolders } from './apps.ts'
import { type Part, type PartName, partNames } from './parts/part.ts'
import { internalPortOf, mostReplicas, type Ports } from './ports.ts'

/** What to run, and where. */
export type Plan = {
  /** The repository. */
  root: string
  /** Folder of the data, the keys and the status file. */
  state: string
  ports: Ports
  parts: readonly PartName[]
  apps: readonly AppName[]
  /** Processes of the edge; more than one stand behind a round-robin at its port. */
  replicas: number
  /** Lifetime of access tokens, where it is not the realm's own. */
  tokenSeconds?: number | undefined
  rotate: boolean
  /** Restart an app when its source changes. */
  watch: boolean
  /** Go on without the parts that cannot be found, and without what needs them. */
  tolerant?: boolean
  /** Forget the data of an earlier run first. */
  fresh?: boolean
}

/** Parts and apps that these names need, themselves included; all without names. */
export function chosen(root: string, names: readonly string[]): { parts: PartName[]; apps: AppName[] } {
  const folders = appFolders(root)
  if (names.length === 0) return { parts: [...partNames], apps: folders.map(({ name }) => name) }
  const wanted = folders.filter(({ name }) => names.includes(name))
  const parts = new Set<PartName>(wanted.flatMap(({ needs }) => needs))
  for (const part of partNames) if (names.includes(part)) parts.add(part)
  if (parts.has('keycloak')) parts.add('postgres')
  return { parts: partNames.filter(name => parts.has(name)), apps: wanted.map(({ name }) => name) }
}

/** One process of an app: the app itself, or one of its replicas (`bff-1`). */
export type Instance = { name: string; port: number }

/** The processes that a plan runs for an app. */
export function instancesOf({ ports, replicas }: Plan, app: AppName): Instance[] {
  if (app !== 'bff' || replicas === 1) return [{ name: app, port: ports.apps[app] ?? 0 }]
  return ports.replicas.slice(0, replicas).map((port, index) => ({ name: `${app}-${index + 1}`, port }))
}

/**
 * Reads `bff=3`.
 * @throws Error that says what may be written
 */
export function readReplicas(value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  const [, app, count] = /^([a-z]+)=(\d+)$/.exec(value) ?? []
  const replicas = Number(count)
  if (app === undefined || replicas < 1 || replicas > mostReplicas)
    throw new Error(`--replicas needs bff=<1 to ${mostReplicas}>, for example bff=3, not ${value}.`)
  if (app !== 'bff') throw new Error(`--replicas knows bff alone: ${app} runs as one process here.`)
  return replicas
}

/** Ports by who needs them. */
export function wantedPorts(plan: Plan, parts: readonly Part[]): Map<number, string> {
  const wanted = new Map<number, string>()
  for (const part of parts) for (const port of part.ports) wanted.set(port, part.name)
  for (const name of plan.apps) {
    wanted.set(plan.ports.apps[name] ?? 0, name)
    for (const { name: instance, port } of instancesOf(plan, name)) {
      wanted.set(port, instance).set(healthPortOf(port), `${instance} (health)`)
      if (name === 'bff') wanted.set(internalPortOf(port), `${instance} (internal)`)
    }
  }
  return wanted
}
