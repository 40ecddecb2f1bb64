import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { exportJWK, generateKeyPair } from 'jose'
import { answering, cores, findProgram, freePort, nginx, run } from './programs.ts'
import type { LoginTokens } from './sessions.ts'

/** Below it the upstream answers, at every program under test. */
export const prefix = '/api/payments'

/** Tokens of the usual size that open nothing. */
export function standInTokens(): LoginTokens {
  const token = (size: number): string => randomBytes(size).toString('base64url').slice(0, size)
  return { accessToken: token(900), idToken: token(900), refreshToken: token(700), exchanged: token(900) }
}

/** Keys of the edge: its client's, and those that seal sessions. */
export async function keyFiles(folder: string): Promise<{ clientKeyFile: string; sessionKeyFile: string }> {
  return {
    clientKeyFile: keyFile(folder, 'client.json', { keys: [await clientKey()] }),
    sessionKeyFile: keyFile(folder, 'session.json', {
      current: 'k',
      keys: { k: randomBytes(32).toString('base64url') },
    }),
  }
}

function keyFile(folder: string, name: string, content: object): string {
  const file = join(folder, name)
  writeFileSync(file, JSON.stringify(content), { mode: 0o600 })
  return file
}

async function clientKey(): Promise<object> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  return { ...(await exportJWK(privateKey)), kid: 'bench' }
}

/** A Redis that keeps nothing. @returns its address */
export async function startRedis(folder: string): Promise<string> {
  const server = findProgram('redis-server', `${homedir()}/.cache/zero-trust-banking/redis-*/redis-server`)
  if (server === undefined) throw new Error('There is no redis-server: install it, or run `pnpm dev` once.')
  const port = await freePort()
  run(folder, 'redis', cores.rest, [
    ...[server, '--port', String(port), '--bind', '127.0.0.1', '--save', '', '--loglevel', 'warning'],
  ])
  return `redis://127.0.0.1:${port}`
}

/** A service that answers 1 KB, or 100 KB below `/large`, with the header fields that services of the bank send. */
export async function startUpstream(folder: string): Promise<string> {
  const port = await freePort()
  const server = findProgram('nginx')
  const small = JSON.stringify({ items: 'x'.repeat(1000) })
  const large = JSON.stringify({ items: 'x'.repeat(100_000) })
  if (server === undefined)
    run(folder, 'upstream', cores.rest, [process.execPath, join(import.meta.dirname, 'upstream.ts'), String(port)])
  else {
    writeFileSync(join(folder, 'large.json'), large)
    const fields = 'add_header cache-control no-store; add_header x-request-id 0190a1b2; add_header vary accept;'
    nginx(
      folder,
      'upstream',
      cores.rest,
      server,
      `default_type application/json; open_file_cache max=10; sendfile on; server { listen 127.0.0.1:${port}; ${fields}
location ${prefix} { return 200 '${small}'; }
location = ${prefix}/large { alias ${join(folder, 'large.json')}; } }`,
    )
  }
  const url = `http://127.0.0.1:${port}`
  await answering(url + prefix)
  return url
}

/** nginx as somebody writes it who wants a proxy and nothing else: connections to the upstream are kept. */
export function plainProxy(port: number, upstream: string): string {
  return `
upstream service { server ${new URL(upstream).host}; keepalive 256; keepalive_requests 1000000000; }
server { listen 127.0.0.1:${port} backlog=4096; location / {
  proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Cookie "";
  proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; } }`
}
