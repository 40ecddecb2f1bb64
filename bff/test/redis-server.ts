import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { eventually, stack } from '@banking/testkit'
import { createClient } from 'redis'
import type { Test } from 'tap'

export type RedisServer = {
  host: string
  port: number
  url: string
  process: ChildProcess
  /** Runs a command as another client would. */
  ask(...command: string[]): Promise<unknown>
  /** Ends it as a crash does. */
  kill(): Promise<void>
}

/** The server of the running stack, or the one on PATH; without one the file is skipped with the remedy. */
function program(t: Test): string {
  const onPath = (process.env['PATH'] ?? '').split(delimiter).map(folder => join(folder, 'redis-server'))
  const part = stack()?.parts.find(({ name, kind }) => name === 'redis' && kind === 'real')
  const running = part === undefined ? undefined : `/proc/${part.pid}/exe`
  const found = running !== undefined && existsSync(running) ? readlinkSync(running) : onPath.find(existsSync)
  if (found !== undefined) return found
  t.plan(0, 'needs a redis-server on PATH, or a stack that runs one: `npx -y pnpm@10.34.9 test` starts it')
  process.exit(0)
}

/** A Redis of its own for tests that stop, empty or kill it; `sentinel` makes it a sentinel with this configuration. */
export async function redisServer(
  t: Test,
  options: { args?: readonly string[]; sentinel?: readonly string[]; password?: string } = {},
): Promise<RedisServer> {
  const command = program(t)
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'redis-'))
  const file = join(folder, 'redis.conf')
  const { password } = options
  const lines = [`port ${port}`, 'bind 127.0.0.1', `dir ${folder}`, 'loglevel warning']
  if (password !== undefined) lines.push(`requirepass ${password}`)
  writeFileSync(file, [...lines, ...(options.sentinel ?? ['save ""']), ''].join('\n'))
  const mode = options.sentinel === undefined ? [] : ['--sentinel']
  // Debian's is one program of several names that does what it is called.
  const server = spawn(command, [file, ...(options.args ?? []), ...mode], { stdio: 'ignore', argv0: 'redis-server' })
  const ended = once(server, 'exit')
  const kill = async () => {
    if (server.exitCode === null && server.signalCode === null) {
      server.kill('SIGCONT')
      server.kill('SIGKILL')
      await ended
    }
  }
  t.teardown(async () => {
    await kill()
    rmSync(folder, { recursive: true })
  })
  const url = `redis://${password === undefined ? '' : `:${password}@`}127.0.0.1:${port}`
  const ask = async (...words: string[]): Promise<unknown> => {
    const client = createClient({ url, RESP: 2, disableClientInfo: true, socket: { reconnectStrategy: false } })
    client.on('error', () => undefined)
    try {
      await client.connect()
      return await client.sendCommand(words)
    } finally {
      client.destroy()
    }
  }
  for (;;) {
    if (server.exitCode !== null) throw new Error(`redis-server ended with ${server.exitCode}`)
    const answer = await ask('PING').catch(() => undefined)
    if (answer === 'PONG') break
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  return { host: '127.0.0.1', port, url, process: server, ask, kill }
}

const clientOf = async (server: RedisServer, isMeant: (line: string) => boolean): Promise<string> => {
  const lines = String(await server.ask('CLIENT', 'LIST')).split('\n')
  return /\bid=(\d+)/.exec(lines.find(isMeant) ?? '')?.[1] ?? 'none'
}
const isTold = (line: string): boolean => /flags=\S*t/.test(line)

/** The id of the connection that is told of changes, or `none`. */
export const trackingClient = (server: RedisServer): Promise<string> => clientOf(server, isTold)

/** The id of the connection that commands go through, or `none`. */
export const commandClient = (server: RedisServer): Promise<string> =>
  clientOf(server, line => line.includes('name=bff') && !isTold(line))

/** The id of a connection of the edge by its last command, or `none`. */
export const clientThatSaid = (server: RedisServer, command: string): Promise<string> =>
  clientOf(server, line => line.includes('name=bff') && line.includes(`cmd=${command} `))

/** A master, a replica and three sentinels that let only those in who know the passwords. */
export async function sentinelCluster(t: Test) {
  const [password, sentinelPassword] = ['of-the-data', 'of-the-sentinels']
  const auth = ['--masterauth', password, '--repl-diskless-sync-delay', '0']
  const master = await redisServer(t, { password, args: auth })
  const replica = await redisServer(t, { password, args: [...auth, '--replicaof', master.host, String(master.port)] })
  await eventually(async () => String(await replica.ask('INFO', 'replication')).includes('master_link_status:up'))
  const sentinels: RedisServer[] = []
  for (let count = 0; count < 3; count++)
    sentinels.push(
      await redisServer(t, {
        password: sentinelPassword,
        sentinel: [
          `sentinel sentinel-pass ${sentinelPassword}`,
          `sentinel monitor bank ${master.host} ${master.port} 2`,
          `sentinel auth-pass bank ${password}`,
          'sentinel down-after-milliseconds bank 700',
          'sentinel failover-timeout bank 1000',
        ],
      }),
    )
  // They find each other and the replica by what the master tells them.
  for (const sentinel of sentinels)
    await eventually(async () => /slaves=1,sentinels=3/.test(String(await sentinel.ask('INFO', 'sentinel'))))
  return {
    servers: [master, replica],
    sentinels,
    config: {
      password,
      sentinel: {
        name: 'bank',
        nodes: sentinels.map(({ host, port }) => `${host}:${port}`),
        password: sentinelPassword,
      },
    },
    /** The server that two of the three sentinels name. */
    async master(): Promise<RedisServer> {
      for (;;) {
        const named = await Promise.all(
          sentinels.map(sentinel => sentinel.ask('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'bank').catch(() => undefined)),
        )
        for (const server of [master, replica])
          if (named.filter(address => (address as string[])?.[1] === String(server.port)).length >= 2) return server
        await new Promise(resolve => setTimeout(resolve, 50))
      }
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
