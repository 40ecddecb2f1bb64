import { createMetrics } from '@banking/telemetry'
import { parts, sessionStoreConformance, testLogger } from '@banking/testkit'
import t, { type Test } from 'tap'
import { connectRedis, type Redis } from '../src/redis.ts'
import { createSessionStore } from '../src/session-store.ts'

const { redis: url } = parts(t, 'redis')

async function connected(t: Test, address = url): Promise<Redis> {
  const redis = connectRedis({ url: address, logger: testLogger().logger, metrics: createMetrics('bff') })
  t.teardown(redis.close)
  if (address === url)
    while (
      !(await redis.check().then(
        () => true,
        () => false,
      ))
    )
      await new Promise(resolve => setTimeout(resolve, 20))
  return redis
}

/** Redis has no clock that could be moved, but every key that may pass away has its time left. */
async function advance(redis: Redis, id: string, ms: number): Promise<void> {
  for (const space of ['s', 'i', 'x', 'e']) {
    const key = `${space}:{${id}}`
    const left = Number(await redis.run('PTTL', key))
    if (left === -1) throw new Error(`${key} never passes away`)
    if (left > ms) await redis.run('PEXPIRE', key, String(left - ms))
    else if (left >= 0) await redis.run('DEL', key)
  }
}

void sessionStoreConformance(t, async t => {
  const redis = await connected(t)
  return {
    store: createSessionStore(redis),
    other: createSessionStore(await connected(t)),
    unreachable: createSessionStore(await connected(t, 'redis://127.0.0.1:1')),
    advance: (id, ms) => advance(redis, id, ms),
  }
})
