import type { EventData, EventType } from '@banking/contracts'
import type { Logger, Trace } from '@banking/telemetry'

/** What the edge tells about logins and sessions. */
type EdgeEvent = Extract<EventType, `login.${string}` | `session.${string}` | `logout.${string}`>

/** Where the audit trail of the edge goes. Whoever records never waits and is never told of a failure. */
export type Events = {
  /**
   * @param subject what it is about: the store's id of a session, or of a login; what one process tells of one
   * subject stays in order, and `time` orders what several do
   * @param about the version of the session, and the request that caused it, where it is not the one that is running
   */
  record<T extends EdgeEvent>(
    type: T,
    subject: string,
    data: EventData<T>,
    about?: { seq?: number; trace?: Trace },
  ): void
  /** Sends what still waits, for a bounded time. */
  close(): Promise<void>
}

/** Whose session it is, as events say it: no name, no address. */
export const actorOf = ({ sub, sid }: { sub: string; sid?: string }): { sub: string; sid?: string } =>
  sid === undefined ? { sub } : { sub, sid }

/** Without a broker: one line each, with words and numbers of our own alone, nothing that leads to a person. */
export function loggedEvents(logger: Logger): Events {
  return {
    record: (type, _subject, data) => {
      const { code, reason, sessions } = data as { code?: string; reason?: string; sessions?: number }
      logger.info({ type, code, reason, sessions }, 'event')
    },
    close: async () => undefined,
  }
}
