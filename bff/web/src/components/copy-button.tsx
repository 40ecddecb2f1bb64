import { useEffect, useState } from 'preact/hooks'
import { Icon } from './icon.tsx'

/** Copies a text and says whether it worked: browsers may refuse the clipboard. */
export function CopyButton({ text, what }: { text: string; what: string }) {
  const [outcome, setOutcome] = useState<'copied' | 'refused'>()
  useEffect(() => {
    if (outcome === undefined) return
    const timer = setTimeout(() => setOutcome(undefined), 3_000)
    return () => clearTimeout(timer)
  }, [outcome])
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => setOutcome('copied'),
      () => setOutcome('refused'),
    )
  return (
    <span class="copy">
      <button type="button" class="icon-button" onClick={() => void copy()}>
        <Icon name={outcome === 'copied' ? 'check' : 'copy'} />
        <span class="visually-hidden">Copy {what}</span>
      </button>
      <span role="status" class="small muted">
        {outcome === 'copied' && 'Copied'}
        {outcome === 'refused' && 'Not allowed: please copy it by hand'}
      </span>
    </span>
  )
}
