import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { browserFields } from './load.ts'
import { startEdge, useOf } from './memory.ts'
import { freePort } from './programs.ts'
import { beginSessions, type LoginTokens } from './sessions.ts'
import type { EdgeSettings } from './settings.ts'

const perSession = 10
const kilobytes = (bytes: number): string => `${(bytes / 1024).toFixed(1)} KB`

/** What an event stream costs the edge while nothing comes, beyond the first ones, which also warm the process. */
export async function measureStreams(place: {
  folder: string
  settings: EdgeSettings
  tokens: LoginTokens
  count: number
}): Promise<void> {
  const { folder, tokens, count } = place
  const upstreamPort = await freePort()
  const settings = { ...place.settings, upstream: `http://127.0.0.1:${upstreamPort}` }
  const upstream = helper('upstream', String(upstreamPort))
  await once(upstream, 'message')
  const edge = await startEdge(folder, settings)
  const cookies = await beginSessions(settings, tokens, Math.ceil(count / perSession))
  const clients = helper('clients', JSON.stringify({ url: edge.url, cookies, headers: browserFields, perSession }))
  const open = async (total: number): Promise<void> => {
    clients.send(total)
    const [opened] = (await once(clients, 'message')) as [number]
    if (opened !== total) throw new Error(`${opened} of ${total} streams were opened`)
  }
  const warm = Math.min(1_000, count / 4)
  await open(warm)
  const before = await useOf(edge.running)
  await open(count)
  const after = await useOf(edge.running)
  for (const child of [clients, upstream]) child.kill()
  edge.running.child.kill()
  const each = (after.rss - before.rss) / (count - warm)
  const heap = (after.heapUsed - before.heapUsed) / (count - warm)
  console.log(`\n${count} idle event streams`)
  console.log(
    `  ${each <= 40 * 1024 ? 'pass' : 'FAIL'}  an idle stream ≤ 40 KB: ${kilobytes(each)} (heap ${kilobytes(heap)})`,
  )
  console.log(`  RSS with all of them: ${kilobytes(after.rss)}`)
}

const helper = (role: string, argument: string): ChildProcess =>
  spawn(process.execPath, [join(import.meta.dirname, 'stream-ends.ts'), role, argument], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
