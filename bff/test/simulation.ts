import { problem } from '@banking/contracts'
import { createMetrics } from '@banking/telemetry'
import { testLogger } from '@banking/testkit'
import { ProviderError, type Tokens } from '../src/provider/oidc.ts'
import type { SessionRecord } from '../src/sessions/record.ts'
import type { Clock } from '../src/sessions/refresh.ts'
import type { SealingKeys } from '../src/sessions/seal.ts'
import type { EndReason, Fence, Found, Group, SessionStore } from '../src/sessions/session-store.ts'
import { createSessions, type Sessions } from '../src/sessions/sessions.ts'

/** What a world decides by: the next number of a tape, so that a run can be repeated and made smaller. */
export type Tape = readonly number[]

export const base = 1_800_000_000_000
const timeout = 250
/** A replica that cannot hear the store for so long remembers nothing. */
const silence = 600
const unavailable = () => problem('sessions_unavailable')

export type Rotation = 'none' | 'lenient' | 'strict'
type Scheduled = { at: number; order: number; work: () => void }
type Row = { version: number; sealed: Buffer; summary: Buffer; createdAt: number }
type Call = { token: string; replica: string; fate: 'live' | 'dead' | 'over' }

/**
 * Replicas with the real protocol on a simulated clock, store and provider. Nothing here waits: time passes from one
 * event to the next.
 */
export class World {
  time = 0
  /** Broken invariants. */
  readonly violations: string[] = []
  readonly calls: Call[] = []
  /** Whether a refresh token is good once; `strict`: and its second use ends all that came of it. */
  rotation: Rotation = 'none'
  /** While it is calm, everything is answered at once and nothing gets lost. */
  isCalm = true
  readonly rows = new Map<string, Row>()
  readonly tombstones = new Map<string, number>()
  readonly replicas: Replica[] = []
  /** What is in a record, of sessions whose cookies somebody has. */
  open: (id: string, row: Row) => SessionRecord | undefined = () => undefined
  /** Ids that were deleted for good; none may come back by a write. */
  readonly #ended = new Map<string, EndReason>()
  readonly #idle = new Map<string, number>()
  readonly #leases = new Map<string, { owner: string; until: number; replica: string }>()
  readonly #open = new Map<string, { version: number; count: number; owner: string; since: number }>()
  readonly #groups = new Map<string, string[]>()
  readonly #queue: Scheduled[] = []
  readonly #grants = new Map<string, { sub: string; isUsed: boolean }>()
  readonly #tape: Tape
  #read = 0
  #order = 0

  constructor(tape: Tape) {
    this.#tape = tape
  }

  /** The next number of the tape below a bound. */
  pick(bound: number): number {
    if (this.isCalm || this.#tape.length === 0) return 0
    const value = this.#tape[this.#read % this.#tape.length] ?? 0
    this.#read++
    return value % bound
  }

  at(ms: number, work: () => void): void {
    this.#queue.push({ at: this.time + ms, order: this.#order++, work })
  }

  /** Lets everything happen that is going to happen until then. */
  async run(until: number): Promise<void> {
    await settled()
    for (;;) {
      let next = 0
      for (let i = 1; i < this.#queue.length; i++) {
        const [a, b] = [this.#queue[i], this.#queue[next]] as [Scheduled, Scheduled]
        if (a.at < b.at || (a.at === b.at && a.order < b.order)) next = i
      }
      const event = this.#queue[next]
      if (event === undefined || event.at > until) return
      this.#queue.splice(next, 1)
      this.time = Math.max(this.time, event.at)
      event.work()
      await settled()
    }
  }

  grant(sub: string): Tokens {
    const name = `${sub}-${this.#order++}`
    this.#grants.set(`refresh-${name}`, { sub, isUsed: false })
    return { accessToken: `access-${name}`, refreshToken: `refresh-${name}`, expiresAt: base + this.time + 300_000 }
  }

  /** What the provider does with a refresh token; reuse of a rotated one ends all that came of it. */
  redeem(token: string): Tokens | 'invalid_grant' {
    const grant = this.#grants.get(token)
    if (grant === undefined) return 'invalid_grant'
    if (this.rotation === 'none') return { ...this.grant(grant.sub), refreshToken: token }
    if (grant.isUsed) {
      if (this.rotation === 'strict')
        for (const [name, { sub }] of this.#grants) if (sub === grant.sub) this.#grants.delete(name)
      return 'invalid_grant'
    }
    grant.isUsed = true
    return this.grant(grant.sub)
  }

  revoke(token: string): void {
    this.#grants.delete(token)
  }

  // What Redis does, one command at a time. Its clock is the world's.

  find(id: string): Found {
    const row = this.rows.get(id)
    if (row !== undefined) return { ...row, lastSeenAt: this.#idle.get(id) }
    const endedBy = this.#ended.get(id)
    return endedBy === undefined ? undefined : { endedBy }
  }

  create(id: string, content: { sealed: Buffer; summary: Buffer }, now: number): number {
    this.rows.set(id, { version: 1, ...content, createdAt: base + this.time })
    this.#idle.set(id, now)
    this.changed(id)
    return base + this.time
  }

  replace(id: string, version: number, sealed: Buffer, owner: string): boolean {
    const row = this.rows.get(id)
    if (row === undefined || row.version !== version) return false
    const lease = this.#lease(id)
    if (lease !== undefined && lease.owner !== owner) return false
    this.rows.set(id, { ...row, version: version + 1, sealed })
    this.#leases.delete(id)
    this.#open.delete(id)
    this.changed(id)
    return true
  }

  end(id: string, reason: EndReason, fence: Fence | undefined, replica: string): boolean {
    const isOther = this.rows.get(id)?.version !== fence?.version || this.#lease(id)?.owner !== fence?.owner
    if (fence !== undefined && isOther) return false
    this.#mayEnd(id, reason, replica)
    const existed = this.rows.delete(id)
    for (const space of [this.#idle, this.#leases, this.#open]) space.delete(id)
    if (existed) this.#ended.set(id, reason)
    if (existed) this.changed(id)
    return existed
  }

  /** Without a logout a session ends for a refresh token that was refused: then it must be this one, and nobody at it. */
  #mayEnd(id: string, reason: EndReason, replica: string): void {
    const row = this.rows.get(id)
    const record = row && this.open(id, row)
    if (row === undefined || record === undefined || reason !== 'ended') return
    const { tokens, person } = record
    if (this.buriedAt([{ sub: person.sub }, { sid: person.sid as string }]) >= row.createdAt) return
    if (this.#grants.get(tokens.refreshToken as string)?.isUsed === false)
      this.violations.push('a session ended although its refresh token is good')
    if ((this.#lease(id)?.replica ?? replica) !== replica)
      this.violations.push('a session ended while another replica refreshed it')
  }

  lease(id: string, owner: string, takeOver: boolean, replica: string): Awaited<ReturnType<SessionStore['lease']>> {
    const found = this.find(id)
    const row = this.rows.get(id)
    if (row === undefined || this.#lease(id) !== undefined) return { found, lease: 'held' }
    const open = this.#open.get(id)
    const isOpen = open !== undefined && open.version === row.version && this.time < open.since + 132_000
    const mayRun = isOpen && this.time < open.since + 12_000
    if (mayRun && open.count > 1) return { found, lease: 'spent' }
    if (isOpen && !takeOver) return { found, lease: 'abandoned' }
    this.#leases.set(id, { owner, until: this.time + 3_000, replica })
    this.#open.set(id, { version: row.version, count: mayRun ? 2 : 1, owner, since: this.time })
    return { found, lease: 'granted' }
  }

  renew(id: string, owner: string): boolean {
    const lease = this.#lease(id)
    if (lease?.owner !== owner) return false
    lease.until = this.time + 3_000
    return true
  }

  release(id: string, owner: string): void {
    if (this.#lease(id)?.owner === owner) this.#leases.delete(id)
    if (this.#open.get(id)?.owner === owner) this.#open.delete(id)
  }

  enter(group: Group, id: string): string[] {
    const name = JSON.stringify(group)
    const ids = [...(this.#groups.get(name) ?? []).filter(each => each !== id), id]
    this.#groups.set(name, ids)
    return ids
  }

  entries(group: Group): string[] {
    return this.#groups.get(JSON.stringify(group)) ?? []
  }

  strike(group: Group, ids: readonly string[]): void {
    const left = this.entries(group).filter(id => !ids.includes(id))
    this.#groups.set(JSON.stringify(group), left)
  }

  bury(group: Group): void {
    this.tombstones.set(JSON.stringify(group), base + this.time)
  }

  buriedAt(groups: readonly Group[]): number {
    return Math.max(0, ...groups.map(group => this.tombstones.get(JSON.stringify(group)) ?? 0))
  }

  summary(id: string): { summary: Buffer; lastSeenAt: number | undefined } | undefined {
    const row = this.rows.get(id)
    return row && { summary: row.summary, lastSeenAt: this.#idle.get(id) }
  }

  /** A failover to a replica of Redis that has not heard of a deletion; the tombstone was waited for. */
  resurrect(id: string, row: Row): void {
    this.rows.set(id, { ...row })
    this.#idle.set(id, base + this.time)
    this.changed(id)
  }

  changed(id: string): void {
    for (const replica of this.replicas) replica.hear(id)
  }

  #lease(id: string) {
    const lease = this.#leases.get(id)
    return lease !== undefined && this.time < lease.until ? lease : undefined
  }
}

/** Everything that promises have set off by now. */
const settled = () => new Promise<void>(resolve => setImmediate(resolve))

/** One process: it can be killed, paused, and cut off from the store. */
export class Replica {
  readonly sessions: Sessions
  isDead = false
  readonly #world: World
  readonly #name: string
  #pausedUntil = 0
  #cutUntil = 0
  #isCurrent = true
  #listener: Parameters<SessionStore['watch']>[0] | undefined

  constructor(world: World, name: string, keys: SealingKeys) {
    this.#world = world
    this.#name = name
    const clock: Clock = {
      now: () => world.time,
      after: (ms, work) => {
        let isStopped = false
        world.at(ms, () => this.#deliver(() => isStopped || work()))
        return () => {
          isStopped = true
        }
      },
    }
    this.sessions = createSessions({
      store: this.#store(),
      keys,
      provider: { refresh: this.#refresh, revoke: async (token: string) => world.revoke(token) } as never,
      times: { idle: 15 * 60_000, absolute: 8 * 60 * 60_000 },
      perUser: 10,
      logger: testLogger().logger,
      metrics: createMetrics('bff'),
      now: () => base + world.time,
      clock,
    })
    world.replicas.push(this)
    this.#listener?.ready()
  }

  crash(): void {
    this.isDead = true
    this.#killCalls()
  }

  /** Nothing happens in this process for so long; what comes in waits. */
  pause(ms: number): void {
    const world = this.#world
    this.#pausedUntil = Math.max(this.#pausedUntil, world.time + ms)
    this.#killCalls()
    if (ms < silence) return
    this.#isCurrent = false
    world.at(ms + 1, () => this.#hearAgain())
  }

  /** The store is out of reach for so long; the provider is not. */
  cut(ms: number): void {
    const world = this.#world
    this.#cutUntil = Math.max(this.#cutUntil, world.time + ms)
    world.at(Math.min(silence, ms), () => {
      this.#isCurrent = false
      this.#deliver(() => this.#listener?.lost())
    })
    world.at(ms + 1, () => this.#hearAgain())
  }

  #hearAgain(): void {
    this.#deliver(() => {
      this.#listener?.lost()
      if (this.#isCut()) return
      this.#isCurrent = true
      this.#listener?.ready()
    })
  }

  /** Redis tells a change, after a while. */
  hear(id: string): void {
    if (this.#isCut()) return
    this.#world.at(this.#world.pick(30), () => this.#deliver(() => this.#listener?.changed(id)))
  }

  #isCut(): boolean {
    return this.#world.time < this.#cutUntil
  }

  #killCalls(): void {
    for (const call of this.#world.calls) if (call.replica === this.#name && call.fate === 'live') call.fate = 'dead'
  }

  /** Lets a request into this process. */
  receive(work: () => void): void {
    this.#deliver(work)
  }

  /** Into the process: not if it is dead, and later if it is paused. */
  #deliver(work: () => void): void {
    if (this.isDead) return
    const { time } = this.#world
    if (time < this.#pausedUntil) this.#world.at(this.#pausedUntil - time, () => this.#deliver(work))
    else work()
  }

  /** A command to the store: lost on the way there or back, late, or answered; 250 ms decide. */
  #ask<T>(work: () => T): Promise<T> {
    const world = this.#world
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    if (this.#isCut()) {
      world.at(1, () => this.#deliver(() => reject(unavailable())))
      return promise
    }
    const trouble = world.pick(24)
    const there = world.pick(20)
    const back = world.pick(20)
    world.at(timeout, () => this.#deliver(() => reject(unavailable())))
    if (trouble === 23) return promise
    world.at(trouble === 22 ? timeout + there * 10 : there, () => {
      const answer = work()
      if (trouble !== 21 && trouble !== 22) world.at(back, () => this.#deliver(() => resolve(answer)))
    })
    return promise
  }

  #refresh = (token: string, _sub: string, signal: AbortSignal): Promise<Tokens> => {
    const world = this.#world
    const { promise, resolve, reject } = Promise.withResolvers<Tokens>()
    const same = world.calls.filter(call => call.token === token)
    if (same.some(({ fate }) => fate === 'live')) world.violations.push(`two live redemptions of ${token}`)
    if (same.filter(({ fate }) => fate === 'dead').length > 1) world.violations.push(`${token} was taken over twice`)
    const call: Call = { token, replica: this.#name, fate: 'live' }
    world.calls.push(call)
    const over = (work: () => void) =>
      this.#deliver(() => {
        call.fate = 'over'
        work()
      })
    signal.addEventListener('abort', () => over(() => reject(new ProviderError('unavailable', 'aborted'))))
    const trouble = world.pick(16)
    const there = world.pick(12) * (trouble > 9 ? 400 : 10)
    const back = world.pick(12) * (trouble > 9 ? 400 : 10)
    world.at(10_000, () => {
      // Whatever became of its owner: no call lasts longer.
      call.fate = 'over'
      this.#deliver(() => reject(new ProviderError('unavailable', 'it took too long')))
    })
    if (trouble === 15) return promise
    world.at(there, () => {
      const answer = trouble === 14 ? 'unavailable' : world.redeem(token)
      if (trouble === 13) return
      world.at(back, () =>
        over(() => {
          if (answer === 'unavailable') reject(new ProviderError('unavailable', 'it said 503'))
          else if (answer === 'invalid_grant') reject(new ProviderError('grant', 'invalid_grant'))
          else resolve(answer)
        }),
      )
    })
    return promise
  }

  #store(): SessionStore {
    const world = this.#world
    return {
      find: id => this.#ask(() => world.find(id)),
      create: (id, content, { now }) => this.#ask(() => world.create(id, content, now)),
      replace: (id, version, sealed, owner) => this.#ask(() => world.replace(id, version, sealed, owner)),
      touch: () => this.#ask(() => true),
      end: (id, reason, fence) => this.#ask(() => world.end(id, reason, fence, this.#name)),
      lease: (id, owner, takeOver) => this.#ask(() => world.lease(id, owner, takeOver, this.#name)),
      renew: (id, owner) => this.#ask(() => world.renew(id, owner)),
      release: (id, owner) => this.#ask(() => world.release(id, owner)),
      enter: (group, id) => this.#ask(() => world.enter(group, id)),
      entries: group => this.#ask(() => world.entries(group)),
      strike: (group, ids) => this.#ask(() => world.strike(group, ids)),
      summary: id => this.#ask(() => world.summary(id)),
      bury: group => this.#ask(() => world.bury(group)),
      buriedAt: groups => this.#ask(() => world.buriedAt(groups)),
      findToken: () => this.#ask(() => undefined),
      saveToken: () => this.#ask(() => true),
      settle: async () => undefined,
      watch: listener => {
        this.#listener = listener
        return () => this.#isCurrent
      },
    }
  }
}
