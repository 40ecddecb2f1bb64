import type { StreamLimits } from '../admission/limits.ts'
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
  /** Answers that stay open without an end in sight. */
  streams: StreamLimits & {
    /** Where they are asked for, below `prefix`; `:id` stands for one segment. */
    paths: readonly string[]
  }
  /** Bytes of a request body; 413 beyond. */
  bodyLimit: number
  /** Names, in lower case, of request header fields that pass beside those of its kind. */
  requestHeaders: readonly string[]
  /** Whether it is told the client's address and the public origin. */
  forwarded: boolean
  /** Which Host it is asked for; see {@link byKind}. */
  host?: 'public' | 'upstream'
  /** Whose security header fields count on its answers; see {@link byKind}. */
  securityHeaders?: 'edge' | 'application'
}

/** What holds for an upstream of which nothing else is said. */
export const byKind: Readonly<Record<Upstream['kind'], Required<Pick<Upstream, 'host' | 'securityHeaders'>>>> = {
  api: { host: 'upstream', securityHeaders: 'edge' },
  pages: { host: 'public', securityHeaders: 'application' },
}

/** Which token it gets: one made for it alone (RFC 8693), the session's own, or none. */
type UpstreamToken =
  | ({ token: 'exchange' } & ExchangeTarget)
  | { token: 'session' | 'none'; audience?: undefined; scope?: undefined }
