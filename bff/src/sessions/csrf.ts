import type { IncomingHttpHeaders } from 'node:http'

const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD'])

/** Whether a method only reads (RFC 9110 §9.2.1). */
export const isSafe = (method: string): boolean => safeMethods.has(method)

/**
 * Whether a request was made by a script of our own page. Three independent signs: the static header (a cross-site
 * page cannot send it without a CORS preflight, which nobody is granted), Fetch Metadata, and Origin. A same-origin
 * GET carries no Origin, so that one is asked for only where it is always sent.
 *
 * @param origin our public origin
 */
export function isFromOwnScript(method: string, headers: IncomingHttpHeaders, origin: string): boolean {
  return headers['x-csrf'] === '1' && isFromOwnPage(method, headers, origin)
}

/** The same without the static header: what a form of our own page can send. */
export function isFromOwnPage(method: string, headers: IncomingHttpHeaders, origin: string): boolean {
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin') return false
  if (headers.origin !== undefined) return headers.origin === origin
  return isSafe(method) || site === 'same-origin'
}

/**
 * The rule for pages and their forms, which can send no header of ours: what changes something comes from our own page,
 * what reads is our own page's or a person's visit. Nothing is loaded into a page of another site.
 */
export function isForOwnPage(method: string, headers: IncomingHttpHeaders, origin: string): boolean {
  if (!isSafe(method)) return isFromOwnPage(method, headers, origin)
  return !isFromAnotherSite(headers) || isNavigation(method, headers)
}

/** Whether a browser says that another site had this request made. A program that is no browser says nothing of sites. */
export function isFromAnotherSite(headers: IncomingHttpHeaders): boolean {
  const site = headers['sec-fetch-site']
  return site === 'cross-site' || site === 'same-site'
}

/** Whether a person, not a script, asked: a browser's navigation of a whole page. */
export function isNavigation(method: string, headers: IncomingHttpHeaders): boolean {
  const mode = headers['sec-fetch-mode']
  if (mode !== undefined) return mode === 'navigate' && (headers['sec-fetch-dest'] ?? 'document') === 'document'
  if (headers['x-csrf'] !== undefined || headers['x-requested-with'] !== undefined) return false
  return isSafe(method) && (headers.accept ?? '').includes('text/html')
}
