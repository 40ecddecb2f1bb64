import { useEffect, useState } from 'preact/hooks'
import { explainRead, type Refusal } from '../refusal.ts'
import { Notice } from './notice.tsx'

/** `background` when no person asked for it: such a try must not extend the session. */
type Retry = (options: { background: boolean }) => unknown

/** Seconds; a service that asks for less is not asked in a loop by every open page. */
const shortestWait = 5

/** What could not be loaded, and the way to try again; where the bank said when, it tries by itself. */
export function Failure(props: { refusal: Refusal; text?: string; onRetry?: Retry }) {
  const { refusal, onRetry } = props
  const { title, text } = { ...explainRead(refusal), ...(props.text === undefined ? {} : { text: props.text }) }
  const canHelp = refusal.status !== 403 && refusal.status !== 404
  return (
    <Notice tone={canHelp ? 'warning' : 'info'} title={title} live>
      <p>{text}</p>
      {refusal.requestId !== undefined && refusal.status >= 500 && refusal.status !== 503 && (
        <p class="small">
          Number for our support: <code>{refusal.requestId}</code>
        </p>
      )}
      {canHelp && onRetry !== undefined && <RetryButton key={refusal} after={refusal.retryAfter} onRetry={onRetry} />}
    </Notice>
  )
}

/** A button that also presses itself once, when the time has come that the server named. */
function RetryButton({ after, onRetry }: { after: number | undefined; onRetry: Retry }) {
  const [left, setLeft] = useState(after === undefined ? undefined : Math.max(shortestWait, after))
  useEffect(() => {
    if (left === undefined) return
    if (left <= 0) {
      setLeft(undefined)
      onRetry({ background: true })
      return
    }
    const timer = setTimeout(() => setLeft(left - 1), 1_000)
    return () => clearTimeout(timer)
  }, [left, onRetry])
  return (
    <p class="actions">
      <button type="button" class="button button-quiet" onClick={() => onRetry({ background: false })}>
        Try again
      </button>
      {left !== undefined && left > 0 && (
        <span class="small muted" aria-hidden="true">
          or wait: in {left} s it happens by itself
        </span>
      )}
    </p>
  )
}
