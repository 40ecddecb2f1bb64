import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { focusHeading } from '../navigation.ts'
import { pageTitle } from '../title.ts'

type Props = {
  /** The page's heading; also its title in the tab unless `tabTitle` is given. */
  title: string
  tabTitle?: string
  lead?: ComponentChildren
  /** Beside the heading, e.g. the page's main button. */
  actions?: ComponentChildren
  /** A change moves the focus to the heading: the next step of the same page. */
  step?: string
  narrow?: boolean
  children: ComponentChildren
}

/** The frame of a page: one heading, which takes the focus after navigation, and the title of the tab. */
export function Page({ title, tabTitle = title, lead, actions, step = '', narrow = false, children }: Props) {
  const heading = useRef<HTMLHeadingElement>(null)
  const shownStep = useRef<string>(undefined)
  useEffect(() => {
    pageTitle.value = tabTitle
  }, [tabTitle])
  useEffect(() => {
    if (shownStep.current === undefined) focusHeading(heading.current)
    else if (shownStep.current !== step) heading.current?.focus()
    shownStep.current = step
  }, [step])
  return (
    <div class={narrow ? 'page page-narrow' : 'page'}>
      <div class="page-head">
        <div>
          <h1 ref={heading} tabIndex={-1}>
            {title}
          </h1>
          {lead !== undefined && <div class="lead">{lead}</div>}
        </div>
        {actions !== undefined && <div class="page-actions">{actions}</div>}
      </div>
      {children}
    </div>
  )
}
