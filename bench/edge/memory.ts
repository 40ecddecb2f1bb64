import { once } from 'node:events'
import { join } from 'node:path'
import { createClient } from 'redis'
import { browserFields, type loadGenerator } from './load.ts'
import { answering, cores, freePort, type Running, residentMemory, run, stop } from './programs.ts'
import { beginSessions, type LoginTokens } from './sessions.ts'
import type { EdgeSettings } from './settings.ts'

type Place = { folder: string; settings: EdgeSettings; tokens: LoginTokens }

const megabytes = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MB`

/** What 10,000 sessions take: in Redis, and in a process that has just served each of them once. */
export async function measureMemory({ folder, settings, tokens }: Place): Promise<void> {
  const count = 10_000
  const edge = await startEdge(folder, settings)
  const before = await inRedis(settings.redis)
  const cookies = await beginSessions(settings, tokens, count)
  const stored = (await inRedis(settings.redis)) - before
  const empty = await useOf(edge.running)
  for (let at = 0; at < count; at += 100)
    await Promise.all(
      cookies.slice(at, at + 100).map(async cookie => {
        const answer = await fetch(`${edge.url}/api/payments`, { headers: { ...browserFields, cookie } })
        await answer.arrayBuffer()
        if (answer.status !== 200) throw new Error(`a session was answered ${answer.status}`)
      }),
    )
  const full = await useOf(edge.running)
  await stop(edge.running.child)
  console.log(`\nmemory of ${count} sessions`)
  console.log(`  Redis: ${(stored / count).toFixed(0)} bytes each, ${megabytes(stored)} in all, tokens of both kinds`)
  console.log(
    `  process: heap ${megabytes(empty.heapUsed)} to ${megabytes(full.heapUsed)} (+${((full.heapUsed - empty.heapUsed) / count).toFixed(0)} bytes each), ` +
      `RSS ${megabytes(empty.rss)} to ${megabytes(full.rss)}`,
  )
}

/**
 * Steady load with clients that leave in the middle, and memory at regular intervals: after a collection what is left
 * is what is held.
 */
export async function soak(place: Place & { load: ReturnType<typeof loadGenerator>; minutes: number }): Promise<void> {
  const { folder, settings, tokens, load, minutes } = place
  const edge = await startEdge(folder, settings)
  const cookies = await beginSessions(settings, tokens, 200)
  const samples: { rss: number; heapUsed: number }[] = []
  const end = Date.now() + minutes * 60_000
  const interval = Math.min(30, Math.max(5, minutes * 3))
  let requests = 0
  let left = 0
  console.log('\nminute   requests    left   RSS        heap after a collection')
  while (Date.now() < end) {
    const impatient = leave(edge.url, cookies, interval * 1000)
    const url = `${edge.url}/api/payments`
    const result = await load.apply({ url, headers: browserFields, cookies, connections: 64, seconds: interval })
    if (result.failures > 0) throw new Error(`${result.failures} of ${result.requests} requests failed`)
    requests += result.requests
    left += await impatient
    const { rss, heapUsed } = await useOf(edge.running)
    samples.push({ rss, heapUsed })
    const minute = minutes - (end - Date.now()) / 60_000
    console.log(
      `${minute.toFixed(1).padStart(6)} ${String(requests).padStart(10)} ${String(left).padStart(7)}   ${megabytes(rss).padEnd(9)}  ${megabytes(heapUsed)}`,
    )
  }
  // The first third warms up; growth is what the last third has more than the second.
  const third = Math.floor(samples.length / 3)
  if (third < 2) throw new Error(`${minutes} minutes are too short to tell: take one at least`)
  const mean = (part: typeof samples, key: 'rss' | 'heapUsed'): number =>
    part.reduce((sum, sample) => sum + sample[key], 0) / part.length
  const [middle, last] = [samples.slice(third, -third), samples.slice(-third)]
  let verdict = 'pass'
  for (const key of ['heapUsed', 'rss'] as const) {
    const growth = mean(last, key) - mean(middle, key)
    const isGrowing = growth > Math.max(2 * 1024 * 1024, mean(middle, key) * 0.05)
    console.log(`  ${key}, last third over the one before: ${megabytes(growth)}${isGrowing ? ': GROWS' : ''}`)
    if (isGrowing) verdict = 'FAIL'
  }
  const did = `${requests} requests and ${left} clients that left, in ${minutes} minutes`
  console.log(`${verdict}  memory does not grow: ${did}`)
  if (verdict === 'FAIL') process.exitCode = 1
}

/** Clients that ask for 100 KB and go away before it is there. @returns how many */
async function leave(url: string, cookies: readonly string[], time: number): Promise<number> {
  const end = Date.now() + time
  let count = 0
  while (Date.now() < end) {
    const cookie = cookies[count % cookies.length] ?? ''
    const signal = AbortSignal.timeout(1 + (count % 10))
    await fetch(`${url}/api/payments/large`, { headers: { ...browserFields, cookie }, signal })
      .then(answer => answer.arrayBuffer())
      .catch(() => undefined)
    count++
  }
  return count
}

export async function startEdge(folder: string, settings: EdgeSettings): Promise<{ running: Running; url: string }> {
  const own = { ...settings, port: await freePort() }
  const file = join(import.meta.dirname, 'bff.ts')
  const env = { SETTINGS: JSON.stringify(own) }
  const running = run(folder, 'memory', cores.tested, [process.execPath, '--expose-gc', file], env)
  const url = `http://127.0.0.1:${own.port}`
  await answering(url)
  return { running, url }
}

/** Heap after a collection, and resident memory. */
export async function useOf({ child, pid }: Running): Promise<{ heapUsed: number; rss: number }> {
  const answer = once(child, 'message')
  child.send('memory')
  const [{ heapUsed }] = (await answer) as [NodeJS.MemoryUsage]
  return { heapUsed, rss: residentMemory(pid) }
}

async function inRedis(url: string): Promise<number> {
  const client = await createClient({ url }).connect()
  const used = /used_memory:(\d+)/.exec(await client.info('memory'))?.[1]
  await client.close()
  return Number(used)
}
