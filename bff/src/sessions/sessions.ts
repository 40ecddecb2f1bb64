import { type Problem, problem } from '@banking/contracts'
import type { Logger, Metrics } from '@banking/telemetry'
import { type Person, type Provider, ProviderError, type Tokens } from '../provider/oidc.ts'
import { createRegister, type Register, type SessionSummary } from './register.ts'
import { type Identity, identityOf, newCookieValue, type SealingKeys, seal, unseal } from './seal.ts'
import type { EndReason, Group, SessionStore } from './session-store.ts'
import { singleFlight } from './single-flight.ts'

/** Durations of a session, in ms. */
export type SessionTimes = {
  /** Without anything that a person did. */
  idle: number
  /** From the moment that the person proved who they are. */
  absolute: number
}

/** The sealed part of a session. Times are epoch ms. */
type SessionRecord = {
  person: Person
  tokens: Tokens
  /** When the access token was asked for: with `expiresAt` it gives its lifetime. */
  issuedAt: number
  createdAt: number
  expiresAt: number
}

/** A session that is alive, as one request sees it. */
export type Session = SessionRecord & {
  /** The store's name of it: a hash, good for keys and logs' correlation, useless as a cookie. */
  id: string
  secret: Buffer
  version: number
  lastSeenAt: number
}

type Lookup = { session: Session } | { over: EndReason | 'none' }

/** The life of sessions: begun at a login, kept alive by what a person does, refreshed, ended. */
export type Sessions = {
  /**
   * Begins a session and ends the one it replaces.
   *
   * @param login.device what the person will know this session by
   * @returns the value of the session cookie, always a new one; or `again` when a logout covers this login, since the
   * person proved who they are before it: let them do so anew, once (`prompt=login`)
   */
  begin(
    login: { tokens: Tokens; person: Person; device: string },
    replaces: string | undefined,
  ): Promise<{ cookie: string } | 'again'>
  /** The session of a cookie that was looked up a moment ago and has not changed since, if it is alive. */
  cached(cookie: string): Session | undefined
  /** @throws Problem `sessions_unavailable` when the store cannot say: that is not "logged out" */
  find(cookie: string | undefined): Promise<Lookup>
  /** Whether the session of this id still lives, for those who hold a stream and no cookie. */
  isAlive(id: string, expiresAt: number): Promise<boolean>
  /** Notes that a person did something; written at most once a minute. */
  touch(session: Session): Promise<void>
  /**
   * The session with an access token that is good for a while yet. One refresh at a time per session; while the old
   * token is valid a provider that is down or slow goes unnoticed.
   *
   * @param rejected an access token that the provider no longer accepts, whatever its `expiresAt`
   */
  fresh(session: Session, rejected?: string): Promise<Session>
  /**
   * Deletes the session here; the provider is told by `revoke`. `ended`, a person's sign-out, ends all of its session
   * at the provider and leaves a tombstone.
   */
  end(session: Session, reason: EndReason): Promise<void>
  /** Live sessions of a person, the newest first. */
  list(sub: string): Promise<SessionSummary[]>
  /** Ends a session by its id if it is this person's, with all of its session at the provider. */
  endOne(sub: string, id: string): Promise<boolean>
  /** Ends all sessions of this person but this one. @returns how many */
  endOthers(session: Session): Promise<number>
  /** Whether every session at hand of a session at the provider is this person's. */
  areOf(group: Group, sub: string): Promise<boolean>
  /** Ends every session of a person, or of a session at the provider, those of logins under way included. @returns how many */
  endBy(group: Group): Promise<number>
  /** Tells the provider that the refresh token is not needed any more; best effort. */
  revoke(session: Session): Promise<void>
  /** Calls back with the id of each session that ends by this process. */
  onEnd(listener: (id: string) => void): void
}

/** ms between two writes of the idle time. */
const touchEvery = 60_000
/** ms before a failed refresh is tried again while the old token is valid. */
const retryAfter = 3_000
/** Times that a refreshed session is written before it is given up. */
const saveTries = 5

/** The moment a token is renewed: 60 s or a fifth of its lifetime before its end, whichever is later. */
export const renewalOf = (issuedAt: number, expiresAt: number): number =>
  expiresAt - Math.min(60_000, (expiresAt - issuedAt) / 5)

/** 401 of the BFF's own, with the challenge that RFC 9110 §15.5.2 asks for: the only 401 that a browser ever sees. */
export const loginRequired = (reason: EndReason | 'none'): Problem =>
  problem('login_required', undefined, {
    extensions: { reason },
    headers: { 'www-authenticate': 'Cookie realm="session"' },
  })

export type SessionsOptions = {
  store: SessionStore
  keys: SealingKeys
  provider: Provider
  times: SessionTimes
  /** Sessions that one person may have; a new one pushes the oldest out. */
  perUser: number
  logger: Logger
  metrics: Metrics
  now: () => number
}

export function createSessions(options: SessionsOptions): Sessions {
  const { store, keys, provider, times, logger, now } = options
  const begun = options.metrics.counter('bff_sessions_begun_total', 'Logins that led to a session.')
  const over = options.metrics.counter('bff_sessions_ended_total', 'Sessions ended here.', ['reason'])
  const refreshes = options.metrics.counter('bff_refreshes_total', 'Refreshes by their outcome.', ['outcome'])
  const flight = singleFlight<Session>()
  const notBefore = new Map<string, number>()
  const listeners: ((id: string) => void)[] = []

  const sealRecord = (record: SessionRecord, { id, secret }: Identity): Buffer =>
    seal(JSON.stringify(record), secret, keys, ['session', id])

  const load = async ({ id, secret }: Identity): Promise<Session | { over: EndReason | 'none' }> => {
    const found = await store.find(id)
    if (found === undefined) return { over: 'ended' }
    if ('endedBy' in found) return { over: found.endedBy }
    const plain = unseal(found.sealed, secret, keys, ['session', id])
    if (plain === undefined) return { over: 'ended' }
    const record = JSON.parse(plain) as SessionRecord
    // The idle key is gone after the idle time: then it was last seen before that.
    return { ...record, id, secret, version: found.version, lastSeenAt: found.lastSeenAt ?? 0 }
  }

  const reasonOf = (session: Session): EndReason | undefined =>
    now() >= session.expiresAt ? 'absolute' : now() - session.lastSeenAt >= times.idle ? 'idle' : undefined

  const register: Register = createRegister({
    store,
    keys,
    perUser: options.perUser,
    now,
    onEnd(id, reason) {
      notBefore.delete(id)
      if (reason !== undefined) over.inc({ reason })
      for (const listener of listeners) listener(id)
    },
  })
  const end: Sessions['end'] = async ({ id, person: { sid } }, reason) => {
    if (reason === 'ended' && sid !== undefined) await register.endAll({ sid }, reason)
    else await register.endRecord(id, reason)
  }

  const revoke: Sessions['revoke'] = async ({ tokens }) => {
    if (tokens.refreshToken === undefined) return
    try {
      await provider.revoke(tokens.refreshToken)
    } catch (err) {
      logger.warn({ err }, 'the refresh token could not be revoked')
    }
  }

  /** Writes a refreshed session. An error leaves unknown whether it was written: trying again by version is safe. */
  const save = async (before: Session, after: Session): Promise<Session> => {
    for (let tries = 1; ; tries++) {
      try {
        if (await store.replace(before.id, before.version, sealRecord(recordOf(after), before), '')) break
        const current = await load(before)
        if ('over' in current) {
          // Logged out while the provider was asked: the logout wins, and the new tokens must not outlive it.
          void revoke(after)
          throw loginRequired('ended')
        }
        // Another replica was first, or our own write happened although its answer never came.
        return current
      } catch (error) {
        if (tries === saveTries || (error as { code?: string }).code !== 'sessions_unavailable') throw error
        await new Promise(resolve => setTimeout(resolve, 100 * 2 ** tries))
      }
    }
    return { ...after, version: before.version + 1 }
  }

  const refresh = async (session: Session, rejected: string | undefined): Promise<Session> => {
    // Somebody else may have been first: another replica, or a request before this one.
    const current = await load(session)
    if ('over' in current) throw loginRequired('ended')
    if (!needsRefresh(current, rejected)) return current
    const { refreshToken } = current.tokens
    if (refreshToken === undefined) {
      // Without a refresh token the session lasts as long as its access token.
      if (now() < current.tokens.expiresAt && rejected === undefined) return current
      await register.endRecord(current.id, 'ended')
      throw loginRequired('ended')
    }
    const asked = now()
    let tokens: Tokens
    try {
      tokens = await provider.refresh(refreshToken, current.person.sub)
    } catch (error) {
      if (!(error instanceof ProviderError) || error.kind !== 'grant') {
        refreshes.inc({ outcome: error instanceof ProviderError ? error.kind : 'failed' })
        throw error
      }
      refreshes.inc({ outcome: 'grant' })
      const latest = await load(session)
      if (!('over' in latest) && latest.version !== current.version) return latest
      logger.info('session ended: its refresh token is no longer good')
      await register.endRecord(current.id, 'ended')
      throw loginRequired('ended')
    }
    refreshes.inc({ outcome: 'refreshed' })
    return save(current, {
      ...current,
      issuedAt: asked,
      tokens: { ...current.tokens, ...tokens },
    })
  }

  const needsRefresh = (session: Session, rejected: string | undefined): boolean =>
    session.tokens.accessToken === rejected || now() >= renewalOf(session.issuedAt, session.tokens.expiresAt)

  return {
    async begin({ tokens, person, device }, replaces) {
      const cookie = newCookieValue()
      const identity = identityOf(cookie)
      if (identity === undefined) throw new Error('a fresh cookie value has an identity')
      const at = now()
      const expiresAt = person.authTime + times.absolute
      const record: SessionRecord = { person, tokens, issuedAt: at, createdAt: at, expiresAt }
      if (replaces !== undefined) await register.endRecord(replaces, 'ended')
      const content = { sealed: sealRecord(record, identity), device, owner: person, authTime: person.authTime }
      if (!(await register.enter(identity.id, content, { now: at, idle: times.idle, expiresAt }))) return 'again'
      begun.inc()
      return { cookie }
    },

    cached: () => undefined,

    async find(cookie) {
      if (cookie === undefined) return { over: 'none' }
      const identity = identityOf(cookie)
      if (identity === undefined) return { over: 'none' }
      const session = await load(identity)
      if ('over' in session) return session
      const reason = reasonOf(session)
      if (reason === undefined) return { session }
      await end(session, reason)
      // The provider's own session would otherwise log the person in again without a question.
      void revoke(session)
      return { over: reason }
    },

    async isAlive(id, expiresAt) {
      if (now() >= expiresAt) return false
      const found = await store.find(id)
      return found !== undefined && !('endedBy' in found) && now() - (found.lastSeenAt ?? 0) < times.idle
    },

    async touch(session) {
      if (now() - session.lastSeenAt < touchEvery) return
      await store.touch(session.id, now(), times.idle)
    },

    async fresh(session, rejected) {
      if (!needsRefresh(session, rejected)) return session
      const isUsable = now() < session.tokens.expiresAt && session.tokens.accessToken !== rejected
      if (isUsable && now() < (notBefore.get(session.id) ?? 0)) return session
      const refreshed = flight(session.id, () => refresh(session, rejected)).catch(error => {
        notBefore.set(session.id, now() + retryAfter)
        if (notBefore.size > 10_000) notBefore.clear()
        throw error
      })
      if (!isUsable) return refreshed
      // The old token is good for a while: nobody waits for the new one, and a failure shows only in the log.
      refreshed.catch(err => logger.warn({ err }, 'refresh failed while the token is still valid'))
      return session
    },

    end,
    list: register.list,
    endOne: register.endOne,
    endOthers: ({ id, person }) => register.endOthers(id, person),
    areOf: register.areOf,
    endBy: group => register.endAll(group, 'revoked'),
    revoke,
    onEnd: listener => void listeners.push(listener),
  }
}

const recordOf = ({ person, tokens, issuedAt, createdAt, expiresAt }: SessionRecord): SessionRecord => ({
  person,
  tokens,
  issuedAt,
  createdAt,
  expiresAt,
})
