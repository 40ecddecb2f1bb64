import type { ComponentChildren } from 'preact'
import { Icon, type IconName } from './icon.tsx'

type Tone = 'info' | 'good' | 'warning' | 'bad'

const icons: Record<Tone, IconName> = { info: 'info', good: 'check', warning: 'alert', bad: 'alert' }

/** A short message in place. `live` says it aloud when it appears: at once for what went wrong, politely otherwise. */
export function Notice(props: { tone: Tone; title?: string; live?: boolean; children: ComponentChildren }) {
  const { tone, title, live = false, children } = props
  const role = live ? (tone === 'bad' ? 'alert' : 'status') : undefined
  return (
    <div class={`notice notice-${tone}`} role={role}>
      <Icon name={icons[tone]} />
      <div class="notice-body">
        {title !== undefined && <p class="notice-title">{title}</p>}
        {children}
      </div>
    </div>
  )
}
