import { effect, signal } from '@preact/signals'
import { unread } from './notifications.ts'

export const pageTitle = signal('')

/** The tab's title names the page and how many messages wait. */
export function watchTitle(): void {
  effect(() => {
    const count = unread.value ?? 0
    const title = pageTitle.value === '' ? 'Banking Local' : `${pageTitle.value} · Banking Local`
    document.title = count > 0 ? `(${count}) ${title}` : title
  })
}
