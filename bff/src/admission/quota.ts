import type { Redis } from '../redis.ts'

/** A token bucket: so many requests a second in the long run, so many at once. */
export type Rate = { perSecond: number; burst: number }

/** What each subject may still ask for, over all replicas. */
export type Quota = {
  /**
   * Takes one request's worth.
   *
   * @returns ms to wait before the next try, 0 when this one may go on. A promise only when this replica has nothing
   *   left of its block: one round trip for all who wait
   */
  take(subject: string): number | Promise<number>
  /** Undoes a {@link take} that was somebody else's to pay. */
  giveBack(subject: string): void
}

/** A replica's share of one subject's bucket. Times are of the monotonic clock, ms. */
type Share = {
  left: number
  /** Lent before Redis was asked, and repaid out of the next lease. */
  debt: number
  waiting: number
  lease: Promise<void> | undefined
  /** Redis has nothing until then. */
  emptyUntil: number
  /** Up to here this replica has given itself what grows while Redis is away. */
  grownAt: number
}

/** Subjects of one generation; two are kept. A share is some 200 bytes with its key. */
const generation = 50_000
/** ms after which a share that nobody asked for is forgotten, at the earliest. */
const lifetime = 60_000
/** ms without a lease after one that failed: a store in trouble is not asked by every subject. */
const pause = 1_000
/** A block is this part of the burst: what a replica may hold without using it. */
const blocks = 8

/** KEYS: the bucket. ARGV: requests per ms, burst, how many are wanted, block. Returns how many are granted, ms until a block is there. */
const leaseScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local rate, burst, want, block = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local known = redis.call('HMGET', KEYS[1], 'left', 'at')
local left = burst
if known[1] then left = math.min(burst, tonumber(known[1]) + math.max(0, now - tonumber(known[2])) * rate) end
local granted = math.min(want, math.floor(left))
left = left - granted
redis.call('HSET', KEYS[1], 'left', tostring(left), 'at', tostring(now))
redis.call('PEXPIRE', KEYS[1], math.ceil((burst - left) / rate) + 1000)
return {granted, math.ceil(math.max(0, block - left) / rate)}
`

/**
 * Token buckets whose contents Redis keeps and whose replicas lease blocks ahead of use, so that a request costs no
 * round trip. A subject's first block is lent without asking, and repaid out of its first lease. While Redis is away
 * each replica goes on at the same rate with one block as its burst: never without a limit, never an error.
 */
export function createQuota(options: { name: string; rate: Rate; redis: Redis; clock?: () => number }): Quota {
  const { name, rate, redis } = options
  const clock = options.clock ?? (() => performance.now())
  const perMs = rate.perSecond / 1000
  const block = Math.max(1, Math.floor(rate.burst / blocks))
  let young = new Map<string, Share>()
  let old = new Map<string, Share>()
  let bornAt = clock()
  let awayUntil = Number.NEGATIVE_INFINITY

  const shareOf = (subject: string): Share => {
    let share = young.get(subject)
    if (share !== undefined) return share
    const now = clock()
    if (young.size >= generation || now - bornAt > lifetime) {
      old = young
      young = new Map()
      bornAt = now
    }
    share = old.get(subject) ?? {
      left: block,
      debt: block,
      waiting: 0,
      lease: undefined,
      emptyUntil: now,
      grownAt: now,
    }
    young.set(subject, share)
    return share
  }

  const lease = (subject: string, share: Share): Promise<void> => {
    share.lease ??= ask(subject, share).finally(() => {
      share.lease = undefined
    })
    return share.lease
  }

  const ask = async (subject: string, share: Share): Promise<void> => {
    const want = Math.max(block, share.waiting) + share.debt
    const answer = clock() < awayUntil ? undefined : await askRedis(subject, want)
    const now = clock()
    if (answer === undefined) {
      const grown = Math.min(block, Math.floor((now - share.grownAt) * perMs))
      share.left += grown
      // What did not make a whole one stays; what is more than a block is lost.
      share.grownAt = grown === block ? now : share.grownAt + grown / perMs
      share.emptyUntil = now + 1 / perMs
      return
    }
    const [granted, wait] = answer
    const repaid = Math.min(share.debt, granted)
    share.debt -= repaid
    share.left += granted - repaid
    share.grownAt = now
    share.emptyUntil = granted < want ? now + Math.max(1, wait) : now
  }

  const askRedis = async (subject: string, want: number): Promise<[granted: number, wait: number] | undefined> => {
    const args = [perMs, rate.burst, want, block].map(String)
    try {
      return (await redis.script(leaseScript, [`q:${name}:{${subject}}`], args)) as [number, number]
    } catch {
      awayUntil = clock() + pause
      return undefined
    }
  }

  const wait = async (subject: string, share: Share): Promise<number> => {
    share.waiting++
    try {
      while (share.left < 1) {
        const empty = share.emptyUntil - clock()
        if (empty > 0) return empty
        await lease(subject, share)
      }
      share.left--
      return 0
    } finally {
      share.waiting--
    }
  }

  return {
    take(subject) {
      const share = shareOf(subject)
      if (share.left < 1) {
        const empty = share.emptyUntil - clock()
        return empty > 0 ? empty : wait(subject, share)
      }
      share.left--
      if (share.left <= block / 2 && share.lease === undefined && share.emptyUntil <= clock())
        void lease(subject, share)
      return 0
    },
    giveBack(subject) {
      const share = young.get(subject)
      if (share !== undefined) share.left++
    },
  }
}
