import type { Logger, Metrics } from '@banking/telemetry'
import { type ExchangeTarget, type Provider, ProviderError } from '../provider/oidc.ts'
import { renewalOf } from './protocol.ts'
import { type SealingKeys, seal, unseal } from './seal.ts'
import type { SessionStore } from './session-store.ts'
import type { Session, Sessions } from './sessions.ts'
import { singleFlight } from './single-flight.ts'

type Exchanged = { token: string; issuedAt: number; expiresAt: number }
type Held = Exchanged & { notBefore?: number }

/** The tokens that upstreams get in the name of a session: one audience each (RFC 8693). */
export type Exchange = {
  /**
   * A token for this audience, at once when it is at hand. One exchange at a time per session and audience, kept with the session and here.
   *
   * @param rejected the token that the upstream has just answered with 401
   */
  tokenFor(session: Session, target: ExchangeTarget, rejected?: string): string | Promise<string>
  /** The token for this audience, if nothing needs to be done for it. */
  atHand(session: Session, audience: string): string | undefined
  /** Forgets what is held here of a session that is over. */
  forget(id: string): void
}

/** ms before a renewal that failed, or gave a token that the upstream refuses too, is tried again. */
const retryAfter = 3_000
/** Sessions whose tokens are held in this process; the rest is read from the store again. */
const held = 10_000

/** What a provider may call a token that it does not accept (RFC 8693 §2.2.2); another one changes nothing about the rest. */
const ofSubjectToken: ReadonlySet<string> = new Set(['invalid_request', 'invalid_grant', 'invalid_token'])

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
  const flight = singleFlight<Exchanged>()
  /** By session first: a token must never be found without naming whose it is. */
  const local = new Map<string, Map<string, Held>>()

  const remember = (id: string, audience: string, exchanged: Held): void => {
    const tokens = local.get(id) ?? new Map<string, Held>()
    local.delete(id)
    local.set(id, tokens.set(audience, exchanged))
    if (local.size > held) local.delete(local.keys().next().value as string)
  }

  const isDue = ({ issuedAt, expiresAt }: Exchanged): boolean => now() >= renewalOf(issuedAt, expiresAt)

  const stored = async (session: Session, audience: string): Promise<Exchanged | undefined> => {
    const sealed = await store.findToken(session.id, audience)
    const plain = sealed && unseal(sealed, session.secret, keys, ['token', session.id, audience])
    return plain === undefined ? undefined : (JSON.parse(plain) as Exchanged)
  }

  const ask = async (session: Session, target: ExchangeTarget): Promise<Exchanged> => {
    const subject = await sessions.fresh(session)
    const issuedAt = now()
    try {
      return { issuedAt, ...(await provider.exchange(subject.tokens.accessToken, target)) }
    } catch (error) {
      // The provider no longer accepts the session's token, e.g. it has just expired: that ends nothing.
      if (!(error instanceof ProviderError) || !ofSubjectToken.has(error.error ?? '')) throw error
      const renewed = await sessions.fresh(subject, subject.tokens.accessToken)
      if (renewed.tokens.accessToken === subject.tokens.accessToken) throw error
      return { issuedAt, ...(await provider.exchange(renewed.tokens.accessToken, target)) }
    }
  }

  const obtain = async (session: Session, target: ExchangeTarget, rejected: string | undefined): Promise<Exchanged> => {
    const { audience } = target
    const known = await stored(session, audience)
    if (known !== undefined && known.token !== rejected && !isDue(known)) {
      remember(session.id, audience, known)
      return known
    }
    let exchanged: Exchanged
    try {
      exchanged = await ask(session, target).finally(seconds.startTimer({ audience }))
    } catch (error) {
      const outcome = error instanceof ProviderError ? error.kind : 'failed'
      outcomes.inc({ audience, outcome })
      // An expired grant concerns the session's own token; here it only means that there is no token to be had now.
      if (error instanceof ProviderError && error.kind === 'grant')
        throw new ProviderError('refused', 'the session’s token cannot be exchanged', { cause: error })
      throw error
    }
    outcomes.inc({ audience, outcome: 'exchanged' })
    const sealed = seal(JSON.stringify(exchanged), session.secret, keys, ['token', session.id, audience])
    const notBefore = rejected === undefined ? {} : { notBefore: now() + retryAfter }
    if (await store.saveToken(session.id, audience, sealed))
      remember(session.id, audience, { ...exchanged, ...notBefore })
    return exchanged
  }

  return {
    atHand(session, audience) {
      const known = local.get(session.id)?.get(audience)
      return known !== undefined && !isDue(known) ? known.token : undefined
    },

    tokenFor(session, target, rejected) {
      const { audience } = target
      const known = local.get(session.id)?.get(audience)
      // It was got because of a 401 and met another one: asking for more of them only tires the provider.
      if (known !== undefined && known.token === rejected && now() < (known.notBefore ?? 0)) return known.token
      const usable = known !== undefined && known.token !== rejected && now() < known.expiresAt ? known : undefined
      if (usable !== undefined && (!isDue(usable) || now() < (usable.notBefore ?? 0))) return usable.token
      const flying = flight(`${session.id} ${audience}`, () => obtain(session, target, rejected))
      if (usable === undefined) return flying.then(({ token }) => token)
      // As with refreshes: nobody waits while the old token is good, and a failure is seen in the log only.
      flying.catch(err => {
        usable.notBefore = now() + retryAfter
        logger.warn({ err, audience }, 'token exchange failed while the token is still valid')
      })
      return usable.token
    },

    forget: id => void local.delete(id),
  }
}
