import { useEffect, useRef, useState } from 'preact/hooks'
import { formatTime } from '../locale.ts'
import { useNow } from '../now.ts'
import type { Refusal } from '../refusal.ts'
import { checkSession, extendSession, serverNow, signOut, warning } from '../session.ts'
import type { SessionPhase } from '../session-clock.ts'

/** Asks before a session ends. It is a modal dialog: the browser keeps the focus inside and gives it back. */
export function SessionDialog() {
  const phase = warning.value
  return phase === undefined ? null : <Warning phase={phase} />
}

function remaining(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1_000))
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}

function Warning({ phase }: { phase: SessionPhase }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const now = useNow(500, serverNow)
  const [refusal, setRefusal] = useState<Refusal>()
  const [isBusy, setBusy] = useState(false)
  const [isSeen, setSeen] = useState(false)
  const isFinal = phase.cause === 'absolute'
  const left = phase.endsAt - now

  useEffect(() => {
    if (!isSeen) dialog.current?.showModal()
  }, [isSeen])

  // Time is up: the server decides, and its answer locks the page.
  const isOver = left <= 0
  useEffect(() => {
    if (isOver) void checkSession()
  }, [isOver])

  async function stay() {
    if (isFinal) {
      dialog.current?.close()
      setSeen(true)
      return
    }
    setBusy(true)
    setRefusal(await extendSession())
    setBusy(false)
  }

  if (isSeen) return null
  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-labelledby="session-title"
      aria-describedby="session-text"
      onCancel={event => {
        // Escape is a sign of life too.
        event.preventDefault()
        void stay()
      }}
    >
      <h2 id="session-title">{isFinal ? 'Your session ends soon' : 'Are you still there?'}</h2>
      <p id="session-text">
        {isFinal
          ? `For your security a session ends some hours after you signed in, even while you use it. Yours ends at ${formatTime(phase.endsAt)}. Please finish what you are doing; a payment form that you have not sent is kept in this tab.`
          : 'You have not done anything here for a while. For your security we sign you out soon; a payment form that you have not sent is kept in this tab.'}
      </p>
      <p class="countdown" role="timer">
        <span class="visually-hidden">Time left: </span>
        {remaining(left)}
      </p>
      {refusal !== undefined && (
        <p class="error-text" role="alert">
          We could not reach the bank. Please try again.
        </p>
      )}
      <div class="actions">
        <button type="button" class="button" disabled={isBusy} onClick={() => void stay()}>
          {isFinal ? 'I understand' : 'Stay signed in'}
        </button>
        <button type="button" class="button button-quiet" disabled={isBusy} onClick={() => void signOut()}>
          Sign out now
        </button>
      </div>
    </dialog>
  )
}
