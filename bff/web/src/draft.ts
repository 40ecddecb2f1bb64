import { signal } from '@preact/signals'
import { type Draft, emptyDraft, type PaymentOrder, sameOrder } from './payment-order.ts'
import { forgetWith } from './personal.ts'
import { drop, keep, kept } from './tab-storage.ts'

/**
 * A payment that a person confirmed. The key names the intention, not the request: every try of it, also after a
 * reload or a new login, carries the same one, so the money moves once.
 */
export type Intention = { key: string; order: PaymentOrder; confirmedAt: number; isSent: boolean }

type Owned<T> = { sub: string; value: T }

/** The bank keeps keys for a day; well before that an old intention is no longer offered. */
const keyLifetime = 20 * 60 * 60 * 1_000

/** What the form holds now; the copy in the tab's storage outlives the session, but only for the same person. */
export const draft = signal<Draft>(emptyDraft)

forgetWith(() => {
  draft.value = emptyDraft
})

/** Takes up the draft this person left in this tab, and what a link has chosen for them on top of it. */
export function openDraft(sub: string, preset: Partial<Draft>): void {
  const stored = kept<Owned<Draft>>('draft')
  if (stored !== undefined && stored.sub !== sub) drop('draft')
  const own = stored?.sub === sub ? stored.value : emptyDraft
  draft.value = { ...emptyDraft, ...own }
  if (Object.keys(preset).length > 0) changeDraft(sub, preset)
}

export function changeDraft(sub: string, change: Partial<Draft>): void {
  draft.value = { ...draft.peek(), ...change }
  keep('draft', { sub, value: draft.peek() } satisfies Owned<Draft>)
}

export function dropDraft(): void {
  draft.value = emptyDraft
  drop('draft')
}

/** The intention that was left unfinished in this tab, if it is this person's and not too old. */
export function keptIntention(sub: string): Intention | undefined {
  const stored = kept<Owned<Intention>>('payment')
  if (stored === undefined) return undefined
  if (stored.sub === sub && Date.now() - stored.value.confirmedAt < keyLifetime) return stored.value
  drop('payment')
  return undefined
}

/** The intention for this order: the unfinished one if it is the same order, else a new one with a fresh key. */
export function confirmIntention(sub: string, order: PaymentOrder): Intention {
  const unfinished = keptIntention(sub)
  const intention: Intention =
    unfinished !== undefined && sameOrder(unfinished.order, order)
      ? { ...unfinished, isSent: true }
      : { key: crypto.randomUUID(), order, confirmedAt: Date.now(), isSent: true }
  keep('payment', { sub, value: intention } satisfies Owned<Intention>)
  return intention
}

/** The server has given its verdict, whichever it was: another try is a new intention. */
export function closeIntention(): void {
  drop('payment')
}
