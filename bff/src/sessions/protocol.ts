/**
 * The refresh of one session on one replica, as a machine without hands: `step` takes a state and an event and says
 * what is next and what to do. It knows no Redis, no HTTP, no timer; `refresh.ts` does what it says. Drawn in
 * docs/session-protocol.md. Times are ms of a monotonic clock.
 */

/** How much a session needs a new access token. `soon`: the present one is good for a while, and nobody waits. */
export type Need = 'none' | 'soon' | 'now'
/** A session as the store has it now: with its version, and whether its access token must be renewed. */
type Known<S> = { session: S; version: number; need: Need }
/** What a look into the store says: the session, or why it is over. */
export type Look<S, R> = Known<S> | { over: R }
/** What came of asking for the lease. `abandoned`: free, but its last owner never said how its call ended; `spent`: twice. */
export type LeaseOutcome = 'granted' | 'held' | 'abandoned' | 'spent'

/** `since`: when this replica began; `renewedAt`: a moment after which the lease has 3 s left. */
export type State<S> =
  | { at: 'asking'; since: number; askedAt: number; takeOver: boolean }
  | { at: 'waiting'; since: number; takeOver: boolean }
  | { at: 'checking'; since: number; renewedAt: number; known: Known<S> }
  | { at: 'calling'; since: number; renewedAt: number; known: Known<S> }
  | { at: 'writing'; since: number; known: Known<S>; refreshed: S }
  | { at: 'comparing'; since: number; known: Known<S>; refreshed: S }
  | { at: 'confirming'; since: number; refreshed: S }
  | { at: 'ending'; since: number }
  | { at: 'done' }

export type Event<S, R> =
  /** The store's answer to `lease`, read in the same step. */
  | { type: 'lease'; lease: LeaseOutcome; look: Look<S, R> }
  | { type: 'look'; look: Look<S, R> }
  /** Whether a logout's tombstone covers the session. */
  | { type: 'checked'; isBuried: boolean }
  | { type: 'renewed'; isOurs: boolean; sentAt: number }
  | { type: 'unrenewed' }
  | { type: 'refreshed'; session: S }
  /** `grant`: the provider says that the refresh token is no longer good; all else is a failure. */
  | { type: 'refused'; isGrant: boolean; error: unknown }
  | { type: 'written'; isWritten: boolean }
  | { type: 'ended'; reason: R }
  /** Not ended: it has changed or is gone, or somebody else holds the lease. */
  | { type: 'kept' }
  /** The store did not answer a command: it may have happened, or happen yet. */
  | { type: 'unreachable'; error: unknown }
  /** The record was changed by somebody. */
  | { type: 'changed' }
  | { type: 'tick' }

export type Command<S, R> =
  | { do: 'lease'; takeOver: boolean }
  | { do: 'renew' }
  | { do: 'release' }
  | { do: 'look' }
  /** Reads the tombstones. */
  | { do: 'check'; session: S }
  | { do: 'call'; session: S }
  | { do: 'abort' }
  | { do: 'write'; known: Known<S>; refreshed: S }
  /** Tells the provider that tokens are not needed: their session was logged out meanwhile. */
  | { do: 'revoke'; session: S }
  | { do: 'end'; why: 'logout' }
  /** Ends the session only at this version, and while the lease is ours. */
  | { do: 'end'; why: 'grant'; version: number }
  /** One timer; a new one replaces it. */
  | { do: 'timer'; ms: number }
  | { do: 'answer'; answer: { session: S } | { over: R } | { error: unknown } | 'late' }

/** An owner renews its lease so often. */
const renewEvery = 1_000
/** An owner that has not renewed its lease of 3 s for so long stops: somebody else may be about to take over. */
const abortAfter = 2_000
/** Who waits looks so often; a change of the record wakes them at once. */
const pollEvery = 200
/**
 * So long an owner that vanished may still turn up with its result once Redis is back: it connects anew within 550 ms
 * and tries within 250 ms.
 */
const grace = 1_000
/** A command that the store did not answer is tried again after. */
const retryAfter = 250
/** Nobody waits longer. */
export const waitAtMost = 15_000
/** So long a refreshed session is offered to the store: longer than Redis is away. */
export const writeAtMost = 120_000

type Next<S, R> = [State<S>, Command<S, R>[]]

export const begin = <S, R>(now: number): Next<S, R> => ask(now, now, false)

/** One step. What no state expects is ignored: it is the answer to a question that does not matter any more. */
export function step<S, R>(state: State<S>, event: Event<S, R>, now: number): Next<S, R> {
  switch (state.at) {
    case 'asking':
      if (event.type === 'unreachable') return done([{ do: 'release' }], { error: event.error })
      if (event.type !== 'lease') break
      return leased(state, event)

    case 'waiting':
      if (event.type !== 'tick' && event.type !== 'changed') break
      if (now - state.since >= waitAtMost) return done([], 'late')
      // A change says that the owner lives: nothing is to be taken over.
      return ask(state.since, now, state.takeOver && event.type === 'tick')

    case 'checking':
      if (event.type === 'unreachable') return done([{ do: 'release' }], { error: event.error })
      if (event.type !== 'checked') break
      if (event.isBuried)
        return ending(state.since, { do: 'end', why: 'logout' }, [{ do: 'revoke', session: state.known.session }])
      if (isLost(state, now)) return wait(state.since, pollEvery, false, [{ do: 'release' }])
      return [
        { ...state, at: 'calling' },
        [{ do: 'call', session: state.known.session }, untilAbort(state, now, renewEvery)],
      ]

    case 'calling':
      // Before anything else: an owner that was paused, or cut off from the store, must not act on what it finds now.
      if (isLost(state, now) || (event.type === 'renewed' && !event.isOurs))
        return wait(state.since, pollEvery, false, [{ do: 'abort' }, { do: 'release' }])
      if (event.type === 'renewed') return [{ ...state, renewedAt: Math.max(state.renewedAt, event.sentAt) }, []]
      if (event.type === 'tick') return [state, [{ do: 'renew' }, untilAbort(state, now, renewEvery)]]
      if (event.type === 'unrenewed') return [state, [untilAbort(state, now, retryAfter)]]
      if (event.type === 'refreshed') return write({ ...state, at: 'writing', refreshed: event.session })
      if (event.type !== 'refused') break
      if (!event.isGrant) return done([{ do: 'release' }], { error: event.error })
      // No longer good; perhaps because somebody else has used it. Who has written what came of it, or may yet, is the store
      // to decide as it ends the session: a look before would be old by then.
      return ending(state.since, { do: 'end', why: 'grant', version: state.known.version })

    case 'writing':
      // Whether it was written is unknown: trying again at the same version is safe, and tokens in hand are kept.
      if (event.type === 'tick') return write(state)
      if (event.type === 'unreachable') return retry(state, now, event.error)
      if (event.type !== 'written') break
      if (!event.isWritten) return [{ ...state, at: 'comparing' }, [{ do: 'look' }]]
      return [
        { at: 'confirming', since: state.since, refreshed: state.refreshed },
        [{ do: 'check', session: state.refreshed }],
      ]

    case 'comparing':
      if (event.type === 'unreachable') return retry({ ...state, at: 'writing' }, now, event.error)
      if (event.type !== 'look') break
      // Logged out while the provider was asked: the logout wins, and the new tokens must not outlive it.
      if ('over' in event.look) return done([{ do: 'revoke', session: state.refreshed }], event.look)
      // Our own write happened although its answer never came, or another replica was first.
      if (event.look.version !== state.known.version) return done([{ do: 'release' }], event.look)
      // Another holds the lease by now.
      return retry({ ...state, at: 'writing' }, now, 'late')

    case 'confirming':
      // A failover may have lost a deletion whose tombstone it kept.
      if (event.type === 'unreachable') return done([], { error: event.error })
      if (event.type !== 'checked') break
      if (event.isBuried)
        return ending(state.since, { do: 'end', why: 'logout' }, [{ do: 'revoke', session: state.refreshed }])
      return done([], { session: state.refreshed })

    case 'ending':
      if (event.type === 'unreachable') return done([{ do: 'release' }], { error: event.error })
      if (event.type === 'kept') return wait(state.since, pollEvery, false, [{ do: 'release' }])
      if (event.type !== 'ended') break
      return done([], { over: event.reason })
  }
  return [state, []]
}

function leased<S, R>(
  { since, askedAt }: State<S> & { at: 'asking' },
  { lease, look }: Event<S, R> & { type: 'lease' },
): Next<S, R> {
  if ('over' in look) return done([], look)
  // Somebody has refreshed it meanwhile: another replica, or a request before this one.
  if (look.need === 'none') return done(lease === 'granted' ? [{ do: 'release' }] : [], look)
  if (lease === 'granted')
    return [{ at: 'checking', since, renewedAt: askedAt, known: look }, [{ do: 'check', session: look.session }]]
  // Nobody can tell an owner that died from one that lost Redis and holds what replaces the refresh token. While nobody
  // needs its result, there is time to see.
  return lease === 'abandoned' ? wait(since, grace, look.need === 'now') : wait(since, pollEvery, false)
}

const isLost = ({ renewedAt }: { renewedAt: number }, now: number): boolean => now - renewedAt >= abortAfter

/** The next look at the lease: never later than the moment to abort. */
const untilAbort = <S, R>({ renewedAt }: { renewedAt: number }, now: number, ms: number): Command<S, R> => ({
  do: 'timer',
  ms: Math.max(0, Math.min(ms, renewedAt + abortAfter - now)),
})

const ask = <S, R>(since: number, askedAt: number, takeOver: boolean): Next<S, R> => [
  { at: 'asking', since, askedAt, takeOver },
  [{ do: 'lease', takeOver }],
]

const wait = <S, R>(since: number, ms: number, takeOver: boolean, first: Command<S, R>[] = []): Next<S, R> => [
  { at: 'waiting', since, takeOver },
  [...first, { do: 'timer', ms }],
]

const write = <S, R>(state: State<S> & { at: 'writing' }): Next<S, R> => [
  state,
  [{ do: 'write', known: state.known, refreshed: state.refreshed }],
]

const retry = <S, R>(state: State<S> & { at: 'writing' }, now: number, error: unknown): Next<S, R> =>
  now - state.since >= writeAtMost
    ? done([{ do: 'release' }], error === 'late' ? 'late' : { error })
    : [state, [{ do: 'timer', ms: retryAfter }]]

const ending = <S, R>(since: number, end: Command<S, R> & { do: 'end' }, first: Command<S, R>[] = []): Next<S, R> => [
  { at: 'ending', since },
  [...first, end],
]

const done = <S, R>(last: Command<S, R>[], answer: (Command<S, R> & { do: 'answer' })['answer']): Next<S, R> => [
  { at: 'done' },
  [...last, { do: 'answer', answer }],
]

/** An access token with less than this to live cannot be waited with any more. */
const spare = 5_000

/** Whether a token must be renewed, and whether somebody waits for it. Times are epoch ms. */
export function needOf(token: { issuedAt: number; expiresAt: number }, isRejected: boolean, now: number): Need {
  if (isRejected) return 'now'
  if (now < renewalOf(token.issuedAt, token.expiresAt)) return 'none'
  return now < token.expiresAt - spare ? 'soon' : 'now'
}

/** The moment a token is renewed: 60 s or a fifth of its lifetime before its end, whichever is later. */
export const renewalOf = (issuedAt: number, expiresAt: number): number =>
  expiresAt - Math.min(60_000, (expiresAt - issuedAt) / 5)

/**
 * Whether a logout covers a session. Both of its beginnings count: `createdAt` is by the clock of the tombstone,
 * `authTime` is the provider's, in whole seconds.
 */
export const isCovered = (buriedAt: number, session: { createdAt: number; authTime?: number }): boolean =>
  buriedAt >= Math.min(session.createdAt, session.authTime ?? Number.POSITIVE_INFINITY)

/** How long a session may be remembered without a look into the store, whatever invalidations say. */
export const rememberedUntil = (
  session: { lastSeenAt: number; expiresAt: number; issuedAt: number; tokens: { expiresAt: number } },
  idle: number,
  now: number,
): number =>
  Math.min(
    session.lastSeenAt + idle,
    session.expiresAt,
    renewalOf(session.issuedAt, session.tokens.expiresAt),
    now + 30_000,
  )

/** A look into the store whose result somebody may want to remember. */
export type Reading = { isStale: boolean }

/**
 * What may be remembered: only while changes are heard, and nothing that was read before a change of it was heard. The
 * change and the result come by different connections, so either may be first.
 */
export const mayRemember = (isHearing: boolean, reading: Reading): boolean => isHearing && !reading.isStale
