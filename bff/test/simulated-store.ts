import type { LeaseOutcome } from '../src/sessions/protocol.ts'
import type { EndReason, Fence, Found, Group, SessionStore } from '../src/sessions/session-store.ts'

export type Row = { version: number; sealed: Buffer; summary: Buffer; createdAt: number; until: number }
type Lease = { owner: string; until: number }
type Call = { version: number; count: number; owner: string; mayRunUntil: number; until: number }

const minute = 60_000
const afterlife = 15 * minute

/** What Redis does for the session store, one command at a time and by a clock that can be moved. */
export class SimulatedStore {
  readonly rows = new Map<string, Row>()
  /** The newest tombstone of a group, by its JSON. */
  readonly tombstones = new Map<string, number>()
  readonly #ended = new Map<string, { reason: EndReason; until: number }>()
  readonly #remains = new Map<string, { sealed: Buffer; until: number }>()
  readonly #idle = new Map<string, { at: number; until: number }>()
  readonly #tokens = new Map<string, Map<string, Buffer>>()
  readonly #leases = new Map<string, Lease>()
  readonly #calls = new Map<string, Call>()
  readonly #groups = new Map<string, string[]>()
  readonly #now: () => number
  readonly #changed: (id: string) => void

  /**
   * @param now epoch ms
   * @param changed told of each record that is written or deleted
   */
  constructor(now: () => number, changed: (id: string) => void) {
    this.#now = now
    this.#changed = changed
  }

  find(id: string, groups: readonly Group[] = []): Found {
    const row = this.row(id)
    if (row !== undefined) {
      const { version, sealed, createdAt } = row
      const lastSeenAt = this.#live(this.#idle, id)?.at
      return { version, sealed, createdAt, lastSeenAt, buriedAt: this.buriedAt(groups) }
    }
    const ended = this.#live(this.#ended, id)
    return ended && { endedBy: ended.reason }
  }

  row(id: string): Row | undefined {
    return this.#live(this.rows, id)
  }

  create(
    id: string,
    content: { sealed: Buffer; summary: Buffer },
    { now, idle, expiresAt }: { now: number; idle: number; expiresAt: number },
  ): number {
    const createdAt = this.#now()
    this.rows.set(id, { version: 1, ...content, createdAt, until: expiresAt + afterlife })
    this.#idle.set(id, { at: now, until: createdAt + idle })
    this.#changed(id)
    return createdAt
  }

  replace(id: string, version: number, sealed: Buffer, owner: string): boolean {
    const row = this.row(id)
    const holder = this.leaseOf(id)
    if (row?.version !== version || (holder !== undefined && holder !== owner)) return false
    this.rows.set(id, { ...row, version: version + 1, sealed })
    this.#leases.delete(id)
    this.#calls.delete(id)
    this.#changed(id)
    return true
  }

  touch(id: string, now: number, idle: number): boolean {
    if (this.row(id) === undefined) return false
    this.#idle.set(id, { at: now, until: this.#now() + idle })
    return true
  }

  end(id: string, reason: EndReason, fence?: Fence): boolean {
    const row = this.row(id)
    if (fence !== undefined && (row?.version !== fence.version || this.leaseOf(id) !== fence.owner)) return false
    for (const space of [this.rows, this.#idle, this.#tokens, this.#leases, this.#calls]) space.delete(id)
    if (row === undefined) return false
    const until = this.#now() + afterlife
    this.#ended.set(id, { reason, until })
    this.#remains.set(id, { sealed: row.sealed, until })
    this.#changed(id)
    return true
  }

  takeEnded(id: string): Buffer | undefined {
    const remains = this.#live(this.#remains, id)
    this.#remains.delete(id)
    return remains?.sealed
  }

  lease(id: string, owner: string, takeOver: boolean): { found: Found; lease: LeaseOutcome } {
    const found = this.find(id)
    const row = this.row(id)
    if (row === undefined || this.leaseOf(id) !== undefined) return { found, lease: 'held' }
    const now = this.#now()
    const call = this.#live(this.#calls, id)
    const isOpen = call?.version === row.version
    const mayRun = isOpen && now < call.mayRunUntil
    if (mayRun && call.count > 1) return { found, lease: 'spent' }
    if (isOpen && !takeOver) return { found, lease: 'abandoned' }
    this.#leases.set(id, { owner, until: now + 3_000 })
    const opened = { mayRunUntil: now + 12_000, until: now + 132_000 }
    this.#calls.set(id, { version: row.version, count: mayRun ? 2 : 1, owner, ...opened })
    return { found, lease: 'granted' }
  }

  /** Whose lease it is now. */
  leaseOf(id: string): string | undefined {
    return this.#live(this.#leases, id)?.owner
  }

  renew(id: string, owner: string): boolean {
    if (this.leaseOf(id) !== owner) return false
    this.#leases.set(id, { owner, until: this.#now() + 3_000 })
    return true
  }

  release(id: string, owner: string): void {
    if (this.leaseOf(id) === owner) this.#leases.delete(id)
    if (this.#calls.get(id)?.owner === owner) this.#calls.delete(id)
  }

  enter(group: Group, id: string): string[] {
    const ids = [...this.entries(group).filter(each => each !== id), id]
    this.#groups.set(JSON.stringify(group), ids)
    return ids
  }

  entries(group: Group): string[] {
    return this.#groups.get(JSON.stringify(group)) ?? []
  }

  strike(group: Group, ids: readonly string[]): void {
    const left = this.entries(group).filter(id => !ids.includes(id))
    this.#groups.set(JSON.stringify(group), left)
  }

  summary(id: string): { summary: Buffer; lastSeenAt: number | undefined } | undefined {
    const row = this.row(id)
    return row && { summary: row.summary, lastSeenAt: this.#live(this.#idle, id)?.at }
  }

  bury(group: Group): void {
    this.tombstones.set(JSON.stringify(group), Math.max(this.#now(), this.buriedAt([group])))
  }

  buriedAt(groups: readonly Group[]): number {
    return Math.max(0, ...groups.map(group => this.tombstones.get(JSON.stringify(group)) ?? 0))
  }

  findToken(id: string, audience: string): Buffer | undefined {
    return this.row(id) && this.#tokens.get(id)?.get(audience)
  }

  saveToken(id: string, audience: string, sealed: Buffer): boolean {
    if (this.row(id) === undefined) return false
    this.#tokens.set(id, (this.#tokens.get(id) ?? new Map<string, Buffer>()).set(audience, sealed))
    return true
  }

  /** A failover to a replica of Redis that has not heard of a deletion; the tombstone was waited for. */
  resurrect(id: string, row: Row): void {
    this.rows.set(id, { ...row })
    this.#idle.set(id, { at: this.#now(), until: row.until })
    this.#changed(id)
  }

  #live<T extends { until: number }>(space: Map<string, T>, id: string): T | undefined {
    const value = space.get(id)
    if (value === undefined || this.#now() < value.until) return value
    space.delete(id)
    return undefined
  }
}

/**
 * The store as a process sees it.
 *
 * @param ask how its commands travel
 */
export function sessionStoreOf(
  simulated: SimulatedStore,
  ask: <T>(work: () => T) => Promise<T>,
  watch: SessionStore['watch'],
): SessionStore {
  return {
    find: (id, groups) => ask(() => simulated.find(id, groups)),
    create: (id, content, at) => ask(() => simulated.create(id, content, at)),
    replace: (id, version, sealed, owner) => ask(() => simulated.replace(id, version, sealed, owner)),
    touch: (id, now, idle) => ask(() => simulated.touch(id, now, idle)),
    end: (id, reason, fence) => ask(() => simulated.end(id, reason, fence)),
    takeEnded: id => ask(() => simulated.takeEnded(id)),
    lease: (id, owner, takeOver) => ask(() => simulated.lease(id, owner, takeOver)),
    renew: (id, owner) => ask(() => simulated.renew(id, owner)),
    release: (id, owner) => ask(() => simulated.release(id, owner)),
    enter: (group, id) => ask(() => simulated.enter(group, id)),
    entries: group => ask(() => simulated.entries(group)),
    strike: (group, ids) => ask(() => simulated.strike(group, ids)),
    summary: id => ask(() => simulated.summary(id)),
    bury: group => ask(() => simulated.bury(group)),
    buriedAt: groups => ask(() => simulated.buriedAt(groups)),
    findToken: (id, audience) => ask(() => simulated.findToken(id, audience)),
    saveToken: (id, audience, sealed) => ask(() => simulated.saveToken(id, audience, sealed)),
    settle: async () => undefined,
    watch,
  }
}
