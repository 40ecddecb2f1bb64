import { healthPortOf } from '@banking/contracts'
import { type AppFolder, appProgram, provideData, type Surroundings, webBuild } from './apps.ts'
import { type Keeper, keep } from './keeper.ts'
import { type Origin, type Part, type PartName, partNames } from './parts/part.ts'
import { type Instance, instancesOf, type Plan } from './plan.ts'
import { internalPortOf } from './ports.ts'
import { complete, type Guard } from './process.ts'
import { startRoundRobin } from './round-robin.ts'
import type { AppStatus, PartStatus, Status } from './status.ts'
import type { Terminal } from './terminal.ts'
import { watchSources } from './watch.ts'

/** What everything that starts in one run shares. */
export type Scene = {
  plan: Plan
  screen: Terminal
  guard: Guard
  status: Status
  /** Writes the status file after a change of `status`. */
  publish(): void
  seedFile: string
  origins: ReadonlyMap<PartName, Origin>
  /** Address of PostgreSQL as its superuser. */
  superuser: string
  place: Surroundings
  /** Aborted once everything is to stop. */
  signal: AbortSignal
  keepers: { name: string; keeper: Keeper }[]
  /** Resolves when these parts are ready; rejects with the first that does not start. */
  ready(names: readonly PartName[]): Promise<void>
}

/** Starts a part after those it needs, and prepares it for the bank. */
export async function startPart(scene: Scene, part: Part): Promise<void> {
  const { guard, screen, signal, status } = scene
  await scene.ready(part.needs)
  const origin = scene.origins.get(part.name)
  if (origin === undefined || signal.aborted) return
  const row: PartStatus = { name: part.name, ...origin, pid: 0, readyMs: 0 }
  status.parts = partNames.flatMap(name => [...status.parts, row].filter(entry => entry.name === name))
  const begin = performance.now()
  let isPrepared = part.prepare === undefined
  if (origin.kind === 'external') {
    await part.answers().catch(cause => {
      throw new Error(`${origin.program} at ${origin.source} does not answer: ${(cause as Error).message}`, { cause })
    })
  } else {
    const keeper = keep({
      ...{ guard, name: part.name, program: part.program, answers: part.answers },
      patience: 180_000,
      giveUp: true,
      // What it says while starting is told only if it does not start; while stopping it is of no interest.
      onLine: line => {
        if (row.readyMs > 0 && !signal.aborted) screen.log(part.name, line)
      },
      onChange: ({ pid, ready, readyMs }) => {
        Object.assign(row, { pid, readyMs: ready && isPrepared ? readyMs : 0 })
        scene.publish()
      },
      say: text => screen.log(part.name, text),
    })
    scene.keepers.push({ name: part.name, keeper })
    await keeper.started.catch(cause => {
      const remedy = 'If its data is damaged or from another version, forget it: dev --reset'
      throw new Error(`${origin.program} did not start. ${(cause as Error).message}\n${remedy}`, { cause })
    })
  }
  await part.prepare?.()
  isPrepared = true
  row.readyMs = Math.max(1, Math.round(performance.now() - begin))
  if (signal.aborted) return
  scene.publish()
  screen.progress(part.name, `${[origin.program, origin.version].join(' ').trim()} is ready after ${row.readyMs} ms`)
}

/** Starts an app's processes after its parts and, for the BFF, after the pages are built. */
export async function startApp(scene: Scene, app: AppFolder, web: Promise<void>): Promise<void> {
  const { guard, place, plan, screen, signal } = scene
  const instances = instancesOf(plan, app.name).map(instance => {
    const row: AppStatus = {
      name: instance.name,
      url: instance.name === 'bff' ? place.origin : `http://127.0.0.1:${instance.port}`,
      healthUrl: `http://127.0.0.1:${healthPortOf(instance.port)}`,
      ...(app.name === 'bff' ? { internalUrl: `http://127.0.0.1:${internalPortOf(instance.port)}` } : {}),
      pid: 0,
      readyMs: 0,
    }
    return { instance, row }
  })
  scene.status.apps.push(...instances.map(({ row }) => row))
  // Keycloak takes longest and is asked for its keys with the first token only.
  await scene.ready(app.needs.filter(name => name !== 'keycloak'))
  if (app.name === 'bff') await web
  const onLine = (line: string) => screen.log(app.name, line)
  const data = { superuser: scene.superuser, place, seedFile: scene.seedFile, state: plan.state }
  await provideData(guard, app, data, onLine)
  if (signal.aborted) return
  if (instances.length > 1) {
    const backends = instances.map(({ instance, row }) => ({ port: instance.port, healthUrl: row.healthUrl }))
    const balancer = await startRoundRobin(plan.ports.apps[app.name] ?? 0, backends)
    signal.addEventListener('abort', () => void balancer.close(), { once: true })
  }
  const keepers = instances.map(({ instance, row }) => keepInstance(scene, app, instance, row))
  if (plan.watch) {
    const restart = async () => {
      onLine('A source changed: starting it again.')
      await provideData(guard, app, data, onLine)
      // One after the other: what is asked meanwhile goes to the rest, which stay as they are if the first fails.
      for (const keeper of keepers) if (!(await keeper.restart())) return
    }
    watchSources(plan.root, app, { signal, onChange: restart, onError: error => onLine(error.message) })
  }
  await Promise.all(
    keepers.map(({ started }, index) =>
      started.catch(cause => {
        throw new Error(`The app ${instances[index]?.instance.name} did not start. ${(cause as Error).message}`, {
          cause,
        })
      }),
    ),
  )
}

/** Keeps one process of an app running, and its row of the status file true. */
function keepInstance(scene: Scene, app: AppFolder, instance: Instance, row: AppStatus): Keeper {
  const { guard, place, screen } = scene
  const { name } = instance
  const onLine = (line: string) => screen.log(name, line)
  const keeper = keep({
    guard,
    name,
    program: () => appProgram(app, instance, place),
    answers: async () => {
      const answer = await fetch(`${row.healthUrl}/ready`, { signal: AbortSignal.timeout(2_000) })
      await answer.body?.cancel()
      if (!answer.ok) throw new Error(`/ready answers ${answer.status}`)
    },
    patience: 90_000,
    onLine,
    isShown: true,
    onChange: ({ pid, ready, readyMs }) => {
      Object.assign(row, { pid, readyMs })
      scene.publish()
      if (ready) screen.progress(name, `is ready after ${readyMs} ms`)
    },
    say: onLine,
  })
  scene.keepers.push({ name, keeper })
  return keeper
}

/** Builds the pages unless what was built is newer than their sources. */
export async function buildWeb({ plan, guard, screen }: Scene): Promise<void> {
  const build = await webBuild(plan.root)
  if (build?.isOutdated !== true) return
  screen.progress('web', 'building the pages …')
  await complete(guard, build.program)
}

/** Builds the pages again at each change. */
export async function watchWeb({ plan, guard, screen, signal, keepers }: Scene): Promise<void> {
  const build = await webBuild(plan.root)
  if (build === undefined || signal.aborted) return
  const onLine = (line: string) => screen.log('web', line)
  const keeper = keep({
    guard,
    name: 'web',
    program: async () => ({ ...build.program, args: [...build.program.args, '--watch', '--clearScreen', 'false'] }),
    answers: async () => {},
    patience: 30_000,
    onLine,
    isShown: true,
    onChange: () => {},
    say: onLine,
  })
  keepers.push({ name: 'web', keeper })
}
