import { randomBytes } from 'node:crypto'
import type { Logger, Metrics } from '@banking/telemetry'
import { type Provider, ProviderError } from '../provider/oidc.ts'
import { begin, type Command, type Event, type Look, type Need, type State, step, waitAtMost } from './protocol.ts'
import { openRecord, type Session, sealRecord } from './record.ts'
import type { Register } from './register.ts'
import type { SealingKeys } from './seal.ts'
import type { EndReason, Found, SessionStore } from './session-store.ts'

/** Monotonic time, in ms. */
export type Clock = {
  now(): number
  /** @returns what stops it */
  after(ms: number, work: () => void): () => void
}

/** What a refresh came to. */
type Refreshed = { session: Session } | { over: EndReason }

/** Refreshes: the hands of the machine in protocol.ts. One per session and process runs at a time. */
export type Refresh = {
  /**
   * @param needOf whether the access token of a session that somebody else may have refreshed must be renewed yet
   * @throws ProviderError, or Problem `sessions_unavailable`: neither ends the session
   */
  run(session: Session, needOf: (session: Session) => Need): Promise<Refreshed>
  /** Tells the provider that the refresh token is not needed any more; best effort, and nobody waits for it. */
  revoke(session: Pick<Session, 'tokens'>): void
  /** Wakes who waits for another replica. */
  changed(id: string): void
  /** Waits until none is under way, nor a revocation, whether a request waits for it or not, `ms` at most. */
  drain(ms: number): Promise<void>
}

type OwnEvent = Event<Session, EndReason>
type OwnCommand = Command<Session, EndReason>
/** What is done for each command; its outcome comes back as an event. */
type Hands = { [D in OwnCommand['do']]: (command: OwnCommand & { do: D }) => void }

type Flight = { result: Promise<Refreshed>; send: (event: OwnEvent) => void }

/** Calls to the provider to revoke that may be under way: each lasts 10 s at most, and a flood of ends is no flood there. */
const mostRevocations = 100

export function createRefresh(options: {
  store: SessionStore
  register: Register
  keys: SealingKeys
  provider: Pick<Provider, 'refresh' | 'revoke'>
  logger: Logger
  metrics: Metrics
  /** Epoch ms. */
  now: () => number
  clock?: Clock
  /** Called for each session that was refreshed and written here. */
  onRefreshed: (session: Session) => void
}): Refresh {
  const { store, register, keys, provider, logger, now } = options
  const clock = options.clock ?? processClock
  const outcomes = options.metrics.counter('bff_refreshes_total', 'Refreshes by their outcome.', ['outcome'])
  const seconds = options.metrics.histogram(
    'bff_refresh_duration_seconds',
    'Time until the provider answered a refresh.',
  )
  const waits = options.metrics.histogram(
    'bff_refresh_wait_seconds',
    'Time that a request or renewal waited for a refresh.',
  )
  const flights = new Map<string, Flight>()

  const revocations = new Set<Promise<void>>()
  const revoke: Refresh['revoke'] = ({ tokens: { refreshToken } }) => {
    if (refreshToken === undefined) return
    if (revocations.size >= mostRevocations)
      return logger.warn('the refresh token is not revoked: too many wait for the identity provider')
    const revocation = provider
      .revoke(refreshToken)
      .catch(err => logger.warn({ err }, 'the refresh token could not be revoked'))
      .finally(() => revocations.delete(revocation))
    revocations.add(revocation)
  }

  /** Whether the last answer to a refresh was not to be believed: it is told once. */
  let isUntrusted = false
  const alertUntrusted = (err: unknown): void => {
    if (isUntrusted) return
    isUntrusted = true
    logger.error(
      { alert: 'refresh_untrusted', err },
      'what the identity provider answers to refreshes is not believed: compare issuer, audience, signature and times of its ID tokens with the configuration and the clocks',
    )
  }

  const begun = (session: Session, needOf: (session: Session) => Need): Flight => {
    const { id } = session
    const owner = randomBytes(16).toString('base64url')
    const { promise, resolve, reject } = Promise.withResolvers<Refreshed>()
    let state: State<Session>
    let stopTimer = (): void => undefined
    let call: AbortController | undefined

    const send = (event: OwnEvent): void => {
      const [next, commands] = step(state, event, clock.now())
      state = next
      for (const command of commands) run(command)
    }
    const seen = (found: Found): Look<Session, EndReason> => {
      const opened = openRecord(found, session, keys)
      if ('over' in opened) return opened
      return { ...opened, version: opened.session.version, need: needOf(opened.session) }
    }
    /** Asks the store; its answer, or that there is none, is the next event. */
    const asking = (question: Promise<OwnEvent>): void =>
      void question.catch((error: unknown) => ({ type: 'unreachable', error }) as const).then(send)

    const callProvider = ({ tokens, ...rest }: Session): void => {
      const controller = new AbortController()
      call = controller
      const issuedAt = now()
      const stopSeconds = seconds.startTimer()
      void provider
        .refresh(tokens.refreshToken ?? '', rest.person, controller.signal)
        .then(
          (fresh): OwnEvent => {
            outcomes.inc({ outcome: 'refreshed' })
            isUntrusted = false
            const { person } = fresh
            const version = rest.version + 1
            return {
              type: 'refreshed',
              session: { ...rest, person, version, issuedAt, tokens: { ...tokens, ...fresh.tokens } },
            }
          },
          (error: unknown): OwnEvent => {
            const kind = error instanceof ProviderError ? error.kind : 'failed'
            if (!controller.signal.aborted) outcomes.inc({ outcome: kind })
            if (kind === 'untrusted') alertUntrusted(error)
            return { type: 'refused', isGrant: kind === 'grant', error }
          },
        )
        .then(event => {
          stopSeconds()
          // What an aborted call comes to is never used.
          if (!controller.signal.aborted) send(event)
        })
    }

    const hands: Hands = {
      lease: ({ takeOver }) =>
        asking(
          store.lease(id, owner, takeOver).then(({ lease, found }) => {
            if (takeOver && lease === 'granted') outcomes.inc({ outcome: 'taken_over' })
            return { type: 'lease', lease, look: seen(found) }
          }),
        ),
      renew() {
        const sentAt = clock.now()
        const renewal = store.renew(id, owner).then(
          (isOurs): OwnEvent => ({ type: 'renewed', isOurs, sentAt }),
          (): OwnEvent => ({ type: 'unrenewed' }),
        )
        void renewal.then(send)
      },
      release() {
        store.release(id, owner).catch(err => logger.debug({ err }, 'a lease was not given back: it runs out'))
      },
      look: () => asking(store.find(id).then(found => ({ type: 'look', look: seen(found) }))),
      check: ({ session: { person, storedAt } }) =>
        asking(register.isBuried(person, storedAt).then(isBuried => ({ type: 'checked', isBuried }))),
      call: ({ session }) => callProvider(session),
      abort() {
        outcomes.inc({ outcome: 'aborted' })
        logger.warn('refresh aborted: its lease could not be renewed')
        call?.abort()
      },
      write({ known, refreshed }) {
        const sealed = sealRecord(refreshed, session, keys)
        const written = store.replace(id, known.version, sealed, owner)
        asking(
          written.then(isWritten => {
            if (isWritten) options.onRefreshed(refreshed)
            return { type: 'written', isWritten }
          }),
        )
      },
      revoke: ({ session }) => revoke(session),
      end(command) {
        const { why } = command
        const reason = why === 'grant' ? 'ended' : 'revoked'
        const fence = why === 'grant' ? { version: command.version, owner } : undefined
        asking(
          register.endRecord(id, reason, fence).then(isEnded => {
            if (fence !== undefined && !isEnded) return { type: 'kept' }
            logger.info({ why }, 'session ended at its refresh')
            return { type: 'ended', reason }
          }),
        )
      },
      timer({ ms }) {
        stopTimer()
        stopTimer = clock.after(ms, () => send({ type: 'tick' }))
      },
      answer({ answer }) {
        stopTimer()
        flights.delete(id)
        if (answer === 'late') reject(late())
        else if ('error' in answer) reject(answer.error)
        else resolve('session' in answer ? { session: answer.session } : answer)
      },
    }
    const run = (command: OwnCommand): void => (hands[command.do] as (command: OwnCommand) => void)(command)

    const [first, commands] = begin<Session, EndReason>(clock.now())
    state = first
    for (const command of commands) run(command)
    return { result: promise, send }
  }

  return {
    run(session, needOf) {
      let flight = flights.get(session.id)
      if (flight === undefined) {
        flight = begun(session, needOf)
        flights.set(session.id, flight)
      }
      return within(flight.result, clock).finally(waits.startTimer())
    },
    revoke,
    changed: id => flights.get(id)?.send({ type: 'changed' }),
    async drain(ms) {
      const { promise: late, resolve } = Promise.withResolvers<void>()
      const stop = clock.after(ms, resolve)
      const refreshed = Promise.allSettled([...flights.values()].map(({ result }) => result))
      await Promise.race([late, refreshed.then(() => Promise.allSettled(revocations))])
      stop()
      if (flights.size > 0) logger.warn({ refreshes: flights.size }, 'stopping in the middle of a refresh')
    },
  }
}

const processClock: Clock = {
  now: () => performance.now(),
  after(ms, work) {
    const timer = setTimeout(work, ms).unref()
    return () => clearTimeout(timer)
  },
}

const late = (): ProviderError => new ProviderError('unavailable', 'the refresh of this session takes too long')

/** Nobody waits for ever, whatever the machine is waiting for. */
function within<T>(result: Promise<T>, clock: Clock): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const stop = clock.after(waitAtMost, () => reject(late()))
  result.then(resolve, reject).finally(stop)
  return promise
}
