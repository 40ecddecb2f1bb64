import type { Logger } from '@banking/telemetry'
import { isCovered } from './protocol.ts'
import { type SealingKeys, seal, unseal } from './seal.ts'
import type { EndReason, Fence, Group, SessionStore } from './session-store.ts'

/** What a person is shown of one of their sessions. Times are epoch ms. */
export type SessionSummary = {
  id: string
  createdAt: number
  lastSeenAt: number
  expiresAt: number
  /** What the browser said of itself when the session began. */
  device: string
}

/** Who a session belongs to: a person, and a session at the provider where that tells its name. */
export type Owner = { sub: string; sid?: string }

type Summary = Owner & { device: string; createdAt: number; expiresAt: number }

/** Sessions by whom they belong to, found and ended without their cookies. */
export type Register = {
  /**
   * Enters a session: first its record, then in its groups, then a look for tombstones. A logout writes its tombstone
   * before it reads the groups, so whichever is first, one of the two sees the other.
   *
   * @returns false when a logout covers this login: nothing is left of it
   */
  enter(
    id: string,
    content: { sealed: Buffer; device: string; owner: Owner; authTime: number },
    at: { now: number; idle: number; expiresAt: number },
  ): Promise<boolean>
  /** Live sessions of a person, the newest first. */
  list(sub: string): Promise<SessionSummary[]>
  /** Ends every session of a group, those included whose login is under way now. @returns how many there were */
  endAll(group: Group, reason: EndReason): Promise<number>
  /** Whether a session of the group is left. */
  hasAny(group: Group): Promise<boolean>
  /** Whether no session of the group is another person's than this. */
  areOf(group: Group, sub: string): Promise<boolean>
  /** Ends a session with all others of its session at the provider. @returns false when the person has no such session */
  endOne(sub: string, id: string): Promise<boolean>
  /** Ends the person's sessions but this one and those it shares its session at the provider with. */
  endOthers(id: string, owner: Owner): Promise<number>
  /** Ends one session where it lies, and nothing else. @returns whether there was one, and behind the fence if one is named */
  endRecord(id: string, reason: EndReason, fence?: Fence): Promise<boolean>
  /** Whether a tombstone covers a session created then. */
  isBuried(owner: Owner, createdAt: number): Promise<boolean>
}

/** A summary opens without the cookie: under the server's key alone. */
const noSecret = Buffer.alloc(0)

export function createRegister(options: {
  store: SessionStore
  keys: SealingKeys
  /** Sessions that one person may have; the idle ones, then the oldest make room. */
  perUser: number
  logger: Logger
  now: () => number
  /** Called for each session that was ended; without a reason it was over before. */
  onEnd: (id: string, reason: EndReason | undefined, owner: Owner | undefined) => void
}): Register {
  const { store, keys, perUser, logger, now, onEnd } = options

  /** `sealed`: it is there, and nothing can be said of it: another edge's, or of a key that only other replicas have yet. */
  const read = async (id: string): Promise<(Summary & { lastSeenAt: number }) | 'gone' | 'sealed'> => {
    const found = await store.summary(id)
    if (found === undefined) return 'gone'
    const plain = unseal(found.summary, noSecret, keys, ['summary', id])
    if (plain === undefined) return 'sealed'
    return { ...(JSON.parse(plain) as Summary), lastSeenAt: found.lastSeenAt ?? 0 }
  }

  /** The sessions of a group that still are there and can be read; those that are gone are forgotten on the way. */
  const present = async (
    group: Group,
    ids: readonly string[],
  ): Promise<[string, Summary & { lastSeenAt: number }][]> => {
    const summaries = await Promise.all(ids.map(read))
    await store.strike(
      group,
      ids.filter((_, at) => summaries[at] === 'gone'),
    )
    return ids.flatMap((id, at) => {
      const summary = summaries[at]
      return typeof summary === 'object' ? [[id, summary]] : []
    })
  }

  const endRecord: Register['endRecord'] = async (id, reason, fence) => {
    // Asked first and not waited for: whose it was is gone with the record, and who cannot say holds up no end.
    const owner = read(id).then(
      summary => (typeof summary === 'object' ? summary : undefined),
      () => undefined,
    )
    const existed = await store.end(id, reason, fence)
    // Who is fenced off knows nothing of what is there now.
    if (fence !== undefined && !existed) return false
    onEnd(id, existed ? reason : undefined, existed ? await owner : undefined)
    return existed
  }

  const endEach = async (ids: Iterable<string>, reason: EndReason): Promise<number> => {
    const ended = await Promise.all([...ids].map(id => endRecord(id, reason)))
    return ended.filter(Boolean).length
  }

  /** What is left in a group of sessions that are over is pruned by the next look: no end fails for its sake. */
  const forget = (group: Group, ids: readonly string[]): Promise<void> =>
    store.strike(group, ids).catch(err => logger.debug({ err }, 'a group keeps entries that are over'))

  const endAll: Register['endAll'] = async (group, reason) => {
    await store.bury(group)
    const ids = await store.entries(group)
    const count = await endEach(ids, reason)
    await forget(group, ids)
    await store.settle()
    return count
  }

  return {
    async enter(id, { sealed, device, owner, authTime }, at) {
      const groups = groupsOf(owner)
      const summary: Summary = {
        sub: owner.sub,
        ...(owner.sid === undefined ? {} : { sid: owner.sid }),
        device,
        createdAt: at.now,
        expiresAt: at.expiresAt,
      }
      const content = { sealed, summary: seal(JSON.stringify(summary), noSecret, keys, ['summary', id]) }
      const createdAt = await store.create(id, content, at)
      const [entries = [], ofSameLogin = []] = await Promise.all(groups.map(group => store.enter(group, id)))
      const buriedAt = await store.buriedAt(groups)
      if (isCovered(buriedAt, { createdAt, authTime })) {
        await store.end(id, 'revoked')
        return false
      }
      if (entries.length > perUser) {
        const others = await present(
          { sub: owner.sub },
          entries.filter(each => each !== id),
        )
        // A record outlives its idle time: what nobody can use any more makes room first.
        const isIdle = ({ lastSeenAt }: { lastSeenAt: number }): boolean => lastSeenAt + at.idle <= at.now
        const ordered = [...others.filter(([, each]) => isIdle(each)), ...others.filter(([, each]) => !isIdle(each))]
        const surplus = ordered.slice(0, Math.max(0, others.length + 1 - perUser))
        await Promise.all(surplus.map(([each, summary]) => endRecord(each, isIdle(summary) ? 'idle' : 'limit')))
        await forget(
          { sub: owner.sub },
          surplus.map(([each]) => each),
        )
      }
      // Whoever logs in again and again while the provider knows them adds to one group, which ends as a whole.
      if (ofSameLogin.length > perUser) await present(groups[1] as Group, ofSameLogin)
      return true
    },

    async list(sub) {
      const group = { sub }
      const sessions = await present(group, await store.entries(group))
      return sessions
        .filter(
          ([, { lastSeenAt, expiresAt, ...summary }]) => summary.sub === sub && lastSeenAt > 0 && now() < expiresAt,
        )
        .map(([id, { createdAt, lastSeenAt, expiresAt, device }]) => ({ id, createdAt, lastSeenAt, expiresAt, device }))
        .reverse()
    },

    async hasAny(group) {
      return (await Promise.all((await store.entries(group)).map(read))).some(summary => summary !== 'gone')
    },

    async areOf(group, sub) {
      return (await present(group, await store.entries(group))).every(([, summary]) => summary.sub === sub)
    },

    endAll,

    async endOne(sub, id) {
      const summary = await read(id)
      if (typeof summary !== 'object' || summary.sub !== sub) return false
      if (summary.sid !== undefined) return (await endAll({ sid: summary.sid }, 'revoked')) > 0
      const existed = await endRecord(id, 'revoked')
      await store.settle()
      return existed
    },

    async endOthers(id, owner) {
      const group = { sub: owner.sub }
      const others = (await present(group, await store.entries(group))).filter(
        ([each, { sub, sid }]) => each !== id && sub === owner.sub && (sid === undefined || sid !== owner.sid),
      )
      const sids = new Set(others.flatMap(([, { sid }]) => (sid === undefined ? [] : [sid])))
      // One tombstone for each, never one for the person: that would end this session, too.
      await Promise.all([...sids].map(sid => store.bury({ sid })))
      const ids = new Set(others.map(([each]) => each))
      for (const sid of sids) for (const each of await store.entries({ sid })) ids.add(each)
      const count = await endEach(ids, 'revoked')
      await forget(group, [...ids])
      await store.settle()
      return count
    },

    endRecord,

    async isBuried(owner, createdAt) {
      return isCovered(await store.buriedAt(groupsOf(owner)), { createdAt })
    },
  }
}

/** What a session is entered under, and may be buried by. It never changes. */
export const groupsOf = ({ sub, sid }: Owner): [Group, ...Group[]] => [{ sub }, ...(sid === undefined ? [] : [{ sid }])]
