import { signal } from '@preact/signals'
import { forgetWith } from './personal.ts'

export type Toast = { id: string; title: string; text: string; href?: string }

export const toasts = signal<readonly Toast[]>([])

forgetWith(() => {
  toasts.value = []
})

const most = 3

/** Shows a short message in the corner; of many at once only the newest stay. */
export function toast(message: Toast): void {
  toasts.value = [...toasts.peek().filter(({ id }) => id !== message.id), message].slice(-most)
}

export function dismiss(id: string): void {
  toasts.value = toasts.peek().filter(item => item.id !== id)
}
