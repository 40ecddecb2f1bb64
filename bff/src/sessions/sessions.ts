import { type Problem, problem } from '@banking/contracts'
import type { Logger, Metrics } from '@banking/telemetry'
import { actorOf, type Events } from '../events/events.ts'
import { type Person, type Provider, ProviderError, type Tokens } from '../provider/oidc.ts'
import { createCache } from './cache.ts'
import { isCovered, type Need, needOf } from './protocol.ts'
import { openRecord, openSealed, type Session, type SessionRecord, sealRecord } from './record.ts'
import { type Clock, createRefresh } from './refresh.ts'
import { createRegister, groupsOf, type Owner, type SessionSummary } from './register.ts'
import { type Identity, identityOf, newCookieValue, type SealingKeys } from './seal.ts'
import type { EndReason, Found, Group, SessionStore } from './session-store.ts'
import { singleFlight } from './single-flight.ts'

export type { Session } from './record.ts'

/** Durations of a session, in ms. */
export type SessionTimes = {
  /** Without anything that a person did. */
  idle: number
  /** From the moment that the person proved who they are. */
  absolute: number
}

export type Lookup = { session: Session } | { over: EndReason | 'none' }

/** What is enough to look after a session without its cookie. */
export type Held = Pick<Session, 'id' | 'person' | 'storedAt' | 'expiresAt'>

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
  /**
   * The session of a cookie; at once when it is at hand.
   *
   * @throws Problem `sessions_unavailable` when the store cannot say: that is not "logged out"
   */
  find(cookie: string | undefined): Lookup | Promise<Lookup>
  /** Whether a session still lives, for those who hold a stream and no cookie. */
  isAlive(session: Held): Promise<boolean>
  /** Notes that a person did something; written at most once a minute. @returns undefined when nothing is to be written */
  touch(session: Session): Promise<void> | undefined
  /**
   * Whether the session has no usable token and the provider, when it was last asked for one, gave an answer that is not
   * to be used. `fresh` then asks it again from time to time.
   */
  isStranded(session: Session): boolean
  /** Whether {@link fresh} has nothing to do. */
  isFresh(session: Session): boolean
  /**
   * The session with an access token that is good for a while yet. One refresh at a time per session; while the old
   * token is valid a provider that is down or slow goes unnoticed.
   *
   * @param rejected an access token that the provider no longer accepts, whatever its `expiresAt`
   */
  fresh(session: Session, rejected?: string): Session | Promise<Session>
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
  /** Tells the provider that the refresh token is not needed any more; best effort, and nobody waits for it. */
  revoke(session: Session): void
  /** Calls back with the id of each session that ends by this process, or is found to be over. */
  onEnd(listener: (id: string) => void): void
  /** Calls back with the id of each session that changes anywhere, as long as `isHearing`. */
  onChange(listener: (id: string) => void): void
  /** Whether changes made by other processes are heard now. */
  isHearing(): boolean
  /**
   * Waits for the refreshes that are under way, `ms` at most: a process that stops before them loses the tokens that
   * the provider has just replaced.
   */
  drain(ms: number): Promise<void>
}

/** ms between two writes of the idle time. */
const touchEvery = 60_000
/** ms before a refresh that failed, or gave a token that is refused too, is tried again while the token is valid. */
const retryAfter = 3_000
/** ms; a provider that answers, and not usefully, is asked again after twice as long each time, up to this. */
const longestPause = 60_000
/** Sessions that this process remembers. */
const remembered = 10_000
/** Sessions of which it knows whose they are: some hundred bytes each, so that a look costs one round trip beyond those too. */
const mostKnown = 10 * remembered

/** A refresh that failed: not to be tried again before `until`. */
type Failure = { error: unknown; pause: number; until: number }

/** An answer of the provider that is no use, e.g. an ID token that does not fit: another call would get the same. */
const isRefusal = (error: unknown): boolean => error instanceof ProviderError && error.kind !== 'unavailable'

/** 401 of the BFF's own, with the challenge that RFC 9110 §15.5.2 asks for: the only challenge that a browser ever sees. */
export const loginRequired = (reason: EndReason | 'none'): Problem =>
  problem('login_required', undefined, {
    extensions: { reason },
    headers: { 'www-authenticate': 'Cookie realm="session"' },
  })

type Known = Identity & { owner: Owner }

export type SessionsOptions = {
  store: SessionStore
  keys: SealingKeys
  provider: Provider
  times: SessionTimes
  /** Sessions that one person may have; a new one pushes the oldest out. */
  perUser: number
  /** Told of refreshes and ends. */
  events?: Events
  logger: Logger
  metrics: Metrics
  /** Epoch ms. */
  now: () => number
  /** Monotonic, for leases; the process's own when absent. */
  clock?: Clock
}

export function createSessions(options: SessionsOptions): Sessions {
  const { store, keys, provider, times, events, logger, metrics, now } = options
  const begun = metrics.counter('bff_sessions_begun_total', 'Logins that led to a session.')
  const over = metrics.counter('bff_sessions_ended_total', 'Sessions ended here.', ['reason'])
  const lookups = metrics.tally('bff_session_lookups_total', 'Sessions looked up in the store.')
  const hits = metrics.tally('bff_session_cache_hits_total', 'Sessions found in the local cache.')
  metrics.gauge(
    'bff_sessions_remembered',
    'Sessions in the local cache: those seen in the last half minute.',
    [],
    gauge => gauge.set(cache.size()),
  )
  const failures = new Map<string, Failure>()
  /** What never changes about a session that was found here, by its cookie: to derive it costs more than to open a record. */
  const known = new Map<string, Known>()
  const cookies = new Map<string, string>()
  /** Tokens that were got because the one before was rejected. */
  const replacements = new Map<string, { token: string; until: number }>()
  const touches = singleFlight<void>()
  const endListeners: ((id: string) => void)[] = []
  const changeListeners: ((id: string) => void)[] = []

  const toldOver = (id: string): void => {
    failures.delete(id)
    known.delete(cookies.get(id) ?? '')
    cookies.delete(id)
    replacements.delete(id)
    cache.changed(id)
    for (const listener of endListeners) listener(id)
  }
  const register = createRegister({
    store,
    keys,
    perUser: options.perUser,
    logger,
    now,
    onEnd(id, reason, owner) {
      toldOver(id)
      if (reason === undefined) return
      over.inc({ reason })
      events?.record('session.ended', id, { reason, ...(owner === undefined ? {} : { actor: actorOf(owner) }) })
    },
  })
  const { clock } = options
  const onRefreshed = ({ id, version, person }: Session): void =>
    events?.record('session.refreshed', id, { actor: actorOf(person) }, { seq: version })
  const refresh = createRefresh({
    store,
    register,
    keys,
    provider,
    logger,
    metrics,
    now,
    ...(clock && { clock }),
    onRefreshed,
  })
  const cache = createCache({ size: remembered, idle: times.idle, now, isHearing: () => isHearing() })
  const isHearing = store.watch({
    changed(id) {
      cache.changed(id)
      refresh.changed(id)
      for (const listener of changeListeners) listener(id)
    },
    lost: cache.lost,
    ready: cache.ready,
  })

  const end: Sessions['end'] = async ({ id, person: { sid } }, reason) => {
    if (reason === 'ended' && sid !== undefined) return void (await register.endAll({ sid }, reason))
    await register.endRecord(id, reason)
    if (reason === 'ended') await store.settle()
  }

  /** Only the sealed record says whose it is: the first look here needs a second question, later ones know what to ask. */
  const isBuried = async ({ person, storedAt }: Held, found: Found, owner: Owner | undefined): Promise<boolean> => {
    if (owner === undefined) return register.isBuried(person, storedAt)
    return found !== undefined && 'buriedAt' in found && isCovered(found.buriedAt, { createdAt: storedAt })
  }
  const remember = (cookie: string, { id, secret, person: { sub, sid } }: Session): void => {
    known.set(cookie, { id, secret, owner: { sub, ...(sid === undefined ? {} : { sid }) } })
    cookies.set(id, cookie)
    if (known.size <= mostKnown) return
    const [oldest = '', { id: oldestId } = { id: '' }] = known.entries().next().value ?? []
    known.delete(oldest)
    cookies.delete(oldestId)
  }

  const revoke: Sessions['revoke'] = session => {
    refresh.revoke(session)
    store.takeEnded(session.id).catch(err => logger.debug({ err }, 'an ended session is left for a while'))
  }

  /**
   * The refresh token of a session that was ended without its cookie, now that the cookie is here to open it with. Not
   * while its session at the provider has others here: revoking one ends them all.
   */
  const revokeEnded = (identity: Identity): void => {
    const work = async (): Promise<void> => {
      const sealed = await store.takeEnded(identity.id)
      if (sealed === undefined) return
      const opened = openSealed(sealed, identity, keys)
      if (opened === undefined) return
      const { sid } = opened.person
      if (sid === undefined || !(await register.hasAny({ sid }))) refresh.revoke(opened)
    }
    work().catch(err => logger.debug({ err }, 'the refresh token of an ended session is not revoked'))
  }

  const lookUp = async (cookie: string, identity: Identity, owner: Owner | undefined): Promise<Lookup> => {
    lookups.inc()
    const found = await store.find(identity.id, owner && groupsOf(owner))
    const opened = openRecord(found, identity, keys)
    if ('over' in opened) {
      toldOver(identity.id)
      if (found !== undefined && 'endedBy' in found) revokeEnded(identity)
      return opened
    }
    const { session } = opened
    let isOver: EndReason | false =
      now() >= session.expiresAt ? 'absolute' : now() - session.lastSeenAt >= times.idle ? 'idle' : false
    // Read after the record, never before it: a logout writes its tombstone first, so what it has not yet deleted by now
    // is either seen to be covered here, or its deletion is still to be heard of.
    if (isOver === false && (await isBuried(session, found, owner))) isOver = 'revoked'
    if (isOver === false) {
      if (owner === undefined) remember(cookie, session)
      return opened
    }
    await end(session, isOver)
    // The provider's own session would otherwise log the person in again without a question.
    revoke(session)
    return { over: isOver }
  }

  const need = ({ tokens, issuedAt }: Session, rejected: string | undefined): Need =>
    needOf({ issuedAt, expiresAt: tokens.expiresAt }, tokens.accessToken === rejected, now())

  const refreshed = async (session: Session, rejected: string | undefined): Promise<Session> => {
    if (session.tokens.refreshToken === undefined) {
      // Without a refresh token the session lasts as long as its access token.
      if (now() < session.tokens.expiresAt && rejected === undefined) return session
      await register.endRecord(session.id, 'ended')
      throw loginRequired('ended')
    }
    try {
      const result = await refresh.run(session, latest => need(latest, rejected))
      if ('session' in result) {
        failures.delete(session.id)
        if (rejected !== undefined) {
          const token = result.session.tokens.accessToken
          replacements.set(session.id, { token, until: now() + retryAfter })
          if (replacements.size > remembered) replacements.clear()
        }
        return result.session
      }
      toldOver(session.id)
      throw loginRequired(result.over)
    } catch (error) {
      const pause = isRefusal(error)
        ? Math.min(longestPause, 2 * (failures.get(session.id)?.pause ?? retryAfter / 2))
        : retryAfter
      failures.set(session.id, { error, pause, until: now() + pause })
      if (failures.size > remembered) failures.clear()
      throw error
    }
  }

  const cached = (cookie: string): Session | undefined => {
    const session = cache.get(cookie)
    if (session !== undefined) hits.inc()
    return session
  }

  return {
    async begin({ tokens, person, device }, replaces) {
      const cookie = newCookieValue()
      const identity = identityOf(cookie)
      if (identity === undefined) throw new Error('a fresh cookie value has an identity')
      const at = now()
      const expiresAt = person.authTime + times.absolute
      const record: SessionRecord = { person, tokens, issuedAt: at, createdAt: at, expiresAt }
      if (replaces !== undefined) await register.endRecord(replaces, 'ended')
      const content = { sealed: sealRecord(record, identity, keys), device, owner: person, authTime: person.authTime }
      try {
        if (!(await register.enter(identity.id, content, { now: at, idle: times.idle, expiresAt }))) return 'again'
      } catch (error) {
        // Its cookie is never given out: what there may be of it is in nobody's way, but in their list.
        register.endRecord(identity.id, 'ended').catch(err => logger.debug({ err }, 'a begun session was left behind'))
        throw error
      }
      begun.inc()
      return { cookie }
    },

    cached,

    find(cookie) {
      if (cookie === undefined) return { over: 'none' }
      const session = cached(cookie)
      if (session !== undefined) return { session }
      const before = known.get(cookie)
      const identity = before ?? identityOf(cookie)
      if (identity === undefined) return { over: 'none' }
      return cache.load(cookie, identity.id, () => lookUp(cookie, identity, before?.owner))
    },

    async isAlive({ id, person, storedAt, expiresAt }) {
      if (now() >= expiresAt) return false
      const found = await store.find(id, groupsOf(person))
      if (found === undefined || 'endedBy' in found) return false
      if (isCovered(found.buriedAt, { createdAt: storedAt })) return false
      return now() - (found.lastSeenAt ?? 0) < times.idle
    },

    touch({ id, lastSeenAt }) {
      if (now() - lastSeenAt < touchEvery) return undefined
      return touches(id, async () => {
        const at = now()
        await store.touch(id, at, times.idle)
        cache.touch(id, at)
      })
    },

    isStranded: ({ id, tokens }) => now() >= tokens.expiresAt && isRefusal(failures.get(id)?.error),

    isFresh: session => need(session, undefined) === 'none',

    fresh(session, rejected) {
      if (need(session, rejected) === 'none') return session
      const isUsable = now() < session.tokens.expiresAt && session.tokens.accessToken !== rejected
      const failure = failures.get(session.id)
      if (failure !== undefined && now() < failure.until) {
        if (isUsable) return session
        // Asking again at each request would only tire the provider: its answer stays the same until it is mended.
        if (isRefusal(failure.error)) return Promise.reject(failure.error)
      }
      const replacement = replacements.get(session.id)
      // Who was rejected with the token before it gets this one; another one would fare no better.
      if (replacement !== undefined && replacement.token === rejected && now() < replacement.until) return session
      const renewing = refreshed(session, rejected)
      if (!isUsable) return renewing
      // The old token is good for a while: nobody waits for the new one, and a failure shows only in the log.
      renewing.catch(err => logger.warn({ err }, 'refresh failed while the token is still valid'))
      return session
    },

    end,
    list: register.list,
    endOne: register.endOne,
    endOthers: ({ id, person }) => register.endOthers(id, person),
    areOf: register.areOf,
    endBy: group => register.endAll(group, 'revoked'),
    revoke,
    onEnd: listener => void endListeners.push(listener),
    onChange: listener => void changeListeners.push(listener),
    isHearing,
    drain: refresh.drain,
  }
}
