import type { Principal } from './claims.ts'

type Entry = { principal: Principal; until: number; generation: number }

/**
 * Tokens that were verified, under their exact text: a lookup compares the whole string, so nothing but the same token
 * hits. Only successes are kept. Two generations bound it: when the younger is full, the older is forgotten.
 *
 * @param size tokens kept at least, half of what is kept at most
 */
export function createTokenCache(size = 5_000): {
  /** @param now epoch ms; @param generation of the keys: what an older set of keys verified is no longer believed */
  get(token: string, now: number, generation: number): Principal | undefined
  set(token: string, entry: Entry): void
} {
  let young = new Map<string, Entry>()
  let old = new Map<string, Entry>()
  const set = (token: string, entry: Entry): void => {
    if (young.size >= size) {
      old = young
      young = new Map()
    }
    young.set(token, entry)
  }
  return {
    get: (token, now, generation) => {
      let entry = young.get(token)
      if (entry === undefined) {
        entry = old.get(token)
        if (entry === undefined) return undefined
        set(token, entry)
      }
      return entry.until > now && entry.generation === generation ? entry.principal : undefined
    },
    set,
  }
}
