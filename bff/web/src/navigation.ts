import { computed, signal } from '@preact/signals'
import { matchRoute } from './router.ts'

type Place = { pathname: string; search: string; hash: string }

const here = (): Place => {
  const { pathname, search, hash } = window.location
  return { pathname, search, hash }
}

export const place = signal<Place>(here())
export const route = computed(() => matchRoute(place.value.pathname))

/** True from the first change of page on: the very first one must not steal the focus from the browser. */
let hasMoved = false

/** Goes to another page of this app; a full address of another site is not accepted here. */
export function navigate(path: string, options: { replace?: boolean } = {}): void {
  if (options.replace === true) window.history.replaceState(null, '', path)
  else window.history.pushState(null, '', path)
  hasMoved = true
  place.value = here()
  window.scrollTo(0, 0)
}

/** Puts the focus on the new page's heading, so that a screen reader speaks and the keyboard starts there. */
export function focusHeading(heading: HTMLElement | null): void {
  if (hasMoved) heading?.focus({ preventScroll: true })
}

function isOwnPage(link: HTMLAnchorElement): boolean {
  if (link.origin !== window.location.origin || link.target !== '' || link.hasAttribute('download')) return false
  return matchRoute(link.pathname).name !== 'not-found'
}

/** Follows links to own pages without loading them anew; everything unusual is left to the browser. */
export function watchNavigation(): void {
  window.addEventListener('popstate', () => {
    hasMoved = true
    place.value = here()
  })
  document.addEventListener('click', event => {
    if (event.defaultPrevented || event.button !== 0) return
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    const link = event.target instanceof Element ? event.target.closest('a') : null
    if (link === null || !isOwnPage(link)) return
    const isSamePage = link.pathname === window.location.pathname && link.search === window.location.search
    if (isSamePage && link.hash !== '') return
    event.preventDefault()
    navigate(link.pathname + link.search + link.hash, { replace: isSamePage })
  })
}
