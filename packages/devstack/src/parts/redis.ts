import { chmod, mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createClient } from 'redis'
import { complete, type Program } from '../process.ts'
import { cached, fetchArtifact, megabytes, unzip } from './artifacts.ts'
import { type Origin, type Part, reached, type Site } from './part.ts'
import { onPath } from './system.ts'

const artifact = 'com.github.codemonstur:embedded-redis:1.4.3'

/** Redis from PATH, else the server that a Maven artifact carries. Sessions must survive its restart: AOF everysec. */
export function redisPart(site: Site, port: number): Part {
  const external = site.environment['REDIS_URL']
  const url = external ?? `redis://127.0.0.1:${port}`
  let command = ''

  return {
    name: 'redis',
    needs: [],
    ports: external === undefined ? [port] : [],
    async locate(): Promise<Origin> {
      if (external !== undefined) {
        return {
          kind: 'external',
          program: 'Redis',
          version: await reached('REDIS_URL', serverVersion(url)),
          source: 'REDIS_URL',
          url,
        }
      }
      const installed = await onPath(site, 'redis-server')
      const own = installed === undefined ? undefined : await programVersion(site, installed)
      if (installed !== undefined && own !== undefined && isRecent(own)) {
        command = installed
        return { kind: 'real', program: 'Redis', version: own, source: installed, url }
      }
      command = join(await cached(site, 'redis-6.2', folder => fetchServer(site, folder)), 'redis-server')
      const version = (await programVersion(site, command)) ?? '6.2'
      return { kind: 'real', program: 'Redis', version, source: `Maven ${artifact.split(':')[1]}`, url }
    },
    async program(): Promise<Program> {
      const folder = join(site.state, 'redis')
      await mkdir(folder, { recursive: true })
      const settings = {
        bind: '127.0.0.1',
        port,
        dir: folder,
        appendonly: 'yes',
        appendfsync: 'everysec',
        save: '',
        loglevel: 'warning',
      }
      const args = Object.entries(settings).flatMap(([key, value]) => [`--${key}`, String(value)])
      return { name: 'redis', command, args, cwd: folder }
    },
    answers: async () => {
      await serverVersion(url)
    },
  }
}

/** 6.2 is the oldest with all we use: RESP3, broadcast tracking, GETEX. */
function isRecent(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > 6 || (major === 6 && minor >= 2)
}

async function programVersion(site: Site, command: string): Promise<string | undefined> {
  const text = await complete(site.guard, { name: 'redis-server', command, args: ['--version'] }).catch(
    (error: Error) => {
      site.progress('redis', `${command} does not run: ${error.message.split('\n').at(-1)}`)
      return ''
    },
  )
  return /v=([0-9.]+)/.exec(text)?.[1]
}

async function fetchServer(site: Site, folder: string): Promise<void> {
  const jar = await fetchArtifact(site, 'redis', artifact, folder)
  site.progress('redis', `unpacking ${await megabytes(jar)} MB`)
  const system = `${process.platform === 'darwin' ? 'darwin' : 'linux'}-${process.arch === 'arm64' ? 'arm64' : 'amd64'}`
  let found: string | undefined
  await unzip(jar, folder, entry => {
    if (!/^redis-server-6/.test(entry) || !entry.endsWith(system)) return undefined
    found = entry
    return entry
  })
  if (found === undefined) {
    throw new Error(`There is no Redis for ${system} in ${artifact}. Install redis-server, or set REDIS_URL=redis://…`)
  }
  await rename(join(folder, found), join(folder, 'redis-server'))
  await chmod(join(folder, 'redis-server'), 0o755)
  await rm(jar)
}

async function serverVersion(url: string): Promise<string> {
  const client = createClient({ url, socket: { connectTimeout: 2_000, reconnectStrategy: false } })
  client.on('error', () => {}) // the rejection of connect() says the same
  try {
    await client.connect()
    await client.ping() // refused while the data is still being loaded
    const text = await client.info('server')
    return /redis_version:([0-9.]+)/.exec(text)?.[1] ?? ''
  } finally {
    if (client.isOpen) client.destroy()
  }
}
