import { createMetrics } from '@banking/telemetry'
import { eventually, testLogger } from '@banking/testkit'
import type { Test } from 'tap'
import { connectRedis, type Redis, type RedisConfig } from '../src/redis.ts'

type Told = 'ready' | 'lost' | string

/** What a local cache is told, in order; a key as `key …`. */
export async function tracked(t: Test, server: RedisConfig) {
  const metrics = createMetrics('bff')
  const { logger, lines } = testLogger()
  const redis = connectRedis({ ...server, logger, metrics })
  t.teardown(redis.close)
  const told: Told[] = []
  let wake: () => void = () => undefined
  const tell = (what: Told) => {
    told.push(what)
    wake()
  }
  const isCurrent = redis.track('s:', {
    invalidated: key => tell(`key ${key}`),
    lost: () => tell('lost'),
    ready: () => tell('ready'),
  })
  /** Waits for this, and answers what was told before it. */
  const next = async (what: Told): Promise<Told[]> => {
    while (!told.includes(what)) await new Promise<void>(resolve => (wake = resolve))
    const before = told.splice(0, told.indexOf(what) + 1)
    before.pop()
    return before
  }
  await next('ready')
  return { redis, told, next, isCurrent, metrics, lines }
}

/** Waits until Redis answers. */
export async function answers(redis: Redis): Promise<void> {
  await eventually(() =>
    redis.check().then(
      () => true,
      () => false,
    ),
  )
}
