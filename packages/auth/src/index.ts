import { Problem, webClient } from '@banking/contracts'
import type { Logger, Metrics } from '@banking/telemetry'
import fastifyJwt, { type TokenOrHeader } from '@fastify/jwt'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type Access, authorize, requireAccess } from './access.ts'
import { bearerToken, invalid } from './bearer.ts'
import { createTokenCache } from './cache.ts'
import { checkHeader, type Principal, type Rules, readPrincipal, type TokenType } from './claims.ts'
import { decodeToken } from './jws.ts'
import { createKeys, type Fetch } from './keys.ts'

export { type Access, type RouteAccess, routeAccess } from './access.ts'
export type { Principal, TokenType } from './claims.ts'
export type { Fetch } from './keys.ts'
export { isSoundKey } from './sound-key.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call this route. A route without it is refused at start. */
    access?: Access
  }
}

declare module '@fastify/jwt' {
  interface FastifyJWT {
    /** `request.user`: set before any handler, except on a `public` route, where it is null. */
    user: Principal
  }
}

/** Signature algorithms that an access token may have: none that a shared secret could sign. */
export const algorithms = ['ES256', 'ES384', 'EdDSA', 'PS256', 'RS256'] as const
export type Algorithm = (typeof algorithms)[number]

export type AuthOptions = {
  /** The `iss` of tokens, compared as it stands. */
  issuer: string
  /** The one `aud` of tokens for this service, e.g. `payment-service`. */
  audience: string
  logger: Logger
  metrics: Metrics
  /** Clients that may hold a person's token for this service: the BFF, and services that call on a person's behalf. */
  clients?: readonly string[]
  algorithms?: readonly Algorithm[]
  /** The `typ` of tokens: RFC 9068's by default, or `JWT` (or none) of a provider that does not follow it. */
  tokenType?: TokenType
  /** The claim that names the client; by default `azp` or `client_id`, which must agree. */
  clientClaim?: string
  /** Whether claims say `typ: Bearer`, as Keycloak's do. True by default; else one that is there must still say so. */
  kindClaim?: boolean
  /** Seconds between `iat` and `exp` beyond which a token is refused; an hour by default. */
  maxLifetime?: number
  /** Where the keys are, or who knows it; by default where Keycloak has them. Never taken from a token. */
  jwksUrl?: string | (() => Promise<string>)
  /** Epoch ms. */
  now?: () => number
  fetch?: Fetch
}

/** ms that a verified token is believed without verifying it again. */
const cacheTime = 60_000

/**
 * Verifies the bearer token of every request and enforces what each route states in `config.access`. Register it
 * before the routes, at the root.
 *
 * Refusals: 401 `token_missing`, 401 `token_invalid`, 400 `authorization_malformed`, 403 `scope_insufficient`, 403
 * `role_missing`, 403 `purpose_missing`, 503 `keys_unavailable`; each with its challenge (RFC 6750 §3).
 *
 * @example
 * await app.register(auth, { issuer, audience: 'payment-service', logger, metrics })
 * app.get('/api/payments/:id', { config: { access: { roles: ['customer'], scope: 'payment-api' } } }, handler)
 */
export default fp<AuthOptions>(
  async (app: FastifyInstance, options: AuthOptions) => {
    const { issuer, logger, metrics, algorithms = ['ES256'], tokenType = 'at+jwt', now = Date.now } = options
    const rules: Rules = {
      issuer,
      audience: options.audience,
      algorithms: new Set(algorithms),
      clients: new Set(options.clients ?? [webClient]),
      tokenType,
      clientClaim: options.clientClaim,
      kindClaim: options.kindClaim ?? true,
      maxLifetime: options.maxLifetime ?? 3600,
    }
    const url = options.jwksUrl ?? `${issuer}/protocol/openid-connect/certs`
    const keys = createKeys({ issuer, url, algorithms, logger, metrics, now, fetch: options.fetch })
    const cache = createTokenCache()
    const tokens = metrics.counter('auth_tokens_total', 'Bearer tokens by what became of them.', ['outcome'])
    const cached = tokens.labels({ outcome: 'cached' })

    /** For @fastify/jwt, which calls it with the token it decoded. */
    async function publicKey(_request: FastifyRequest, token: TokenOrHeader): Promise<string> {
      const { kid, alg } = (token as { header: { kid: string; alg: string } }).header
      const pem = await keys.find(kid, alg)
      if (pem === undefined) throw invalid('unknown key')
      return pem
    }

    await app.register(fastifyJwt, {
      // No private key: this app verifies tokens and can sign none.
      secret: { public: publicKey },
      decode: { complete: true },
      verify: {
        algorithms: [...algorithms],
        allowedIss: issuer,
        allowedAud: options.audience,
        ...(tokenType === 'at+jwt' ? { checkTyp: tokenType } : {}),
        requiredClaims: ['iss', 'aud', 'sub', 'exp', 'iat'],
        // Times are checked with our clock and strict types (claims.ts): here a large `nbf` is a RangeError.
        ignoreExpiration: true,
        ignoreNotBefore: true,
        cache: false,
      },
    })

    /** Cheap refusals first, the signature last: garbage costs no elliptic curve and no fetch. */
    async function verify(request: FastifyRequest, token: string): Promise<Principal> {
      const decoded = decodeToken(token)
      if (decoded === undefined) throw invalid('malformed')
      checkHeader(decoded.header, rules)
      const principal = readPrincipal(decoded.claims, rules, Math.floor(now() / 1000))
      const generation = keys.generation()
      await request.jwtVerify().catch((error: unknown) => {
        // Whatever the library says, and it says 500 to much of it: a token that does not verify is a 401.
        throw error instanceof Problem ? error : invalid('signature')
      })
      const until = Math.min(principal.expiresAt * 1000, now() + cacheTime, keys.freshUntil())
      cache.set(token, { principal, until, generation })
      return principal
    }

    async function authenticate(request: FastifyRequest): Promise<Principal> {
      const token = bearerToken(request.raw.rawHeaders)
      const known = cache.get(token, now(), keys.generation())
      if (known !== undefined) {
        cached.inc()
        return known
      }
      const principal = await verify(request, token)
      tokens.inc({ outcome: 'verified' })
      return principal
    }

    requireAccess(app)
    app.addHook('onRequest', async request => {
      // What does not exist needs no token, and says no more than that.
      if (request.is404) return
      const { access } = request.routeOptions.config
      if (access === 'public') return
      // Only a route that was there before this plugin can get here.
      if (access === undefined) throw new Error(`${request.routeOptions.url} was registered before @banking/auth`)
      try {
        request.user = await authenticate(request)
      } catch (error) {
        if (error instanceof Problem) {
          tokens.inc({ outcome: error.code })
          request.log.info({ problem: error.code, reason: error.cause }, 'token refused')
        }
        throw error
      }
      authorize(access, request.user, request.headers['x-purpose'])
    })
    app.addHook('onClose', () => keys.close())
  },
  { name: '@banking/auth', fastify: '5.x' },
)
