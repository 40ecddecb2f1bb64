import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { Redis } from '../redis.ts'
import { derive, type Identity, identityOf, newCookieValue, type SealingKeys, seal, unseal } from '../sessions/seal.ts'

/** One attempt to log in, from the start to the callback. It lives in a key space and a cookie of its own. */
export type LoginTransaction = {
  /** RFC 7636 §4.1. */
  codeVerifier: string
  nonce: string
  returnTo: string
  /** The session that this login replaces: its id, never its cookie. */
  replaces?: string
}

/** ms that a person may take at the identity provider. */
const lifetime = 10 * 60_000
/** ms that it is remembered where a login would have led, so that one that came too late, or again, leads there too. */
export const remembered = 30 * 60_000
/** Attempts that one browser may have open, e.g. one per tab. */
export const openLogins = 5

export const loginCookiePrefix = '__Host-login-'
/** Of the edge's other cookies, the session's apart. */
export const edgeCookiePrefix = '__Host-edge-'
const key = (id: string) => `t:{${id}}`
const tagPattern = /^[a-z0-9]{9}[A-Za-z0-9_-]{8}[01]$/

export type LoginTransactions = {
  /** @returns the cookie to set and the `state` to send (RFC 6749 §10.12) */
  open(
    transaction: LoginTransaction,
    restarted: boolean,
  ): Promise<{ cookieName: string; cookieValue: string; state: string }>
  /** Takes the transaction of a cookie: it works once. What came too late, or again, says only where it led. */
  take(cookieValue: string): Promise<LoginTransaction | { over: true; returnTo: string } | undefined>
  /** Forgets transactions, e.g. those that were pushed out by newer ones. */
  drop(cookieValues: readonly string[]): Promise<void>
}

/** What lies in Redis. */
type Stored = (LoginTransaction & { openedAt: number }) | { over: true; returnTo: string }

export function createLoginTransactions(redis: Redis, keys: SealingKeys, now: () => number): LoginTransactions {
  const save = ({ id, secret }: Identity, stored: Stored) =>
    redis.run('SET', key(id), seal(JSON.stringify(stored), secret, keys, ['login', id]), 'PX', String(remembered))

  return {
    async open(transaction, restarted) {
      const cookieValue = newCookieValue()
      const identity = identityOf(cookieValue)
      if (identity === undefined) throw new Error('a fresh cookie value has an identity')
      // The name sorts by age: the oldest of too many can be told without asking anybody.
      const tag = `${now().toString(36).padStart(9, '0')}${randomBytes(6).toString('base64url')}${restarted ? 1 : 0}`
      await save(identity, { ...transaction, openedAt: now() })
      return { cookieName: loginCookiePrefix + tag, cookieValue, state: `${tag}.${stateOf(cookieValue)}` }
    },

    async take(cookieValue) {
      const identity = identityOf(cookieValue)
      if (identity === undefined) return undefined
      const sealed = await redis.run('GETDEL', key(identity.id))
      if (!Buffer.isBuffer(sealed)) return undefined
      const plain = unseal(sealed, identity.secret, keys, ['login', identity.id])
      if (plain === undefined) return undefined
      const stored = JSON.parse(plain) as Stored
      if ('over' in stored) return stored
      const { openedAt, ...transaction } = stored
      const { returnTo } = transaction
      if (now() - openedAt >= lifetime) return { over: true, returnTo }
      await save(identity, { over: true, returnTo })
      return transaction
    },

    drop: cookieValues => redis.remove(cookieValues.flatMap(value => identityOf(value)?.id ?? []).map(key)),
  }
}

/** Whether a cookie is of our making, by its name: others cannot be deleted, some have no name that may be written. */
export const isLoginCookie = (name: string): boolean =>
  name.startsWith(loginCookiePrefix) && tagPattern.test(name.slice(loginCookiePrefix.length))

/** The name of the login that a `state` belongs to: of no use to anybody who does not hold its cookie. */
export function loginOf(state: string): string | undefined {
  const tag = state.slice(0, state.indexOf('.'))
  return tagPattern.test(tag) ? tag : undefined
}

/** What a `state` says by itself, before anything is proven. */
export function parseState(state: string): { cookieName: string; restarted: boolean } | undefined {
  const tag = loginOf(state)
  return tag === undefined ? undefined : { cookieName: loginCookiePrefix + tag, restarted: tag.endsWith('1') }
}

/**
 * Whether a `state` was made for the browser that holds this cookie. The state is derived from the cookie one way, so
 * the answer needs no store, comes before any call to the provider, and takes the same time for every wrong state.
 */
export function isStateOf(state: string, cookieValue: string): boolean {
  const expected = Buffer.from(stateOf(cookieValue))
  const given = Buffer.from(state.slice(state.indexOf('.') + 1))
  return given.length === expected.length && timingSafeEqual(given, expected)
}

const stateOf = (cookieValue: string): string =>
  derive(Buffer.from(cookieValue, 'base64url'), 'state').toString('base64url')
