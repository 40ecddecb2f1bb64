/** Milliseconds since the epoch, by the server's clock. */
export type SessionEnds = { idleTimeoutAt: number; absoluteTimeoutAt: number; lastSeenAt: number }

export type SessionPhase = {
  phase: 'active' | 'warning' | 'ended'
  /** Which of the two ends comes first. */
  cause: 'idle' | 'absolute'
  endsAt: number
  /** When the phase changes next; the same as `endsAt` once the warning has begun. */
  changesAt: number
}

const longestWarning = 120_000

/** Where a session stands: people get two minutes' notice (WCAG 2.2.1), less only where the idle time is very short. */
export function sessionPhase(ends: SessionEnds, now: number): SessionPhase {
  const cause = ends.absoluteTimeoutAt <= ends.idleTimeoutAt ? 'absolute' : 'idle'
  const endsAt = Math.min(ends.idleTimeoutAt, ends.absoluteTimeoutAt)
  const idleTime = Math.max(0, ends.idleTimeoutAt - ends.lastSeenAt)
  const warnsAt = endsAt - Math.min(longestWarning, idleTime / 3)
  if (now >= endsAt) return { phase: 'ended', cause, endsAt, changesAt: endsAt }
  if (now >= warnsAt) return { phase: 'warning', cause, endsAt, changesAt: endsAt }
  return { phase: 'active', cause, endsAt, changesAt: warnsAt }
}
