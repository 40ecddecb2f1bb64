import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type AppName, healthPortOf } from '@banking/contracts'
import { type AppFolder, appFolders, appProgram, provideData, type Surroundings, topicsOf, webBuild } from './apps.ts'
import { goldenCluster } from './golden.ts'
import { type Keeper, keep } from './keeper.ts'
import { clientKeys } from './keys.ts'
import { kafkaPart } from './parts/kafka.ts'
import { keycloakPart } from './parts/keycloak.ts'
import { developmentPassword, type Origin, type Part, type PartName, partNames, type Site } from './parts/part.ts'
import { postgresPart, provideDatabase, removeCluster } from './parts/postgres.ts'
import { redisPart } from './parts/redis.ts'
import { seed } from './people.ts'
import { claimPorts, type Ports } from './ports.ts'
import { complete, type Guard, startGuard } from './process.ts'
import { provideRealm, readRealm, tuneRealm } from './realm.ts'
import {
  type AppStatus,
  keysFolder,
  type PartStatus,
  readStatus,
  type Status,
  statusFile,
  writeStatus,
} from './status.ts'
import type { Terminal } from './terminal.ts'
import { watchSources } from './watch.ts'

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
    database: () => postgres.url('keycloak', 'keycloak'),
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
  const issuer = `${keycloak.url}/realms/banking`
  await claimPorts(wantedPorts(plan, planned), plan.state)
  if (plan.fresh === true) await forget(plan.state)
  const seedFile = join(plan.state, 'seed.json')
  await writeFile(seedFile, JSON.stringify(seed, null, 2))

  const { origins, missing } = await locateAll(planned, screen)
  const [firstMissing] = missing
  if (firstMissing !== undefined && plan.tolerant !== true) {
    throw new Error([...new Set(missing.map(({ remedy }) => remedy))].join('\n'))
  }
  const isThere = (name: PartName) => origins.has(name)
  const parts = planned.filter(({ name, needs }) => isThere(name) && needs.every(isThere))
  const folders = appFolders(plan.root).filter(({ name, needs }) => plan.apps.includes(name) && needs.every(isThere))

  const status: Status = {
    ready: false,
    baseUrl: origin,
    issuer,
    parts: [],
    apps: [],
    logins: seed.people.map(({ username, roles, note }) => ({ username, password: developmentPassword, roles, note })),
    admin: { username: keycloak.administrator.username, password: keycloak.administrator.password },
    flags: {
      replicas: 1,
      tokenSeconds: plan.tokenSeconds ?? Number(realm?.document['accessTokenLifespan'] ?? 300),
      rotate: plan.rotate,
    },
    pid: process.pid,
  }
  let writing = Promise.resolve()
  const publish = () => {
    const isUp = ({ readyMs }: AppStatus | PartStatus) => readyMs > 0
    status.ready =
      status.parts.length === parts.length &&
      status.parts.every(part => part.kind === 'external' || isUp(part)) &&
      status.apps.length === folders.length &&
      status.apps.every(isUp)
    writing = writing.then(() => writeStatus(plan.state, status))
    return writing
  }
  await publish()

  const place: Surroundings = {
    root: plan.root,
    ports,
    issuer,
    origin,
    keys,
    redis: origins.get('redis')?.url ?? '',
    kafka: origins.get('kafka')?.url ?? '',
    database: postgres.url,
  }
  const keepers: { name: string; keeper: Keeper }[] = []
  const stopping = new AbortController()
  const started = new Map<string, Promise<void>>()
  const needs = (names: readonly string[]) => Promise.all(names.map(name => started.get(name)))

  for (const part of parts)
    started.set(
      part.name,
      needs(part.needs).then(() => startPart(part)),
    )
  const web = folders.some(({ name }) => name === 'bff') ? provideWeb() : Promise.resolve()
  for (const app of folders) started.set(app.name, startApp(app))
  for (const one of [...started.values(), web]) one.catch(() => {}) // `healthy` tells
  const healthy = allHealthy()
  healthy.catch(() => {}) // whoever waits for it sees it

  /** A part that fails is the end at once; of the apps each gets its chance. */
  async function allHealthy(): Promise<void> {
    await Promise.all(parts.map(({ name }) => started.get(name)))
    const rest = await Promise.allSettled([...started.values(), web])
    const reasons = rest.flatMap(result => (result.status === 'rejected' ? [(result.reason as Error).message] : []))
    if (reasons.length > 0) throw new Error(reasons.join('\n\n'))
  }

  async function startPart(part: Part): Promise<void> {
    const origin = origins.get(part.name)
    if (origin === undefined || stopping.signal.aborted) return
    const row: PartStatus = { name: part.name, ...origin, pid: 0, readyMs: 0 }
    status.parts = [...status.parts, row].sort((a, b) => order(a.name) - order(b.name))
    const begin = performance.now()
    if (origin.kind === 'external') {
      await part.answers().catch(cause => {
        throw new Error(`${origin.program} at ${origin.source} does not answer: ${(cause as Error).message}`, { cause })
      })
    } else {
      if (part.name === 'keycloak') await provideDatabase(postgres.url(), 'keycloak', 'keycloak')
      const keeper = keep({
        guard,
        name: part.name,
        program: part.program,
        answers: part.answers,
        patience: 180_000,
        giveUp: true,
        // What it says while starting is told only if it does not start; while stopping it is of no interest.
        onLine: line => {
          if (row.readyMs > 0 && !stopping.signal.aborted) screen.log(part.name, line)
        },
        onChange: ({ pid, ready, readyMs }) => {
          Object.assign(row, { pid, readyMs: ready && prepared ? readyMs : 0 })
          publish()
        },
        say: text => screen.log(part.name, text),
      })
      let prepared = part.prepare === undefined
      keepers.push({ name: part.name, keeper })
      await keeper.started.catch(cause => {
        throw new Error(`${origin.program} did not start. ${(cause as Error).message}`, { cause })
      })
      prepared = true
    }
    await part.prepare?.()
    row.readyMs = Math.round(performance.now() - begin)
    if (stopping.signal.aborted) return
    await publish()
    screen.progress(part.name, `${origin.program} ${origin.version} is ready after ${row.readyMs} ms`)
  }

  async function startApp(app: AppFolder): Promise<void> {
    const port = ports.apps[app.name] ?? 0
    const url = app.name === 'bff' ? origin : `http://127.0.0.1:${port}`
    const row: AppStatus = {
      name: app.name,
      url,
      healthUrl: `http://127.0.0.1:${healthPortOf(port)}`,
      pid: 0,
      readyMs: 0,
    }
    status.apps.push(row)
    // Everything but Keycloak's keys is needed to begin; a service gets those with its first token.
    await needs(app.needs.filter(name => name !== 'keycloak'))
    if (app.name === 'bff') await web
    const options = { superuser: postgres.url(), place, seedFile, state: plan.state }
    await provideData(guard, app, options, line => screen.log(app.name, line))
    if (stopping.signal.aborted) return
    const keeper = keep({
      guard,
      name: app.name,
      program: () => appProgram(app, place),
      answers: async () => {
        const answer = await fetch(`${row.healthUrl}/ready`, { signal: AbortSignal.timeout(2_000) })
        await answer.body?.cancel()
        if (!answer.ok) throw new Error(`/ready answers ${answer.status}`)
      },
      patience: 90_000,
      onLine: line => screen.log(app.name, line),
      isShown: true,
      onChange: ({ pid, ready, readyMs }) => {
        Object.assign(row, { pid, readyMs })
        publish()
        if (ready) screen.progress(app.name, `is ready after ${readyMs} ms`)
      },
      say: text => screen.log(app.name, text),
    })
    keepers.push({ name: app.name, keeper })
    if (plan.watch) {
      watchSources(
        plan.root,
        app,
        stopping.signal,
        async () => {
          screen.log(app.name, 'A source changed: starting it again.')
          await provideData(guard, app, options, line => screen.log(app.name, line))
          await keeper.restart()
        },
        error => screen.log(app.name, error.message),
      )
    }
    await keeper.started.catch(cause => {
      throw new Error(`The app ${app.name} did not start. ${(cause as Error).message}`, { cause })
    })
  }

  /** The pages: built once, then again at each change when somebody works on them. */
  async function provideWeb(): Promise<void> {
    const build = await webBuild(plan.root)
    if (build === undefined) return
    if (build.isOutdated) {
      screen.progress('web', 'building the pages …')
      await complete(guard, build.program)
    }
    if (!plan.watch) return
    const { program } = build
    void needs([...started.keys()])
      .catch(() => {})
      .then(() => {
        if (stopping.signal.aborted) return
        const keeper = keep({
          guard,
          name: 'web',
          program: async () => ({ ...program, args: [...program.args, '--watch', '--clearScreen', 'false'] }),
          answers: async () => {},
          patience: 30_000,
          onLine: line => screen.log('web', line),
          onChange: () => {},
          say: text => screen.log('web', text),
        })
        keepers.push({ name: 'web', keeper })
      })
  }

  let stopped: Promise<void> | undefined
  async function stopAll(): Promise<void> {
    stopping.abort()
    const stop = (wanted: (name: string) => boolean) =>
      Promise.all(keepers.filter(({ name }) => wanted(name)).map(({ keeper }) => keeper.stop()))
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

const order = (name: PartName): number => partNames.indexOf(name)

/** Two launchers on one state folder would fight. One that was killed a moment ago is waited for. */
async function refuseSecond(plan: Plan): Promise<void> {
  const running = readStatus(statusFile(plan.state))
  if (running === undefined) return
  throw new Error(
    `It runs already: process ${running.pid}, ${running.baseUrl}. Stop that one first (Ctrl-C, or kill ${running.pid}).`,
  )
}

/** Ports by who needs them. */
function wantedPorts(plan: Plan, parts: readonly Part[]): Map<number, string> {
  const wanted = new Map<number, string>()
  for (const part of parts) for (const port of part.ports) wanted.set(port, part.name)
  for (const name of plan.apps) {
    const port = plan.ports.apps[name] ?? 0
    wanted.set(port, name).set(healthPortOf(port), `${name} (health)`)
  }
  return wanted
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
