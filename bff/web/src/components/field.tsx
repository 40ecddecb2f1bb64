import type { ComponentChildren } from 'preact'

type ControlProps = {
  id: string
  'aria-describedby': string | undefined
  'aria-invalid': 'true' | undefined
}

type Props = {
  id: string
  label: string
  hint?: ComponentChildren
  error?: string | undefined
  optional?: boolean
  children: (control: ControlProps) => ComponentChildren
}

/** A labelled control whose hint and error are tied to it, so that they are read together with it. */
export function Field({ id, label, hint, error, optional = false, children }: Props) {
  const hintId = `${id}-hint`
  const errorId = `${id}-error`
  const described = [error === undefined ? '' : errorId, hint === undefined ? '' : hintId].filter(Boolean).join(' ')
  return (
    <div class={error === undefined ? 'field' : 'field field-invalid'}>
      <label for={id}>
        {label}
        {optional && <span class="muted"> (optional)</span>}
      </label>
      {children({
        id,
        'aria-describedby': described === '' ? undefined : described,
        'aria-invalid': error === undefined ? undefined : 'true',
      })}
      {error !== undefined && (
        <p class="error-text" id={errorId}>
          {error}
        </p>
      )}
      {hint !== undefined && (
        <p class="hint" id={hintId}>
          {hint}
        </p>
      )}
    </div>
  )
}
