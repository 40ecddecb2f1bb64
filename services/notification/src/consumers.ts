import { topicOf } from '@banking/contracts'
import type { Handlers, Transaction } from '@banking/messaging'
import { deliver } from './notification-store.ts'
import { draftsOf } from './templates.ts'

export const group = 'notification'
export const topics = [topicOf('payment')]

const tell = (event: Parameters<typeof draftsOf>[0], sql: Transaction): Promise<void> =>
  deliver(sql, event, draftsOf(event))

/** What this service does about the events of others. */
export const handlers: Handlers = {
  'payment.posted': tell,
  'payment.held': tell,
  'payment.declined': tell,
  'payment.cancelled': tell,
  'payment.reversed': tell,
  'payment.expired': tell,
}
