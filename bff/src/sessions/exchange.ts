import { type Problem, problem } from '@banking/contracts'
import type { Logger, Metrics } from '@banking/telemetry'
import { type ExchangeTarget, type Provider, ProviderError } from '../provider/oidc.ts'
import { renewalOf } from './protocol.ts'
import { type SealingKeys, seal, unseal } from './seal.ts'
import type { SessionStore } from './session-store.ts'
import type { Session, Sessions } from './sessions.ts'
import { singleFlight } from './single-flight.ts'

type Exchanged = { token: string; issuedAt: number; expiresAt: number }

/** What is known here of one session's token for one target. */
type Known = {
  exchanged?: Exchanged
  /** Epoch ms before which the provider is not asked again. */
  notBefore?: number
  /** What is answered until then where there is no token. */
  failure?: Error
}

/**
 * An exchange that came to nothing, and what that says something about: our client at the provider, the target, which may
 * also be closed to this one person, or the session alone. `answer`: the provider did not refuse, but its answer is of no
 * use.
 */
type Refused = { refused: ProviderError; about: 'client' | 'target' | 'session' | 'answer' }

/** The tokens of all sessions for one upstream. */
export type UpstreamTokens = {
  /** The token for this session, if nothing needs to be done for it. */
  atHand(session: Session): string | undefined
  /**
   * A token for this session, at once when it is at hand. One exchange at a time per session, kept with it and here.
   *
   * @param rejected the token that the upstream has just answered with 401
   * @throws Problem `exchange_refused` when the provider refuses it: that ends nothing, and is remembered for a while
   */
  obtain(session: Session, rejected?: string): string | Promise<string>
}

/** The tokens that upstreams get in the name of a session: one audience and scope each (RFC 8693). */
export type Exchange = {
  /** The same for every upstream that has this target. */
  to(target: ExchangeTarget): UpstreamTokens
  /** Forgets what is held here of a session that is over, or has changed. */
  forget(id: string): void
}

/** ms before a renewal that failed, or gave a token that the upstream refuses too, is tried again. */
const retryAfter = 3_000
/** ms for which a session's exchange that was refused is not asked for again. */
const refusedFor = 30_000
/** ms between two exchanges, whoever asks, for a target that is refused to everybody. */
const probeEvery = 1_000
/** Sessions whose tokens for one target are held in this process; the rest is read from the store again. */
const held = 10_000

/** What a provider may call a subject token that it does not accept: RFC 8693 §2.2.2, RFC 6750 §3.1. */
const ofSubjectToken: ReadonlySet<string> = new Set(['invalid_request', 'invalid_grant', 'invalid_token'])

/**
 * What is wrong when a provider answers with one of these, in words that a browser may read: they name nothing. Words
 * of the provider's own are not passed on.
 */
const faults: Readonly<Record<string, string>> = {
  invalid_target: 'The audience of this upstream is none that the provider exchanges tokens for.',
  invalid_scope: 'The scope of this upstream is none that the provider gives this client.',
  unauthorized_client: 'The provider does not let this client exchange tokens.',
  unsupported_grant_type: 'The provider does not exchange tokens.',
  invalid_client: 'The provider does not know this client, or the audience of this upstream.',
}
const fitsTogether = 'The provider does not exchange the session’s token for the audience and scope of this upstream.'

const aboutOf = ({ kind, error = '' }: ProviderError): Refused['about'] => {
  if (kind === 'untrusted') return 'answer'
  if (kind === 'client' || error === 'unsupported_grant_type') return 'client'
  return Object.hasOwn(faults, error) ? 'target' : 'session'
}

/** A name of its own for each audience and scope: a joined text would be the same for some that differ. */
const nameOf = ({ audience, scope }: ExchangeTarget): string => JSON.stringify([audience, scope ?? null])

/** What binds a sealed token to its session and target. */
const contextOf = (id: string, name: string): readonly string[] => ['exchanged token', id, name]

/** Keeps an exchanged token where every replica finds it. @returns false when the session is gone */
export function storeExchanged(
  store: SessionStore,
  keys: SealingKeys,
  { id, secret }: Pick<Session, 'id' | 'secret'>,
  target: ExchangeTarget,
  exchanged: Exchanged,
): Promise<boolean> {
  const name = nameOf(target)
  return store.saveToken(id, name, seal(JSON.stringify(exchanged), secret, keys, contextOf(id, name)))
}

export function createExchange(options: {
  store: SessionStore
  keys: SealingKeys
  provider: Provider
  sessions: Sessions
  logger: Logger
  metrics: Metrics
  now: () => number
}): Exchange {
  const { store, keys, provider, sessions, logger, now } = options
  const outcomes = options.metrics.counter('bff_token_exchanges_total', 'Token exchanges by outcome.', [
    'audience',
    'outcome',
  ])
  const seconds = options.metrics.histogram(
    'bff_token_exchange_duration_seconds',
    'Time until there was a token for an upstream, the refresh before it included.',
    ['audience'],
  )
  const targets = new Map<string, UpstreamTokens & { forget(id: string): void }>()

  const isDue = ({ issuedAt, expiresAt }: Exchanged): boolean => now() >= renewalOf(issuedAt, expiresAt)

  const once = async ({ tokens }: Session, target: ExchangeTarget): Promise<Exchanged | Refused> => {
    const issuedAt = now()
    try {
      return { issuedAt, ...(await provider.exchange(tokens.accessToken, target)) }
    } catch (error) {
      if (!(error instanceof ProviderError) || error.kind === 'unavailable') throw error
      return { refused: error, about: aboutOf(error) }
    }
  }

  const ask = async (session: Session, target: ExchangeTarget, isRefused: boolean): Promise<Exchanged | Refused> => {
    const subject = await sessions.fresh(session)
    const first = await once(subject, target)
    // The session's token may have ended before its time. Without a refresh token nobody can tell; and where tokens
    // that were new have been refused, a newer one would be too.
    const mayBeOld = 'refused' in first && ofSubjectToken.has(first.refused.error ?? '')
    if (!mayBeOld || isRefused || subject.tokens.refreshToken === undefined) return first
    const renewed = await sessions.fresh(subject, subject.tokens.accessToken)
    if (renewed.tokens.accessToken === subject.tokens.accessToken) return first
    const second = await once(renewed, target)
    if (!('refused' in second) || !ofSubjectToken.has(second.refused.error ?? '')) return second
    return { ...second, about: 'target' }
  }

  const createTarget = (target: ExchangeTarget, name: string) => {
    const { audience, scope } = target
    const flight = singleFlight<Exchanged>()
    /** By session: a token must never be found without naming whose it is. */
    const local = new Map<string, Known>()
    /** Whether somebody got a token for it: then the target is right, and closed at most to who asks. */
    let isGiven = false
    let refusal: { answer: Problem; askAgainAt: number } | undefined

    const remember = (id: string, known: Known): void => {
      local.delete(id)
      local.set(id, known)
      if (local.size > held) local.delete(local.keys().next().value as string)
    }

    const stored = async ({ id, secret }: Session): Promise<Exchanged | undefined> => {
      const sealed = await store.findToken(id, name)
      const plain = sealed && unseal(sealed, secret, keys, contextOf(id, name))
      return plain === undefined ? undefined : (JSON.parse(plain) as Exchanged)
    }

    /** What is answered; held against the target where everybody is refused. */
    const refused = ({ refused: cause, about }: Refused): Problem => {
      const error = cause.error ?? 'invalid_client'
      const isKnown = Object.hasOwn(faults, error) || ofSubjectToken.has(error)
      const answer = problem('exchange_refused', faults[error] ?? fitsTogether, {
        cause,
        ...(isKnown ? { extensions: { error } } : {}),
      })
      const what = { audience, scope, error }
      if (about === 'client' || (about === 'target' && !isGiven)) {
        if (refusal === undefined)
          logger.error(
            { alert: 'exchange_refused', ...what },
            'the identity provider refuses to exchange tokens: compare audience and scope of the upstream with what this client may have there',
          )
        refusal = { answer, askAgainAt: now() + probeEvery }
      } else logger.warn(what, 'the identity provider refuses to exchange the token of a session')
      return answer
    }

    const obtain = async (session: Session, rejected: string | undefined): Promise<Exchanged> => {
      const { id } = session
      const known = await stored(session)
      const isUsable = known !== undefined && known.token !== rejected && now() < known.expiresAt
      // One that is to be renewed, and was not known here, is good for now: nobody waits, the next request renews it.
      if (isUsable && (!isDue(known) || local.get(id)?.exchanged?.token !== known.token)) {
        remember(id, { exchanged: known })
        return known
      }
      if (refusal !== undefined) {
        if (now() < refusal.askAgainAt) throw refusal.answer
        refusal.askAgainAt = now() + probeEvery
      }
      let answer: Exchanged | Refused
      try {
        answer = await ask(session, target, refusal !== undefined).finally(seconds.startTimer({ audience }))
      } catch (error) {
        outcomes.inc({ audience, outcome: error instanceof ProviderError ? error.kind : 'failed' })
        throw error
      }
      if ('refused' in answer) {
        outcomes.inc({ audience, outcome: answer.refused.kind })
        const failure = answer.about === 'answer' ? answer.refused : refused(answer)
        const wait = answer.about === 'answer' ? retryAfter : refusedFor
        remember(id, { ...local.get(id), failure, notBefore: now() + wait })
        throw failure
      }
      outcomes.inc({ audience, outcome: 'exchanged' })
      if (refusal !== undefined) logger.info({ audience, scope }, 'the identity provider exchanges tokens again')
      isGiven = true
      refusal = undefined
      const notBefore = rejected === undefined ? {} : { notBefore: now() + retryAfter }
      if (await storeExchanged(store, keys, session, target, answer)) remember(id, { exchanged: answer, ...notBefore })
      return answer
    }

    return {
      atHand(session: Session) {
        const exchanged = local.get(session.id)?.exchanged
        return exchanged !== undefined && !isDue(exchanged) ? exchanged.token : undefined
      },

      obtain(session: Session, rejected?: string) {
        const known = local.get(session.id)
        const { exchanged, failure, notBefore = 0 } = known ?? {}
        const mustWait = now() < notBefore
        // It was got because of a 401 and met another one: asking for more of them only tires the provider.
        if (exchanged !== undefined && exchanged.token === rejected && mustWait) return exchanged.token
        const isUsable = exchanged !== undefined && exchanged.token !== rejected && now() < exchanged.expiresAt
        if (isUsable && (!isDue(exchanged) || mustWait)) return exchanged.token
        if (failure !== undefined && mustWait) throw failure
        // Who was refused a token waits for another one, not for a flight that may bring the same.
        const flying = flight(JSON.stringify([session.id, rejected]), () => obtain(session, rejected))
        if (!isUsable) return flying.then(({ token }) => token)
        // As with refreshes: nobody waits while the old token is good, and a failure is seen in the log only.
        flying.catch(err => {
          logger.warn({ err, audience, scope }, 'token exchange failed while the token is still valid')
          const current = local.get(session.id)
          if (current !== undefined) current.notBefore = Math.max(current.notBefore ?? 0, now() + retryAfter)
        })
        return exchanged.token
      },

      forget: (id: string) => void local.delete(id),
    }
  }

  return {
    to(target) {
      const name = nameOf(target)
      const tokens = targets.get(name) ?? createTarget(target, name)
      targets.set(name, tokens)
      return tokens
    },

    forget(id) {
      for (const tokens of targets.values()) tokens.forget(id)
    },
  }
}
