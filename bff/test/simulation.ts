import { problem } from '@banking/contracts'
import { createMetrics } from '@banking/telemetry'
import { testLogger } from '@banking/testkit'
import { type Person, ProviderError, type Tokens } from '../src/provider/oidc.ts'
import type { SessionRecord } from '../src/sessions/record.ts'
import type { Clock } from '../src/sessions/refresh.ts'
import type { SealingKeys } from '../src/sessions/seal.ts'
import type { EndReason, SessionStore } from '../src/sessions/session-store.ts'
import { createSessions, type Sessions } from '../src/sessions/sessions.ts'
import { type Row, SimulatedStore, sessionStoreOf } from './simulated-store.ts'

/** What a world decides by: the next number of a tape, so that a run can be repeated and made smaller. */
export type Tape = readonly number[]

export const base = 1_800_000_000_000
const timeout = 250
/** A replica that cannot hear the store for so long remembers nothing. */
const silence = 600
const unavailable = () => problem('sessions_unavailable')

export type Rotation = 'none' | 'lenient' | 'strict'
export type Link = 'store' | 'provider'
export type Way = 'there' | 'back'
type Scheduled = { at: number; order: number; work: () => void }
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
  readonly store: SimulatedStore = new SimulatedStore(
    () => base + this.time,
    id => {
      for (const replica of this.replicas) replica.hear(id)
    },
  )
  readonly replicas: Replica[] = []
  /** What is in a record, of sessions whose cookies somebody has. */
  open: (id: string, row: Row) => SessionRecord | undefined = () => undefined
  /** Which replica asked for a lease under this name. */
  readonly #owners = new Map<string, string>()
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

  /** Without a logout a session ends for a refresh token that was refused: then it must be this one, and nobody at it. */
  #mayEnd(id: string, reason: EndReason, replica: string): void {
    const row = this.store.row(id)
    const record = row && this.open(id, row)
    if (row === undefined || record === undefined || reason !== 'ended') return
    const { tokens, person } = record
    if (this.store.buriedAt([{ sub: person.sub }, { sid: person.sid as string }]) >= row.createdAt) return
    if (this.#grants.get(tokens.refreshToken as string)?.isUsed === false)
      this.violations.push('a session ended although its refresh token is good')
    const holder = this.store.leaseOf(id)
    if (holder !== undefined && this.#owners.get(holder) !== replica)
      this.violations.push('a session ended while another replica refreshed it')
  }

  /** The store for one replica, and what nobody may do to it. */
  storeFor(replica: string, ask: <T>(work: () => T) => Promise<T>, watch: SessionStore['watch']): SessionStore {
    const { store } = this
    return {
      ...sessionStoreOf(store, ask, watch),
      lease: (id, owner, takeOver) => {
        this.#owners.set(owner, replica)
        return ask(() => store.lease(id, owner, takeOver))
      },
      end: (id, reason, fence) =>
        ask(() => {
          const isBehind = fence !== undefined && store.row(id)?.version === fence.version
          if (fence === undefined || (isBehind && store.leaseOf(id) === fence.owner)) this.#mayEnd(id, reason, replica)
          return store.end(id, reason, fence)
        }),
    }
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
  /** Until when what goes there, or comes back, is lost. */
  readonly #lost = { store: { there: 0, back: 0 }, provider: { there: 0, back: 0 } }
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
      store: world.storeFor(
        name,
        work => this.#ask(work),
        listener => {
          this.#listener = listener
          return () => this.#isCurrent
        },
      ),
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

  /** The store is out of reach for so long, and every command fails at once; the provider is not. */
  cut(ms: number): void {
    this.#cutUntil = Math.max(this.#cutUntil, this.#world.time + ms)
    this.#hearNothing(ms)
  }

  /** Whatever goes one way of one link is swallowed for so long. */
  lose(link: Link, way: Way, ms: number): void {
    this.#lost[link][way] = Math.max(this.#lost[link][way], this.#world.time + ms)
    if (link === 'store') this.#hearNothing(ms)
  }

  #isLost(link: Link, way: Way): boolean {
    return this.#world.time < this.#lost[link][way]
  }

  #hearNothing(ms: number): void {
    const world = this.#world
    world.at(Math.min(silence, ms), () => {
      this.#isCurrent = false
      this.#deliver(() => this.#listener?.lost())
    })
    world.at(ms + 1, () => this.#hearAgain())
  }

  #hearAgain(): void {
    this.#deliver(() => {
      this.#listener?.lost()
      if (this.#isDeaf()) return
      this.#isCurrent = true
      this.#listener?.ready()
    })
  }

  /** Redis tells a change, after a while. */
  hear(id: string): void {
    if (this.#isDeaf()) return
    this.#world.at(this.#world.pick(30), () => this.#deliver(() => this.#listener?.changed(id)))
  }

  #isCut(): boolean {
    return this.#world.time < this.#cutUntil
  }

  /** Pings are lost with the rest: one way is enough to hear nothing that may be relied on. */
  #isDeaf(): boolean {
    return this.#isCut() || this.#isLost('store', 'there') || this.#isLost('store', 'back')
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
    if (trouble === 23 || this.#isLost('store', 'there')) return promise
    world.at(trouble === 22 ? timeout + there * 10 : there, () => {
      const answer = work()
      if (trouble !== 21 && trouble !== 22 && !this.#isLost('store', 'back'))
        world.at(back, () => this.#deliver(() => resolve(answer)))
    })
    return promise
  }

  #refresh = (token: string, person: Person, signal: AbortSignal) => {
    const world = this.#world
    const { promise, resolve, reject } = Promise.withResolvers<{ tokens: Tokens; person: Person }>()
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
    if (trouble === 15 || this.#isLost('provider', 'there')) return promise
    world.at(there, () => {
      const answer = trouble === 14 ? 'unavailable' : world.redeem(token)
      if (trouble === 13 || this.#isLost('provider', 'back')) return
      world.at(back, () =>
        over(() => {
          if (answer === 'unavailable') reject(new ProviderError('unavailable', 'it said 503'))
          else if (answer === 'invalid_grant') reject(new ProviderError('grant', 'invalid_grant'))
          else resolve({ tokens: answer, person })
        }),
      )
    })
    return promise
  }
}
