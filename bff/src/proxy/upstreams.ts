import { type AppName, app, audienceOf, scopeOf } from '@banking/contracts'

/** One service behind the edge: what a browser may reach, and with which token. */
export type Upstream = {
  name: string
  /** The path under which the browser reaches it; forwarded unchanged. */
  prefix: string
  /** Where it listens, e.g. `http://127.0.0.1:3030`. Never taken from a request. */
  origin: string
  /** Its token's `aud` and scope: the session's token is exchanged for one that opens this service alone. */
  audience: string
  scope: string
}

/** The bank's services that have a browser path, by the addresses of the configuration. */
export function bankUpstreams(origins: Readonly<Partial<Record<AppName, string>>>): Upstream[] {
  return Object.entries(origins).map(([name, origin]) => ({
    name,
    prefix: app(name as AppName).path,
    origin,
    audience: audienceOf(name as AppName),
    scope: scopeOf(name as AppName),
  }))
}
