import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, globSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism } from 'node:os'
import { delimiter, join } from 'node:path'

/** The core that only the program under test uses, and the one for load, upstream and store. */
export const cores = { tested: 0, rest: 1 }

export type Running = { pid: number; child: ChildProcess }

const running: ChildProcess[] = []

/** Starts a program on one core (where the system can pin it); its output goes to a file in `folder`. */
export function run(
  folder: string,
  name: string,
  core: number,
  [command = '', ...args]: readonly string[],
  env: Record<string, string> = {},
): Running {
  const isPinned = existsSync('/usr/bin/taskset') && availableParallelism() > 1
  const log = openSync(join(folder, `${name}.log`), 'a')
  const [program = '', ...rest] = isPinned ? ['taskset', '-c', String(core), command, ...args] : [command, ...args]
  const child = spawn(program, rest, {
    stdio: ['ignore', log, log, 'ipc'],
    env: { ...process.env, ...env },
    cwd: folder,
  })
  closeSync(log)
  running.push(child)
  child.on('error', error => console.error(`${name} did not start: ${error.message}`))
  return { pid: child.pid ?? 0, child }
}

/** Ends everything that was started here, and only that. */
export async function stopAll(): Promise<void> {
  await Promise.all(running.map(stop))
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 3_000)
  await exited
  clearTimeout(timer)
}

/** Resolves once the address answers at all. */
export async function answering(url: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      const answer = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(1_000) })
      await answer.body?.cancel()
      return
    } catch (cause) {
      if (tries === 100) throw new Error(`nothing answers at ${url}`, { cause })
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** Processor time of all threads of a process until now, in µs (Linux only). */
export function processorTime(pid: number): number {
  let nanoseconds = 0
  for (const thread of readdirSync(`/proc/${pid}/task`))
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ', 1)[0])
  return nanoseconds / 1000
}

/** Resident memory of a process in bytes (Linux only). */
export function residentMemory(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kilobytes) * 1024
}

export function findProgram(name: string, ...elsewhere: string[]): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/go/bin']
  return [...folders.map(folder => join(folder, name)), ...elsewhere.flatMap(pattern => globSync(pattern))].find(
    existsSync,
  )
}

/** nginx in the foreground, one process, no log. */
export function nginx(folder: string, name: string, core: number, program: string, server: string): Running {
  const home = join(folder, name)
  mkdirSync(join(home, 'temp'), { recursive: true })
  const file = join(home, 'nginx.conf')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    kind => `${kind}_temp_path ${join(home, 'temp', kind)};`,
  )
  writeFileSync(
    file,
    `daemon off; master_process off; worker_processes 1; pid ${join(home, 'pid')}; error_log ${join(home, 'error.log')};
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; ${temporary.join(' ')}
${server}
}`,
  )
  return run(folder, name, core, [program, '-p', home, '-c', file])
}
