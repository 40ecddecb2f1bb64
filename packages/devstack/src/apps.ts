import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type AppName, apps, auditTopic, healthPortOf, topicOf, webClient } from '@banking/contracts'
import { clientKeys, sealingKeyFile } from './keys.ts'
import type { PartName } from './parts/part.ts'
import { provideDatabase } from './parts/postgres.ts'
import type { Instance } from './plan.ts'
import { internalPortOf, type Ports } from './ports.ts'
import { complete, type Guard, type Program } from './process.ts'

/** An app of the bank that is there to be run. */
export type AppFolder = {
  name: AppName
  folder: string
  /** Parts without which it cannot work. */
  needs: readonly PartName[]
}

/** What the apps are told about where everything is. */
export type Surroundings = {
  root: string
  ports: Ports
  issuer: string
  /** The BFF's public origin. */
  origin: string
  keys: string
  /** Folder where Node keeps compiled modules. */
  compileCache: string
  redis: string
  kafka: string
  /** Address of a database for a role. */
  database(name: string, role: string): string
}

/** The apps whose `src/server.ts` exists. */
export function appFolders(root: string): AppFolder[] {
  return apps
    .map(({ name }): AppFolder => {
      const folder = join(root, name === 'bff' ? 'bff' : `services/${name}`)
      return {
        name,
        folder,
        needs: name === 'bff' ? ['redis', 'kafka', 'keycloak'] : ['postgres', 'kafka', 'keycloak'],
      }
    })
    .filter(({ folder }) => existsSync(join(folder, 'src/server.ts')))
}

/** Every topic of these apps. */
export const topicsOf = (names: readonly AppName[]): string[] => [...new Set([...names.map(topicOf), auditTopic])]

const nodeArguments = ['--enable-source-maps']

/** How a process of an app is started: its environment says everything it needs to know. */
export async function appProgram(app: AppFolder, { name, port }: Instance, place: Surroundings): Promise<Program> {
  const isReplica = name !== app.name
  const common = {
    HOST: '127.0.0.1',
    PORT: String(port),
    HEALTH_PORT: String(healthPortOf(port)),
    LOG_LEVEL: process.env['LOG_LEVEL'] ?? 'info',
    ISSUER: place.issuer,
    KAFKA_BROKERS: place.kafka,
    TOPIC_PREFIX: '',
    // Half a second less of compiling at each restart.
    NODE_COMPILE_CACHE: place.compileCache,
  }
  const own =
    app.name === 'bff'
      ? await edgeEnvironment(place, port, isReplica)
      : await serviceEnvironment(app.name, place, app.name)
  return {
    name,
    command: process.execPath,
    args: [...nodeArguments, join(app.folder, 'src/server.ts')],
    cwd: place.root,
    env: { ...common, ...own },
    grace: 15_000,
  }
}

/** What a service and the processes that prepare its data are told, each with its own role. */
async function serviceEnvironment(name: AppName, place: Surroundings, role: string): Promise<Record<string, string>> {
  return {
    DATABASE_URL: place.database(name, role),
    ...(name === 'customer' ? { PII_KEY_FILE: await sealingKeyFile(place.keys, 'pii') } : {}),
  }
}

async function edgeEnvironment(place: Surroundings, port: number, isReplica: boolean): Promise<Record<string, string>> {
  await clientKeys(place.keys, 'bff')
  const upstreams = Object.entries(place.ports.apps)
    .filter(([name]) => name !== 'bff')
    .map(([name, port]) => [`UPSTREAM_${name.toUpperCase()}`, `http://127.0.0.1:${port}`])
  return {
    CONFIG_FILE: join(place.root, 'bff/bank.yaml'),
    PUBLIC_ORIGIN: place.origin,
    INTERNAL_PORT: String(internalPortOf(port)),
    // The round-robin looks five times a second; without one nobody needs to notice.
    DRAIN_DELAY: isReplica ? '1s' : '0s',
    CLIENT_ID: webClient,
    CLIENT_KEY_FILE: join(place.keys, 'bff.json'),
    SESSION_KEY_FILE: await sealingKeyFile(place.keys, 'session'),
    REDIS_URL: place.redis,
    // All people of this bank come from one address.
    ADDRESS_PER_SECOND: '2000',
    ADDRESS_BURST: '8000',
    LOGINS_PER_SECOND: '200',
    LOGINS_BURST: '2000',
    ...Object.fromEntries(upstreams),
  }
}

/**
 * Brings a service's database up to date and tells it the development story, each as a process of its own as in
 * production. What was done before with the same files is not done again.
 */
export async function provideData(
  guard: Guard,
  app: AppFolder,
  options: { superuser: string; place: Surroundings; seedFile: string; state: string },
  onLine: (line: string) => void,
): Promise<void> {
  if (app.name === 'bff') return
  const isNew = await provideDatabase(options.superuser, app.name)
  const env = {
    ...(await serviceEnvironment(app.name, options.place, `${app.name}_owner`)),
    SEED_FILE: options.seedFile,
  }
  for (const step of ['migrate', 'seed']) {
    const file = join(app.folder, `src/${step}.ts`)
    if (!existsSync(file)) continue
    const sources = step === 'migrate' ? [file, join(app.folder, 'migrations')] : [file, options.seedFile]
    const hash = await hashOf(sources)
    const record = join(options.state, 'done', `${app.name}-${step}`)
    if (!isNew && existsSync(record) && readFileSync(record, 'utf8') === hash) continue
    const program = { name: `${app.name} ${step}`, command: process.execPath, args: [...nodeArguments, file] }
    await complete(guard, { ...program, env, cwd: options.place.root }, onLine).catch(cause => {
      const hint = isNew ? '' : '\nIf the data is from an older state of the project, forget it: dev --reset'
      throw new Error(`${(cause as Error).message}${hint}`, { cause })
    })
    await mkdir(join(options.state, 'done'), { recursive: true })
    await writeFile(record, hash)
  }
}

async function hashOf(paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256')
  for (const path of paths) {
    for (const file of await filesBelow(path)) hash.update(file).update(await readFile(file))
  }
  return hash.digest('hex')
}

/** All files of a folder in a fixed order; a file is a folder of one. */
async function filesBelow(path: string): Promise<string[]> {
  if (!existsSync(path)) return []
  if ((await stat(path)).isFile()) return [path]
  const entries = await readdir(path, { recursive: true, withFileTypes: true })
  return entries
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
    .sort()
}

/** How the web app is built, and whether what was built is older than its sources. */
export async function webBuild(root: string): Promise<{ program: Program; isOutdated: boolean } | undefined> {
  const folder = join(root, 'bff/web')
  if (!existsSync(join(folder, 'vite.config.ts'))) return undefined
  const vite = join(root, 'bff/node_modules/vite/bin/vite.js')
  const built = await stat(join(folder, 'dist/index.html')).catch(() => undefined)
  const sources = (await filesBelow(folder)).filter(file => !/\/(dist|node_modules)\//.test(file))
  const times = await Promise.all(sources.map(async file => (await stat(file)).mtimeMs))
  return {
    program: { name: 'web', command: process.execPath, args: [vite, 'build'], cwd: folder },
    isOutdated: built === undefined || Math.max(...times) > built.mtimeMs,
  }
}

/** Folders whose change concerns an app: its own and those of the workspace packages it depends on, however far. */
export function sourcesOf(root: string, app: AppFolder): string[] {
  const folders = new Set([app.folder])
  for (const folder of folders) {
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
      dependencies?: Record<string, string>
    }
    for (const name of Object.keys(manifest.dependencies ?? {})) {
      if (name.startsWith('@banking/')) folders.add(join(root, 'packages', name.slice('@banking/'.length)))
    }
  }
  return [...folders].flatMap(folder => [join(folder, 'src'), join(folder, 'migrations')]).filter(existsSync)
}
