import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Bank, cached } from '@banking/devstack'
import { parts } from '@banking/testkit'
import type { Test } from 'tap'
import { eventually } from '../bank.ts'
import { realmAdmin } from '../realm-admin.ts'

// Applications of others, as their users install them, behind an edge of their own.

const root = join(import.meta.dirname, '../..')
const docs = join(root, 'docs/applications')
const complete = promisify(execFile)
const place = { environment: process.env }

/** Skips the file and says what to install: continuous integration takes that for a failure. */
function skip(t: Test, missing: string, install: string): never {
  t.plan(0, `needs ${missing}: ${install}`)
  process.exit(0)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function testFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'application-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Starts a program until teardown, and waits until it answers at an address. */
async function serve(
  t: Test,
  {
    command,
    args,
    env,
    cwd,
    url,
  }: { command: string; args: string[]; env?: NodeJS.ProcessEnv; cwd: string; url: string },
): Promise<void> {
  const child: ChildProcess = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4_000)
    })
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  const answers = await eventually(
    () =>
      fetch(url, { redirect: 'manual' }).then(
        ({ status }) => status < 500,
        () => child.exitCode !== null,
      ),
    is => is,
    60,
  )
  if (!answers || child.exitCode !== null) throw new Error(`${command} does not answer at ${url}:\n${said}`)
}

/**
 * The edge as a process of its own, by a file of the documentation, at the bank's provider and Redis.
 *
 * @param upstream variables that the file asks for beside those of every edge
 * @returns its public origin
 */
export async function documentedEdge(
  t: Test,
  bank: Bank,
  file: string,
  { publicOrigin, port, ...upstream }: { publicOrigin: string; port: number } & Record<string, string | number>,
): Promise<void> {
  const folder = await testFolder(t)
  const server = join(root, 'bff/src/server.ts')
  await complete(process.execPath, [server, '--new-keys', folder])
  const healthPort = await freePort()
  await serve(t, {
    command: process.execPath,
    args: [server, '--config', join(docs, file)],
    cwd: folder,
    env: {
      PUBLIC_ORIGIN: publicOrigin,
      PORT: String(port),
      HEALTH_PORT: String(healthPort),
      ID_TOKEN_ALGORITHMS: 'ES256',
      ISSUER: bank.status.issuer,
      CLIENT_ID: await realmAdmin(bank).addEdge(t, publicOrigin),
      CLIENT_KEY_FILE: join(folder, 'client-keys.json'),
      SESSION_KEY_FILE: join(folder, 'session-keys.json'),
      REDIS_URL: parts(t, 'redis').redis,
      ...Object.fromEntries(Object.entries(upstream).map(([name, value]) => [name, String(value)])),
    },
    url: `http://127.0.0.1:${healthPort}/ready`,
  })
}

const django = '5.2.19'
export const superuser = { username: 'root', password: 'development-only' }

/** Django's admin by the settings of the documentation, with a superuser. @returns its address, for the edge */
export async function startDjango(t: Test, publicOrigin: string): Promise<string> {
  const found = await complete('python3', [
    '-c',
    'import sys, ensurepip, venv; print("%d.%d" % sys.version_info[:2])',
  ]).catch(() => skip(t, 'Python 3 with venv', 'sudo apt-get install -y python3-venv'))
  const environment = await cached(place, `django-${django}-python-${found.stdout.trim()}`, async folder => {
    await complete('python3', ['-m', 'venv', folder])
    await complete(join(folder, 'bin/python'), [
      '-m',
      'pip',
      'install',
      '--quiet',
      '--disable-pip-version-check',
      `Django==${django}`,
    ])
  })
  const folder = await testFolder(t)
  const command = join(environment, 'bin/python')
  const env = {
    DJANGO_SETTINGS_MODULE: 'settings',
    DJANGO_SECRET_KEY: randomBytes(32).toString('base64url'),
    DJANGO_DATABASE: join(folder, 'db.sqlite3'),
    DJANGO_SUPERUSER_USERNAME: superuser.username,
    DJANGO_SUPERUSER_PASSWORD: superuser.password,
    DJANGO_SUPERUSER_EMAIL: 'root@example.test',
    PUBLIC_ORIGIN: publicOrigin,
    PYTHONPATH: join(docs, 'django'),
    PYTHONDONTWRITEBYTECODE: '1',
  }
  const manage = (...args: string[]) =>
    complete(command, ['-m', 'django', ...args], { cwd: folder, env: { ...process.env, ...env } })
  await manage('migrate', '--verbosity', '0')
  await manage('createsuperuser', '--noinput')
  const port = await freePort()
  const origin = `http://127.0.0.1:${port}`
  // Insecure is what its manual calls to serve its own style sheets without DEBUG.
  const args = ['-m', 'django', 'runserver', '--noreload', '--insecure', `127.0.0.1:${port}`]
  await serve(t, { command, args, env, cwd: folder, url: `${origin}/admin/login/` })
  return origin
}

/** Prometheus as Debian packages it, which watches itself. @returns its address, for the edge */
export async function startPrometheus(t: Test, publicOrigin: string): Promise<string> {
  const installed = await debianPackage(t, 'prometheus')
  const folder = await testFolder(t)
  const port = await freePort()
  const address = `127.0.0.1:${port}`
  const settings = await readFile(join(docs, 'prometheus/prometheus.yml'), 'utf8')
  await writeFile(join(folder, 'prometheus.yml'), settings.replace('127.0.0.1:9090', address))
  await serve(t, {
    command: join(installed, 'usr/bin/prometheus'),
    args: [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${address}`,
      `--web.external-url=${publicOrigin}/prometheus`,
      `--web.local-assets=${join(installed, 'usr/share/prometheus/web')}`,
    ],
    cwd: folder,
    url: `http://${address}/prometheus/-/ready`,
  })
  return `http://${address}`
}

/**
 * What a Debian package and the scripts and fonts that it depends on would install, in a folder: without root, and
 * without a service that starts.
 */
async function debianPackage(t: Test, name: string): Promise<string> {
  const shown = await complete('apt-cache', ['show', '--no-all-versions', name]).catch(() =>
    skip(t, `the Debian package ${name}, or where it can be had`, 'sudo apt-get update'),
  )
  const version = /^Version: (\S+)$/m.exec(shown.stdout)?.[1]?.replace(/[^\w.+-]/g, '_')
  return cached(place, `${name}-${version}`, async folder => {
    const names = [name]
    for (const one of names) {
      await complete('apt-get', ['download', '--quiet', one], { cwd: folder })
      const file = (await readdir(folder)).find(
        entry => entry.startsWith(`${one}_`) && entry.endsWith('.deb'),
      ) as string
      const { stdout } = await complete('dpkg-deb', ['--field', file, 'Depends'], { cwd: folder })
      await complete('dpkg-deb', ['--extract', file, '.'], { cwd: folder })
      await rm(join(folder, file))
      for (const depends of stdout.split(/[,|]/)) {
        const needed = depends.trim().split(/[ :(]/, 1)[0] as string
        if (/^(?:libjs|fonts)-/.test(needed) && !names.includes(needed)) names.push(needed)
      }
    }
  })
}

/** Where an edge of a test is reached. */
export async function publicAddress(): Promise<{ publicOrigin: string; port: number }> {
  const port = await freePort()
  return { publicOrigin: `http://localhost:${port}`, port }
}
