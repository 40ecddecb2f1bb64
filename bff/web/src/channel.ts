import type { Notification } from './notifications.ts'

/** What the tabs of one browser tell each other; `sub` keeps the tabs of two people apart. */
export type Message =
  | { kind: 'notification'; sub: string; notification: Notification }
  | { kind: 'stream-resumed'; sub: string }
  | { kind: 'unread'; sub: string; unread: number }
  | { kind: 'notification-read'; sub: string; id: string }
  | { kind: 'all-read'; sub: string; upTo: number }
  | { kind: 'session-extended'; sub: string }
  | { kind: 'signed-in'; sub: string }
  | { kind: 'signed-out'; sub: string }

const channel = new BroadcastChannel('banking')
const listeners = new Set<(message: Message) => void>()

channel.onmessage = event => {
  for (const listener of listeners) listener(event.data as Message)
}

/** To every other tab; the sender does not hear itself. */
export function tell(message: Message): void {
  channel.postMessage(message)
}

export function hear(listener: (message: Message) => void): void {
  listeners.add(listener)
}
