import type { ComponentChildren } from 'preact'
import { Icon, type IconName } from './icon.tsx'

/** A place where something will be one day: says so, and what to do meanwhile. */
export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={icon} />
      <p class="empty-title">{title}</p>
      {children}
    </div>
  )
}
