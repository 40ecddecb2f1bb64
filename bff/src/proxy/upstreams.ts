import type { ExchangeTarget } from '../provider/oidc.ts'

/** One service behind the edge: what a browser may reach, and with which token. */
export type Upstream = UpstreamToken & {
  name: string
  /** The path under which the browser reaches it; forwarded unchanged. */
  prefix: string
  /** Where it listens, e.g. `http://127.0.0.1:3030`. Never taken from a request. */
  origin: string
  /** `api` is called by scripts only and guarded by X-CSRF; `pages` is navigated to, and guarded by where a request comes from. */
  kind: 'api' | 'pages'
  /** ms until an answer begins; 504 beyond. */
  timeout: number
  /** Connections to it, streams apart. */
  connections: number
  /** Bytes of a request body; 413 beyond. */
  bodyLimit: number
}

/** Which token it gets: one made for it alone (RFC 8693), the session's own, or none. */
type UpstreamToken =
  | ({ token: 'exchange' } & ExchangeTarget)
  | { token: 'session' | 'none'; audience?: undefined; scope?: undefined }
