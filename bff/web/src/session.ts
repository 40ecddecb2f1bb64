import type { Role } from '@banking/contracts'
import { signal } from '@preact/signals'
import { call, callJson, onSessionEnd } from './api.ts'
import { hear, tell } from './channel.ts'
import { forgetAll } from './personal.ts'
import { noAnswer, Refusal } from './refusal.ts'
import { type SessionPhase, sessionPhase } from './session-clock.ts'
import { drop, keep, kept } from './tab-storage.ts'

/** `GET /oauth2/userinfo`; times are ISO 8601. */
export type Person = {
  sub: string
  name: string
  givenName: string
  email?: string
  roles: readonly Role[]
  session: {
    createdAt: string
    authTime: string
    lastSeenAt: string
    idleTimeoutAt: string
    absoluteTimeoutAt: string
  }
}

export type EndReason = 'none' | 'idle' | 'absolute' | 'ended' | 'revoked' | 'limit' | 'signed-out'

export type SessionState =
  | { kind: 'loading' }
  | { kind: 'unreachable'; refusal: Refusal }
  | { kind: 'signed-out'; reason: EndReason }
  | { kind: 'signing-out' }
  | { kind: 'signed-in'; person: Person }

export const session = signal<SessionState>({ kind: 'loading' })

/** Set while the person must be asked whether they are still there. */
export const warning = signal<SessionPhase | undefined>(undefined)

/** Set when signing out did not work: the person believes they left, so this must be seen. */
export const signOutRefusal = signal<Refusal | undefined>(undefined)

/** Somebody who typed or clicked this recently is there: they are not asked. */
const presence = 60_000

let clockSkew = 0
let lastInputAt = 0
let timer: ReturnType<typeof setTimeout> | undefined
let reading: Promise<Refusal | undefined> | undefined
let checkedAt = 0

/** Now by the server's clock, as the times of the session are. */
export const serverNow = (): number => Date.now() + clockSkew

const reasons: readonly string[] = ['none', 'idle', 'absolute', 'ended', 'revoked', 'limit'] satisfies EndReason[]
const reasonOf = (reason: string): EndReason => (reasons.includes(reason) ? (reason as EndReason) : 'ended')

function signedIn(person: Person): void {
  const before = session.peek()
  const other = before.kind === 'signed-in' && before.person.sub !== person.sub
  if (other) forgetAll()
  session.value = { kind: 'signed-in', person }
  if (before.kind !== 'signed-in' || other) {
    drop('notice')
    tell({ kind: 'signed-in', sub: person.sub })
  }
  schedule(person)
}

/** Locks the page: whatever it knew about the person is gone before the sign-in page is drawn. */
function end(reason: EndReason): void {
  clearTimeout(timer)
  const before = session.peek()
  if (before.kind === 'signing-out') return
  warning.value = undefined
  // A cookie that vanished from a page that was signed in means that the session ended somewhere else.
  const why = reason === 'none' && before.kind === 'signed-in' ? 'ended' : reason
  const isNew = before.kind === 'loading' || before.kind === 'unreachable'
  const notice = isNew && why === 'none' ? kept<EndReason>('notice') : undefined
  if (notice !== undefined) drop('notice')
  // The cookie goes with the first answer that says why: a page that is loaded anew would not know.
  if (before.kind === 'signed-in') keep('notice', why)
  session.value = { kind: 'signed-out', reason: notice ?? (before.kind === 'signed-out' ? before.reason : why) }
  forgetAll()
}

/** Asks the server who is there, one question at a time. Never extends the session. */
export function checkSession(): Promise<Refusal | undefined> {
  reading ??= readUserinfo().finally(() => {
    reading = undefined
  })
  return reading
}

async function readUserinfo(): Promise<Refusal | undefined> {
  try {
    const response = await call('/oauth2/userinfo?anonymous=1', { background: true, timeout: 10_000 })
    const date = Date.parse(response.headers.get('date') ?? '')
    if (Number.isFinite(date)) clockSkew = date - Date.now()
    const person = (await response.json()) as Person | { reason: string }
    checkedAt = Date.now()
    if ('reason' in person) {
      end(reasonOf(person.reason))
      return undefined
    }
    if (session.peek().kind !== 'signing-out') signedIn(person)
    return undefined
  } catch (error) {
    const refusal = error instanceof Refusal ? error : noAnswer(error)
    const { kind } = session.peek()
    if (refusal.status !== 401 && (kind === 'loading' || kind === 'unreachable'))
      session.value = { kind: 'unreachable', refusal }
    return refusal
  }
}

const phaseOf = (person: Person): SessionPhase =>
  sessionPhase(
    {
      idleTimeoutAt: Date.parse(person.session.idleTimeoutAt),
      absoluteTimeoutAt: Date.parse(person.session.absoluteTimeoutAt),
      lastSeenAt: Date.parse(person.session.lastSeenAt),
    },
    serverNow(),
  )

function schedule(person: Person): void {
  clearTimeout(timer)
  const phase = phaseOf(person)
  if (phase.phase === 'active') warning.value = undefined
  const isDue = phase.phase === 'warning' && warning.peek() === undefined
  // At least a second, or a clock that is a little off would ask in a loop.
  timer = setTimeout(() => void onPhaseChange(), Math.max(1_000, isDue ? 0 : phase.changesAt - serverNow()))
}

/** The known times may be old: requests of any tab have moved them. So the server is asked before anything is shown. */
async function onPhaseChange(): Promise<void> {
  const refusal = await checkSession()
  const state = session.peek()
  if (state.kind !== 'signed-in') return
  const phase = phaseOf(state.person)
  if (phase.phase === 'warning') {
    const isPresent = Date.now() - lastInputAt < presence
    if (phase.cause === 'idle' && isPresent && warning.peek() === undefined) await extendSession()
    else warning.value = phase
  }
  if (phase.phase === 'ended' && refusal !== undefined) end(phase.cause)
  else schedule(state.person)
}

/**
 * Moves the idle end by a call that a person's action stands behind.
 * @returns the refusal when the server could not be reached
 */
export async function extendSession(): Promise<Refusal | undefined> {
  try {
    await call('/api/notifications/count')
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    if (error.isUncertain) return error
  }
  warning.value = undefined
  const refusal = await checkSession()
  const state = session.peek()
  if (state.kind === 'signed-in') tell({ kind: 'session-extended', sub: state.person.sub })
  return refusal
}

/** Ends the session at the bank and at the identity provider, in every tab of this browser. */
export async function signOut(): Promise<void> {
  const before = session.peek()
  if (before.kind !== 'signed-in') return
  signOutRefusal.value = undefined
  session.value = { kind: 'signing-out' }
  let location = '/'
  try {
    const answer = await callJson<{ location: string }>('/oauth2/sign_out', { method: 'POST' })
    location = answer.location
  } catch (error) {
    const refusal = error instanceof Refusal ? error : noAnswer(error)
    // A session that was over before is what the person wanted.
    if (refusal.status !== 401) {
      session.value = before
      signOutRefusal.value = refusal
      return
    }
  }
  clearTimeout(timer)
  warning.value = undefined
  forgetAll()
  drop('draft')
  drop('payment')
  keep('notice', 'signed-out')
  tell({ kind: 'signed-out', sub: before.person.sub })
  window.location.assign(location)
}

/** Starts the session's life in this tab: the first question, and the occasions on which it is asked again. */
export function watchSession(): void {
  onSessionEnd(reason => end(reasonOf(reason)))
  hear(message => {
    const state = session.peek()
    if (message.kind === 'signed-out') {
      drop('draft')
      drop('payment')
      if (state.kind === 'signed-in') end('signed-out')
    } else if (message.kind === 'signed-in') {
      if (state.kind !== 'signed-in' || state.person.sub !== message.sub) void checkSession()
    } else if (message.kind === 'session-extended') void checkSession()
  })
  const noteInput = () => {
    lastInputAt = Date.now()
  }
  document.addEventListener('pointerdown', noteInput, { passive: true })
  document.addEventListener('keydown', noteInput, { passive: true })
  // A laptop that slept, or a page taken from the back/forward cache, may show a session that is long over.
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible' && Date.now() - checkedAt > 15_000) void checkSession()
  })
  window.addEventListener('pageshow', event => {
    if (!event.persisted) return
    if (session.peek().kind === 'signing-out') session.value = { kind: 'loading' }
    void checkSession()
  })
  window.addEventListener('online', () => void checkSession())
  void checkSession()
}
