import { useEffect, useRef } from 'preact/hooks'
import { dismiss, type Toast, toasts } from '../toasts.ts'
import { Icon } from './icon.tsx'

const shownFor = 8_000

/** New messages, read out politely. They wait while somebody points at them or has the focus in them (WCAG 2.2.1). */
export function Toasts() {
  return (
    <section class="toasts" aria-label="New messages">
      <div role="status" aria-live="polite">
        {toasts.value.map(item => (
          <ToastCard key={item.id} item={item} />
        ))}
      </div>
    </section>
  )
}

function ToastCard({ item }: { item: Toast }) {
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  const start = () => {
    clearTimeout(timer.current)
    timer.current = setTimeout(() => dismiss(item.id), shownFor)
  }
  const wait = () => clearTimeout(timer.current)
  useEffect(() => {
    timer.current = setTimeout(() => dismiss(item.id), shownFor)
    return () => clearTimeout(timer.current)
  }, [item.id])
  return (
    <div class="toast" onPointerEnter={wait} onPointerLeave={start} onFocusIn={wait} onFocusOut={start}>
      <Icon name="bell" />
      <div class="toast-body">
        <p class="toast-title">{item.title}</p>
        <p>{item.text}</p>
        {item.href !== undefined && (
          <a href={item.href} onClick={() => dismiss(item.id)}>
            Show
          </a>
        )}
      </div>
      <button type="button" class="icon-button" onClick={() => dismiss(item.id)}>
        <Icon name="close" />
        <span class="visually-hidden">Dismiss</span>
      </button>
    </div>
  )
}
