import { mayRemember, type Reading, rememberedUntil } from './protocol.ts'
import type { Session } from './record.ts'

type Entry = { cookie: string; session: Session; until: number }
type Generation = { byCookie: Map<string, Entry>; byId: Map<string, Entry> }

/**
 * Sessions that were looked up a moment ago, by their cookie: a page load of fifty requests costs one look into the
 * store. Redis tells each change of a record, and while it cannot be heard nothing is remembered.
 */
export type Cache = {
  /** The remembered session, unless its time is over: then only the store can say. */
  get(cookie: string): Session | undefined
  /** Looks up a session once for all who ask at the same time, and remembers it if nothing changed meanwhile. */
  load<T extends { session: Session } | { over: unknown }>(
    cookie: string,
    id: string,
    look: () => Promise<T>,
  ): Promise<T>
  /** A person did something: the idle time of a remembered session begins anew. */
  touch(id: string, at: number): void
  /** Forgets a session that has changed, and what is being read of it. */
  changed(id: string): void
  /** Forgets everything, and remembers nothing until `ready`. */
  lost(): void
  ready(): void
  /** How many are remembered. */
  size(): number
}

export function createCache(options: {
  /** Sessions that are remembered at most. */
  size: number
  idle: number
  now: () => number
  /** Whether every change up to a moment ago has been heard. */
  isHearing: () => boolean
}): Cache {
  const { size, idle, now, isHearing } = options
  const empty = (): Generation => ({ byCookie: new Map(), byId: new Map() })
  // Two generations instead of a list by last use: what is not asked for while the younger one fills is forgotten.
  let younger = empty()
  let older = empty()
  let isReady = false
  const readings = new Map<string, Reading & { result: Promise<unknown> }>()

  const insert = (entry: Entry): void => {
    if (younger.byCookie.size >= size / 2) {
      older = younger
      younger = empty()
    }
    younger.byCookie.set(entry.cookie, entry)
    younger.byId.set(entry.session.id, entry)
  }
  const remove = (id: string): void => {
    for (const generation of [younger, older]) {
      const entry = generation.byId.get(id)
      if (entry === undefined) continue
      generation.byId.delete(id)
      generation.byCookie.delete(entry.cookie)
    }
  }

  return {
    get(cookie) {
      let entry = younger.byCookie.get(cookie)
      if (entry === undefined) {
        entry = older.byCookie.get(cookie)
        if (entry === undefined) return undefined
        remove(entry.session.id)
        insert(entry)
      }
      if (now() < entry.until && isHearing()) return entry.session
      return undefined
    },

    load<T extends { session: Session } | { over: unknown }>(cookie: string, id: string, look: () => Promise<T>) {
      const current = readings.get(id)
      // A stale one began before a change, perhaps a logout: who comes after it must not be told what was before.
      if (current !== undefined && !current.isStale) return current.result as Promise<T>
      const reading: Reading = { isStale: false }
      const result = look()
        .then(found => {
          if ('session' in found && mayRemember(isReady && isHearing(), reading)) {
            remove(id)
            insert({ cookie, session: found.session, until: rememberedUntil(found.session, idle, now()) })
          }
          return found
        })
        .finally(() => {
          if (readings.get(id) === flying) readings.delete(id)
        })
      const flying = Object.assign(reading, { result })
      readings.set(id, flying)
      return result
    },

    touch(id, at) {
      const entry = younger.byId.get(id) ?? older.byId.get(id)
      if (entry === undefined || at <= entry.session.lastSeenAt) return
      entry.session = { ...entry.session, lastSeenAt: at }
      // Its thirty seconds go on: a touch is not a look.
      entry.until = Math.min(entry.until, at + idle)
    },

    changed(id) {
      remove(id)
      const reading = readings.get(id)
      if (reading !== undefined) reading.isStale = true
    },

    lost() {
      isReady = false
      younger = empty()
      older = empty()
      for (const reading of readings.values()) reading.isStale = true
    },

    ready() {
      // What is being read may have been read before changes were told again.
      for (const reading of readings.values()) reading.isStale = true
      isReady = true
    },

    size: () => younger.byId.size + older.byId.size,
  }
}
