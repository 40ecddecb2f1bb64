import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { appFolders, topicsOf } from './apps.ts'
import { goldenCluster } from './golden.ts'
import { clientKeys } from './keys.ts'
import { kafkaPart } from './parts/kafka.ts'
import { keycloakPart } from './parts/keycloak.ts'
import {
  addressVariable,
  developmentPassword,
  type Origin,
  type Part,
  type PartName,
  partNames,
  type Site,
} from './parts/part.ts'
import { postgresPart, provideDatabase, removeCluster } from './parts/postgres.ts'
import { redisPart } from './parts/redis.ts'
import { seed } from './people.ts'
import { instancesOf, type Plan, wantedPorts } from './plan.ts'
import { claimPorts } from './ports.ts'
import { type Guard, startGuard } from './process.ts'
import { provideRealm, readRealm, tuneRealm } from './realm.ts'
import { buildWeb, type Scene, startApp, startPart, watchWeb } from './start.ts'
import { keysFolder, readStatus, type Status, statusFile, writeStatus } from './status.ts'
import type { Terminal } from './terminal.ts'

/** A part that is not there, and how to get it. */
export type Missing = { name: PartName; remedy: string }

export type Stack = {
  status(): Status
  missing: readonly Missing[]
  /** Everything answers. Rejects with the first reason why not. */
  healthy: Promise<void>
  /** Ends all in order: apps, then what they need. */
  stop(): Promise<void>
}

/**
 * Starts what the plan names, each as soon as what it needs is there.
 * @throws Error that says what is in the way, before anything was started
 */
export async function startStack(plan: Plan, screen: Terminal): Promise<Stack> {
  await refuseSecond(plan)
  await mkdir(plan.state, { recursive: true, mode: 0o755 })
  const guard = startGuard(plan.state)
  guard.remove(statusFile(plan.state))
  try {
    return await startGuarded(plan, screen, guard)
  } catch (error) {
    await rm(statusFile(plan.state), { force: true })
    await guard.close()
    throw error
  }
}

/** Removes all data of a state folder. Keys stay (an external database may need them), and so do other runs' folders. */
async function forget(state: string): Promise<void> {
  await removeCluster(state)
  const entries = await readdir(state).catch(() => [])
  for (const entry of entries.filter(name => !/^(keys|test|runner)/.test(name))) {
    await rm(join(state, entry), { recursive: true, force: true })
  }
}

async function startGuarded(plan: Plan, screen: Terminal, guard: Guard): Promise<Stack> {
  const { ports } = plan
  const site: Site = { state: plan.state, guard, environment: process.env, progress: screen.progress }
  const origin = `http://localhost:${ports.apps['bff']}`
  const keys = keysFolder(plan.state)
  const realm = plan.parts.includes('keycloak') ? await readRealm(plan.root, seed.people) : undefined

  const postgres = postgresPart(site, ports.postgres, () => goldenCluster(site, realm))
  const keycloak = keycloakPart(site, {
    port: ports.keycloak,
    managementPort: ports.keycloakManagement,
    database: async () => {
      await provideDatabase(postgres.url(), 'keycloak', 'keycloak')
      return postgres.url('keycloak', 'keycloak')
    },
    prepare: async administrator => {
      if (realm === undefined) return
      if (await provideRealm(administrator, realm)) screen.progress('keycloak', `imported the realm ${realm.name}`)
      const settings = { origin, tokenSeconds: plan.tokenSeconds, rotate: plan.rotate }
      await tuneRealm(administrator, realm, { ...settings, keys: client => clientKeys(keys, client) })
    },
  })
  const every: Record<PartName, Part> = {
    postgres,
    redis: redisPart(site, ports.redis),
    kafka: kafkaPart(site, { broker: ports.kafka, controller: ports.kafkaController }, topicsOf(plan.apps)),
    keycloak,
  }
  const planned = partNames.filter(name => plan.parts.includes(name)).map(name => every[name])
  await claimPorts(wantedPorts(plan, planned), plan.state)
  if (plan.fresh === true) await forget(plan.state)
  const seedFile = join(plan.state, 'seed.json')
  await writeFile(seedFile, JSON.stringify(seed, null, 2))

  const { origins, missing } = await locateAll(planned, screen)
  if (missing.length > 0 && plan.tolerant !== true) {
    const variables = missing.map(({ name }) => addressVariable[name]).join(', ')
    throw new Error(
      [...new Set(missing.map(({ remedy }) => remedy)), `Or name running ones: ${variables}. --only starts less.`].join(
        '\n',
      ),
    )
  }
  for (const { name, remedy } of missing) screen.say(screen.style('yellow', `${name} is missing: ${remedy}`))
  const isThere = (name: PartName) => origins.has(name)
  const parts = planned.filter(({ name, needs }) => isThere(name) && needs.every(isThere))
  const folders = appFolders(plan.root).filter(({ name, needs }) => plan.apps.includes(name) && needs.every(isThere))

  const status: Status = {
    ready: false,
    baseUrl: origin,
    issuer: `${keycloak.url}/realms/banking`,
    parts: [],
    apps: [],
    logins: seed.people.map(({ username, roles, note }) => ({ username, password: developmentPassword, roles, note })),
    admin: { username: keycloak.administrator.username, password: keycloak.administrator.password },
    flags: {
      replicas: plan.replicas,
      tokenSeconds: plan.tokenSeconds ?? Number(realm?.document['accessTokenLifespan'] ?? 300),
      rotate: plan.rotate,
    },
    pid: process.pid,
  }
  const processes = folders.reduce((count, { name }) => count + instancesOf(plan, name).length, 0)
  let writing = Promise.resolve()
  const publish = () => {
    status.ready =
      status.parts.length === parts.length &&
      status.apps.length === processes &&
      [...status.parts, ...status.apps].every(({ readyMs }) => readyMs > 0)
    writing = writing.then(() => writeStatus(plan.state, status))
  }
  publish()

  const stopping = new AbortController()
  const started = new Map<string, Promise<void>>()
  const scene: Scene = {
    ...{ plan, screen, guard, status, publish, seedFile, origins },
    signal: stopping.signal,
    superuser: postgres.url(),
    place: {
      ...{ root: plan.root, ports, issuer: status.issuer, origin, keys },
      compileCache: join(plan.state, 'compile-cache'),
      redis: origins.get('redis')?.url ?? '',
      kafka: origins.get('kafka')?.url ?? '',
      database: postgres.url,
    },
    keepers: [],
    ready: async names => {
      await Promise.all(names.map(name => started.get(name)))
    },
  }
  for (const part of parts) started.set(part.name, startPart(scene, part))
  const web = folders.some(({ name }) => name === 'bff') ? buildWeb(scene) : Promise.resolve()
  for (const app of folders) started.set(app.name, startApp(scene, app, web))
  for (const one of [...started.values(), web]) one.catch(() => {}) // `healthy` tells
  if (plan.watch) void Promise.allSettled(started.values()).then(() => watchWeb(scene))
  const healthy = allHealthy()
  healthy.catch(() => {}) // whoever waits for it sees it

  /** A part that fails is the end at once; of the apps each gets its chance. */
  async function allHealthy(): Promise<void> {
    await Promise.all(parts.map(({ name }) => started.get(name)))
    const rest = await Promise.allSettled([...started.values(), web])
    const reasons = rest.flatMap(result => (result.status === 'rejected' ? [(result.reason as Error).message] : []))
    if (reasons.length > 0) throw new Error(reasons.join('\n\n'))
  }

  let stopped: Promise<void> | undefined
  async function stopAll(): Promise<void> {
    stopping.abort()
    const stop = (wanted: (name: string) => boolean) =>
      Promise.all(scene.keepers.filter(({ name }) => wanted(name)).map(({ keeper }) => keeper.stop()))
    const isPart = (name: string) => (partNames as readonly string[]).includes(name)
    await stop(name => !isPart(name))
    await stop(name => isPart(name) && name !== 'postgres')
    await stop(name => name === 'postgres')
    await writing
    await rm(statusFile(plan.state), { force: true })
    await guard.close()
  }

  return {
    status: () => status,
    missing,
    healthy,
    stop: () => {
      stopped ??= stopAll()
      return stopped
    },
  }
}

/** Two launchers on one state folder would fight. One that was killed a moment ago is waited for. */
async function refuseSecond(plan: Plan): Promise<void> {
  const running = readStatus(statusFile(plan.state))
  if (running === undefined) return
  throw new Error(
    `It runs already: process ${running.pid}, ${running.baseUrl}. Stop that one first (Ctrl-C, or kill ${running.pid}).`,
  )
}

/** Finds all parts at once, so that every one that is missing is reported, not only the first. */
async function locateAll(
  parts: readonly Part[],
  screen: Terminal,
): Promise<{ origins: Map<PartName, Origin>; missing: Missing[] }> {
  const origins = new Map<PartName, Origin>()
  const missing: Missing[] = []
  await Promise.all(
    parts.map(async ({ name, locate }) => {
      try {
        const origin = await locate()
        origins.set(name, origin)
        screen.progress(name, `${[origin.program, origin.version].join(' ').trim()}, from ${origin.source}`)
      } catch (error) {
        missing.push({ name, remedy: (error as Error).message })
      }
    }),
  )
  return { origins, missing }
}
