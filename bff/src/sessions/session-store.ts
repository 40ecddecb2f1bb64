import { createHash } from 'node:crypto'
import type { Redis } from '../redis.ts'
import { type LeaseOutcome, writeAtMost } from './protocol.ts'

/**
 * Why a session is over; told to the page, so that it can say so. `revoked`: from another device, by staff or by the
 * provider. `limit`: pushed out by newer sessions of the same person.
 */
export type EndReason = 'idle' | 'absolute' | 'ended' | 'revoked' | 'limit'

/** What is stored about a session. Its content is sealed: a store sees bytes, numbers and hashes. */
type StoredSession = {
  /** Grows with every change: the fence that a write must name. */
  version: number
  sealed: Buffer
  /** Epoch ms by the store's own clock, to be compared with tombstones. */
  createdAt: number
  /** Epoch ms of the last thing a person did; undefined once the idle time has passed. */
  lastSeenAt: number | undefined
  /** Epoch ms of the newest tombstone of the groups that were asked about, read after the record; 0 for none. */
  buriedAt: number
}

/** A session that is over leaves its reason for a while. */
export type Found = StoredSession | { endedBy: EndReason } | undefined

/** What must hold for a session to be ended by who only believes that it is over. */
export type Fence = { version: number; owner: string }

/** What sessions have in common: a session at the provider, or a person. */
export type Group = { sid: string } | { sub: string }

/**
 * Where sessions live. `id` is the hash of the cookie's derived id, times are epoch ms, durations ms. Whoever cannot
 * reach the store throws `sessions_unavailable`: a failure is never an absence, and a write that failed may have
 * happened or may happen yet.
 */
export type SessionStore = {
  /** @param groups whose tombstones are read too, by the same round trip */
  find(id: string, groups?: readonly Group[]): Promise<Found>
  /** @returns when it was created, by the store's own clock */
  create(
    id: string,
    content: { sealed: Buffer; summary: Buffer },
    at: { now: number; idle: number; expiresAt: number },
  ): Promise<number>
  /**
   * Writes at a version, and gives the lease back if it is `owner`'s.
   *
   * @returns false, and nothing is written, when the session is gone, has another version, or another holds its lease
   */
  replace(id: string, version: number, sealed: Buffer, owner: string): Promise<boolean>
  /** Notes that a person did something. @returns false when the session is gone */
  touch(id: string, now: number, idle: number): Promise<boolean>
  /**
   * Deletes the session and everything that hangs on it.
   *
   * @param fence deletes it only at this version, and while the lease is this owner's
   * @returns whether it was deleted
   */
  end(id: string, reason: EndReason, fence?: Fence): Promise<boolean>
  /** What was sealed of a session that is over, once: for whoever can open it and still has its refresh token to revoke. */
  takeEnded(id: string): Promise<Buffer | undefined>

  /** Asks for the lease, and reads the session in the same step: it may have been refreshed meanwhile. */
  lease(id: string, owner: string, takeOver: boolean): Promise<{ found: Found; lease: LeaseOutcome }>
  /** @returns false when the lease is no longer `owner`'s */
  renew(id: string, owner: string): Promise<boolean>
  /** Gives the lease back, and says that the owner's call is over. Does nothing to another's. */
  release(id: string, owner: string): Promise<void>

  /** Enters a session under a group. @returns the group's entries, the oldest first; some may be over */
  enter(group: Group, id: string): Promise<string[]>
  /** @returns the entries of a group, the oldest first; some may be over */
  entries(group: Group): Promise<string[]>
  /** Forgets entries that are over. */
  strike(group: Group, ids: readonly string[]): Promise<void>
  /** What can be shown of a session without its cookie. */
  summary(id: string): Promise<{ summary: Buffer; lastSeenAt: number | undefined } | undefined>

  /** A tombstone: every session of this group that was created until now is over, wherever it may turn up again. */
  bury(group: Group): Promise<void>
  /** @returns epoch ms of the newest tombstone of these groups by the store's clock, 0 for none */
  buriedAt(groups: readonly Group[]): Promise<number>

  /** @param name of the token: what it was made for, its audience and scope */
  findToken(id: string, name: string): Promise<Buffer | undefined>
  /** @returns false, and nothing is written, when the session is gone */
  saveToken(id: string, name: string, sealed: Buffer): Promise<boolean>

  /** Makes what was written so far likely to outlive a failover; never rejects. */
  settle(): Promise<void>
  /**
   * Tells the id of every session whose record changes, in any process.
   *
   * @returns whether every change up to a moment ago has been told: only then may a session be remembered
   */
  watch(listener: { changed(id: string): void; lost(): void; ready(): void }): () => boolean
}

/** ms; a lease that is not renewed for so long is free. */
const leaseFor = 3_000
/** ms; longer than any call to the provider takes. Until then an abandoned one may still be under way. */
const callFor = 12_000
/** ms after that in which its owner may still turn up with what it got, if only Redis was away. */
const resultFor = writeAtMost
/** The record outlives the session by this much, so that its end can be told and its refresh token revoked. */
const afterlife = 15 * 60_000

// All keys of one session carry the same hash tag, so that a script may touch them together in a Redis Cluster.
const record = (id: string) => `s:{${id}}`
const idle = (id: string) => `i:{${id}}`
const tokens = (id: string) => `x:{${id}}`
const ended = (id: string) => `e:{${id}}`
/** The record of a session that is over, as it was sealed. */
const remains = (id: string) => `r:{${id}}`
const lease = (id: string) => `l:{${id}}`
/** The call that a lease was granted for, until its owner says that it is over. */
const call = (id: string) => `c:{${id}}`
const members = (group: Group) => `m:${nameOf(group)}`
const tombstone = (group: Group) => `d:${nameOf(group)}`

/** A hash over parts with their length before them: a provider's ids may hold any punctuation. */
function nameOf(group: Group): string {
  const [kind, value] = Object.entries(group)[0] as [string, string]
  return createHash('sha256')
    .update(`${kind}:${Buffer.byteLength(value)}:${value}`)
    .digest('base64url')
}

const nowInRedis = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`

const createScript = `${nowInRedis}
redis.call('HSET', KEYS[1], 'v', '1', 'd', ARGV[1], 'm', ARGV[2], 'c', string.format('%d', now))
redis.call('PEXPIREAT', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])
return string.format('%d', now)`

const replaceScript = `
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'v', string.format('%d', ARGV[1] + 1), 'd', ARGV[2])
redis.call('DEL', KEYS[2], KEYS[3])
return 1`

const touchScript = `
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1`

const endScript = `
if ARGV[3] and (redis.call('HGET', KEYS[1], 'v') ~= ARGV[3] or redis.call('GET', KEYS[5]) ~= ARGV[4]) then return 0 end
local sealed = redis.call('HGET', KEYS[1], 'd')
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[5], KEYS[6])
if not sealed then return 0 end
redis.call('SET', KEYS[4], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[7], sealed, 'PX', ARGV[2])
return 1`

const leaseScript = `
local found = redis.call('HMGET', KEYS[1], 'v', 'd', 'c')
if not found[1] then return {'gone'} end
local seen = redis.call('GET', KEYS[2])
local function answer(outcome) return {outcome, found[1], found[2], found[3], seen} end
if redis.call('GET', KEYS[3]) then return answer('held') end
local calls = 1
local open = redis.call('HMGET', KEYS[4], 'v', 'n')
if open[1] == found[1] then
  local mayRun = redis.call('PTTL', KEYS[4]) > tonumber(ARGV[5])
  if mayRun and tonumber(open[2]) > 1 then return answer('spent') end
  if ARGV[2] == '0' then return answer('abandoned') end
  if mayRun then calls = 2 end
end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[3])
redis.call('HSET', KEYS[4], 'v', found[1], 'n', calls, 'o', ARGV[1])
redis.call('PEXPIRE', KEYS[4], ARGV[4] + ARGV[5])
return answer('granted')`

const renewScript = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`

const releaseScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
if redis.call('HGET', KEYS[2], 'o') == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1`

const enterScript = `${nowInRedis}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%d', now - ARGV[2]))
redis.call('ZADD', KEYS[1], string.format('%d', now), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZRANGE', KEYS[1], 0, -1)`

const buryScript = `${nowInRedis}
redis.call('SET', KEYS[1], string.format('%d', math.max(now, redis.call('GET', KEYS[1]) or 0)), 'PX', ARGV[1])
return 1`

const saveTokenScript = `
local left = redis.call('PTTL', KEYS[1])
if left <= 0 then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], left)
return 1`

/**
 * Sessions in Redis 6.2 or newer.
 *
 * @param absolute ms that a session may last at most: so long its tombstone and its place in a group are kept
 */
export function createSessionStore(redis: Redis, absolute: number): SessionStore {
  const kept = String(absolute + afterlife)

  const endOf = async (id: string): Promise<Found> => {
    const reason = await redis.run('GET', ended(id))
    return reason === null ? undefined : { endedBy: String(reason) as EndReason }
  }

  return {
    async find(id, groups = []) {
      const [fields, seen, ...buried] = await redis.runAll([
        ['HMGET', record(id), 'v', 'd', 'c'],
        ['GET', idle(id)],
        // After the record: a logout writes its tombstone first, and Redis answers one connection in order.
        ...groups.map((group): [string, string] => ['GET', tombstone(group)]),
      ])
      return stored(fields as Fields, seen as Buffer | null, newest(buried)) ?? endOf(id)
    },

    async create(id, { sealed, summary }, { now, idle: idleFor, expiresAt }) {
      const args = [sealed, summary, String(expiresAt + afterlife), String(now), String(idleFor)]
      return Number(await redis.script(createScript, [record(id), idle(id)], args))
    },

    async replace(id, version, sealed, owner) {
      const keys = [record(id), lease(id), call(id)]
      return (await redis.script(replaceScript, keys, [String(version), sealed, owner])) === 1
    },

    async touch(id, now, idleFor) {
      return (await redis.script(touchScript, [record(id), idle(id)], [String(now), String(idleFor)])) === 1
    },

    async end(id, reason, fence) {
      const keys = [record(id), idle(id), tokens(id), ended(id), lease(id), call(id), remains(id)]
      const condition = fence === undefined ? [] : [String(fence.version), fence.owner]
      return (await redis.script(endScript, keys, [reason, String(afterlife), ...condition])) === 1
    },

    async takeEnded(id) {
      const sealed = await redis.run('GETDEL', remains(id))
      return Buffer.isBuffer(sealed) ? sealed : undefined
    },

    async lease(id, owner, takeOver) {
      const keys = [record(id), idle(id), lease(id), call(id)]
      const args = [owner, takeOver ? '1' : '0', String(leaseFor), String(callFor), String(resultFor)]
      const [outcome, version = null, sealed = null, createdAt = null, seen = null] = (await redis.script(
        leaseScript,
        keys,
        args,
      )) as Fields
      const found = stored([version, sealed, createdAt], seen)
      return found === undefined
        ? { found: await endOf(id), lease: 'held' }
        : { found, lease: String(outcome) as LeaseOutcome }
    },

    async renew(id, owner) {
      return (await redis.script(renewScript, [lease(id)], [owner, String(leaseFor)])) === 1
    },

    async release(id, owner) {
      await redis.script(releaseScript, [lease(id), call(id)], [owner])
    },

    async enter(group, id) {
      return ((await redis.script(enterScript, [members(group)], [id, kept])) as Buffer[]).map(String)
    },

    async entries(group) {
      return ((await redis.run('ZRANGE', members(group), '0', '-1')) as Buffer[]).map(String)
    },

    async strike(group, ids) {
      if (ids.length > 0) await redis.run('ZREM', members(group), ...ids)
    },

    async summary(id) {
      const [summary, seen] = await Promise.all([redis.run('HGET', record(id), 'm'), redis.run('GET', idle(id))])
      return Buffer.isBuffer(summary) ? { summary, lastSeenAt: seen === null ? undefined : Number(seen) } : undefined
    },

    async bury(group) {
      await redis.script(buryScript, [tombstone(group)], [kept])
    },

    async buriedAt(groups) {
      return newest(await redis.runAll(groups.map(group => ['GET', tombstone(group)])))
    },

    async findToken(id, name) {
      const sealed = await redis.run('HGET', tokens(id), name)
      return Buffer.isBuffer(sealed) ? sealed : undefined
    },

    async saveToken(id, name, sealed) {
      return (await redis.script(saveTokenScript, [record(id), tokens(id)], [name, sealed])) === 1
    },

    settle: () => redis.settle(),

    watch: ({ changed, lost, ready }) =>
      redis.track('s:', { invalidated: key => changed(key.slice('s:{'.length, -1)), lost, ready }),
  }
}

type Fields = (Buffer | null)[]

const newest = (times: readonly unknown[]): number => Math.max(0, ...times.map(Number))

function stored([version, sealed, createdAt]: Fields, seen: Buffer | null, buriedAt = 0): StoredSession | undefined {
  if (!version || !sealed) return undefined
  return {
    version: Number(version),
    sealed,
    createdAt: Number(createdAt ?? 0),
    lastSeenAt: seen === null ? undefined : Number(seen),
    buriedAt,
  }
}
