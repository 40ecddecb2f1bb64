export type Route =
  | { name: 'overview' }
  | { name: 'account'; id: string }
  | { name: 'pay' }
  | { name: 'payment'; id: string }
  | { name: 'notifications' }
  | { name: 'security' }
  | { name: 'not-found' }

/** Ids are put into API paths, so nothing but the characters of an id may pass. */
const id = '([A-Za-z0-9_-]{1,64})'

const routes: readonly [RegExp, (id: string) => Route][] = [
  [/^\/$/, () => ({ name: 'overview' })],
  [new RegExp(`^/accounts/${id}$`), id => ({ name: 'account', id })],
  [/^\/pay$/, () => ({ name: 'pay' })],
  [new RegExp(`^/payments/${id}$`), id => ({ name: 'payment', id })],
  [/^\/notifications$/, () => ({ name: 'notifications' })],
  [/^\/security$/, () => ({ name: 'security' })],
]

/** The page of a path; a trailing slash is forgiven. */
export function matchRoute(pathname: string): Route {
  const path = pathname.length > 1 ? pathname.replace(/\/$/, '') : pathname
  for (const [pattern, route] of routes) {
    const match = pattern.exec(path)
    if (match !== null) return route(match[1] ?? '')
  }
  return { name: 'not-found' }
}

/** Where the login starts; the way back keeps the query and the fragment, which no server ever sees otherwise. */
export function loginAddress(location: { pathname: string; search: string; hash: string }): string {
  const { pathname, search, hash } = location
  const back = matchRoute(pathname).name === 'not-found' ? '/' : pathname + search + hash
  return `/oauth2/start?return_to=${encodeURIComponent(back)}`
}
