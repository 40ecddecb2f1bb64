import { type AppName, healthPortOf } from '@banking/contracts'
import { appFolders } from './apps.ts'
import { type Part, type PartName, partNames } from './parts/part.ts'
import type { Ports } from './ports.ts'

/** What to run, and where. */
export type Plan = {
  /** The repository. */
  root: string
  /** Folder of the data, the keys and the status file. */
  state: string
  ports: Ports
  parts: readonly PartName[]
  apps: readonly AppName[]
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

/** Ports by who needs them. */
export function wantedPorts(plan: Plan, parts: readonly Part[]): Map<number, string> {
  const wanted = new Map<number, string>()
  for (const part of parts) for (const port of part.ports) wanted.set(port, part.name)
  for (const name of plan.apps) {
    const port = plan.ports.apps[name] ?? 0
    wanted.set(port, name).set(healthPortOf(port), `${name} (health)`)
  }
  return wanted
}
