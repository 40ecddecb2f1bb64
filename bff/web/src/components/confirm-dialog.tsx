import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { noAnswer, Refusal } from '../refusal.ts'

type Props = {
  title: string
  children: ComponentChildren
  confirm: string
  cancel: string
  /** What is confirmed; while it runs nothing can be pressed twice. */
  onConfirm: () => Promise<void>
  onClose: () => void
}

/** Asks before something that cannot be taken back. Modal: the browser keeps the focus inside and gives it back. */
export function ConfirmDialog({ title, children, confirm, cancel, onConfirm, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null)
  const [isBusy, setBusy] = useState(false)
  const [refusal, setRefusal] = useState<Refusal>()
  useEffect(() => dialog.current?.showModal(), [])

  async function proceed() {
    setBusy(true)
    setRefusal(undefined)
    try {
      await onConfirm()
      dialog.current?.close()
    } catch (error) {
      setRefusal(error instanceof Refusal ? error : noAnswer(error))
      setBusy(false)
    }
  }

  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-labelledby="confirm-title"
      aria-describedby="confirm-text"
      onClose={onClose}
      onCancel={event => {
        if (isBusy) event.preventDefault()
      }}
    >
      <h2 id="confirm-title">{title}</h2>
      <div id="confirm-text">{children}</div>
      {refusal !== undefined && (
        <p class="error-text" role="alert">
          {refusal.isUncertain
            ? 'We could not reach the bank, so it may not have happened. Please try again.'
            : 'That did not work. Please try again in a moment.'}
        </p>
      )}
      <div class="actions">
        <button type="button" class="button" disabled={isBusy} onClick={() => void proceed()}>
          {confirm}
        </button>
        <button type="button" class="button button-quiet" disabled={isBusy} onClick={() => dialog.current?.close()}>
          {cancel}
        </button>
      </div>
    </dialog>
  )
}
