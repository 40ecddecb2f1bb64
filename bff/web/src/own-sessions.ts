import { call, callJson } from './api.ts'
import { createSharedResource } from './resource.ts'

/** One session of the person, from `GET /oauth2/sessions`; times are ISO 8601. */
export type OwnSession = {
  id: string
  /** The session of this browser. */
  current: boolean
  device: string
  createdAt: string
  lastSeenAt: string
  expiresAt: string
}

/** Every place where the person is signed in: this one first, then the newest. */
export const ownSessions = createSharedResource<readonly OwnSession[]>(async ({ background, signal }) => {
  const { items } = await callJson<{ items: OwnSession[] }>('/oauth2/sessions', { background, signal })
  return items.toSorted((one, other) => Number(other.current) - Number(one.current))
})

/** @throws Refusal; `not_found` when it was over before */
export async function endSession(id: string): Promise<void> {
  await call(`/oauth2/sessions/${encodeURIComponent(id)}`, { method: 'DELETE' })
}

/**
 * Ends every session but this one.
 * @returns how many that were
 * @throws Refusal
 */
export async function endOtherSessions(): Promise<number> {
  const { ended } = await callJson<{ ended: number }>('/oauth2/sessions', { method: 'DELETE' })
  return ended
}
