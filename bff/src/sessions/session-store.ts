import type { Redis } from '../redis.ts'

/** Why a session is over; told to the page, so that it can say so. */
export type EndReason = 'idle' | 'absolute' | 'ended'

/** What is stored about a session. Its content is sealed: a store sees bytes, numbers and a hash. */
type StoredSession = {
  /** Grows with every change: the fence that a write must name. */
  version: number
  sealed: Buffer
  /** Epoch ms of the last thing a person did; undefined once the idle time has passed. */
  lastSeenAt: number | undefined
}

/** A session that is over leaves its reason for a while. */
type Found = StoredSession | { endedBy: EndReason } | undefined

/**
 * Where sessions live. `id` is the hash of the cookie's derived id, times are epoch ms, durations ms. Whoever cannot
 * reach the store throws `sessions_unavailable`: a failure is never an absence.
 */
export type SessionStore = {
  find(id: string): Promise<Found>
  create(id: string, sealed: Buffer, at: { now: number; idle: number; expiresAt: number }): Promise<void>
  /** @returns false, and nothing is written, when the session has another version by now or is gone */
  replace(id: string, version: number, sealed: Buffer): Promise<boolean>
  /** Notes that a person did something. @returns false when the session is gone */
  touch(id: string, now: number, idle: number): Promise<boolean>
  /** Deletes the session and everything that hangs on it. @returns whether there was one */
  end(id: string, reason: EndReason): Promise<boolean>
  findToken(id: string, audience: string): Promise<Buffer | undefined>
  /** @returns false, and nothing is written, when the session is gone */
  saveToken(id: string, audience: string, sealed: Buffer): Promise<boolean>
}

/** The record outlives the session by this much, so that its end can be told and its refresh token revoked. */
const afterlife = 15 * 60_000

// All keys of one session carry the same hash tag, so that a script may touch them together in a Redis Cluster.
const record = (id: string) => `s:{${id}}`
const idle = (id: string) => `i:{${id}}`
const tokens = (id: string) => `x:{${id}}`
const ended = (id: string) => `e:{${id}}`

const createScript = `
redis.call('HSET', KEYS[1], 'v', '1', 'd', ARGV[1])
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return 1`

const replaceScript = `
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'v', string.format('%d', ARGV[1] + 1), 'd', ARGV[2])
return 1`

const touchScript = `
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1`

const endScript = `
local existed = redis.call('DEL', KEYS[1])
redis.call('DEL', KEYS[2], KEYS[3])
if existed == 1 then redis.call('SET', KEYS[4], ARGV[1], 'PX', ARGV[2]) end
return existed`

const saveTokenScript = `
local left = redis.call('PTTL', KEYS[1])
if left <= 0 then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], left)
return 1`

/** Sessions in Redis 6.2 or newer. */
export function createSessionStore(redis: Redis): SessionStore {
  return {
    async find(id) {
      // Written together, answered together: one round trip.
      const [fields, seen] = await Promise.all([redis.run('HMGET', record(id), 'v', 'd'), redis.run('GET', idle(id))])
      const [version, sealed] = fields as (Buffer | null)[]
      if (version && sealed)
        return { version: Number(version), sealed, lastSeenAt: seen === null ? undefined : Number(seen) }
      const reason = await redis.run('GET', ended(id))
      return reason === null ? undefined : { endedBy: String(reason) as EndReason }
    },

    async create(id, sealed, { now, idle: idleFor, expiresAt }) {
      await redis.script(
        createScript,
        [record(id), idle(id)],
        [sealed, String(expiresAt + afterlife), String(now), String(idleFor)],
      )
    },

    async replace(id, version, sealed) {
      return (await redis.script(replaceScript, [record(id)], [String(version), sealed])) === 1
    },

    async touch(id, now, idleFor) {
      return (await redis.script(touchScript, [record(id), idle(id)], [String(now), String(idleFor)])) === 1
    },

    async end(id, reason) {
      const keys = [record(id), idle(id), tokens(id), ended(id)]
      return (await redis.script(endScript, keys, [reason, String(afterlife)])) === 1
    },

    async findToken(id, audience) {
      const sealed = await redis.run('HGET', tokens(id), audience)
      return Buffer.isBuffer(sealed) ? sealed : undefined
    },

    async saveToken(id, audience, sealed) {
      return (await redis.script(saveTokenScript, [record(id), tokens(id)], [audience, sealed])) === 1
    },
  }
}
