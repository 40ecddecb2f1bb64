import { createHash, timingSafeEqual } from 'node:crypto'
import type { Logger } from '@banking/telemetry'
import { compactVerify, decodeProtectedHeader } from 'jose'
import * as client from 'openid-client'
import { boundedFetch } from './bounded-fetch.ts'
import type { ClientAuthentication, ClientCredential } from './client-authentication.ts'
import { createDiscovery, type idTokenAlgorithms } from './discovery.ts'
import { type LogoutToken, readLogoutToken } from './logout-token.ts'
import { type Person, personOf, renewedPerson } from './person.ts'
import { asProviderError, ProviderError } from './provider-error.ts'
import { createProviderKeys } from './provider-keys.ts'

export { idTokenAlgorithms } from './discovery.ts'
export type { Person } from './person.ts'
export { ProviderError } from './provider-error.ts'

/** Tokens as the provider gave them. Times are epoch ms. */
export type Tokens = {
  accessToken: string
  expiresAt: number
  refreshToken?: string
  idToken?: string
}

/** The `aud` and scope of a token that opens one service alone. */
export type ExchangeTarget = { audience: string; scope?: string }

/** The identity provider as the rest of the BFF knows it. Every call ends within its time limit. */
export type Provider = {
  /** Rejects while the provider cannot be reached or is not who it should be. */
  check(): Promise<void>
  /** Where the provider's keys are, as its metadata says. */
  jwksUri(): Promise<string>
  /** Makes an authorization request, pushed (RFC 9126) where that is configured. @returns the address to send the browser to */
  begin(login: { state: string; nonce: string; codeVerifier: string; loginAgain?: boolean }): Promise<string>
  /** Redeems an authorization response, after its `iss` and `state`, and checks the ID token in full. */
  finish(
    response: URLSearchParams,
    login: { state: string; nonce: string; codeVerifier: string },
  ): Promise<{ tokens: Tokens; person: Person }>
  /**
   * Redeems a refresh token; an ID token in the answer must be about the same person, and replaces what was known of
   * them.
   *
   * @param signal ends the call, e.g. when somebody else has taken it over
   */
  refresh(refreshToken: string, person: Person, signal?: AbortSignal): Promise<{ tokens: Tokens; person: Person }>
  /**
   * RFC 8693: an access token for one audience and scope, in the name of the person of `accessToken`. Whoever asks tells
   * of a refusal.
   */
  exchange(accessToken: string, to: ExchangeTarget): Promise<{ token: string; expiresAt: number }>
  /** RFC 7009; nothing where the provider has no such endpoint. */
  revoke(refreshToken: string): Promise<void>
  /** OpenID Connect RP-Initiated Logout 1.0; undefined where the provider has no such endpoint. */
  endSessionUrl(idToken: string | undefined, state: string): Promise<string | undefined>
  /**
   * Checks a logout token in full but for whether its `jti` was seen before (OpenID Connect Back-Channel Logout 1.0 §2.6).
   *
   * @throws ProviderError `untrusted` when it must not be believed, `unavailable` when nobody can tell
   */
  logoutToken(token: string): Promise<LogoutToken>
}

type IdTokenAlgorithm = (typeof idTokenAlgorithms)[number]

/** The provider as it is configured. */
export type ProviderConfig = {
  /** Compared character by character, a slash at the end included. */
  issuer: string
  clientId: string
  credential: ClientCredential
  scope: string
  /** Whether authorization requests are pushed: `auto` where the provider offers it. */
  pushedRequests: 'auto' | 'required' | 'never'
  /** The algorithms that the client is registered for, of ID and logout tokens; the provider's other keys say nothing. */
  idTokenAlgorithms: readonly IdTokenAlgorithm[]
  /** Where a login says which roles the person has; dots lead into objects. */
  rolesClaim: string
  /** Whether the userinfo endpoint is asked when the ID token has no `name`. */
  userinfo: boolean
  /** ms that an access token is believed to live when the provider does not say `expires_in`. */
  assumedLifetime: number
  /** `any` also takes logout tokens without `typ` or with `JWT`, for providers that know no better. */
  logoutTokenType: 'logout+jwt' | 'any'
}

/** What suits most providers; the rest has no default. */
export const providerDefaults = {
  scope: 'openid',
  pushedRequests: 'auto',
  // OpenID Connect Registration §2: what `id_token_signed_response_alg` is when nobody says.
  idTokenAlgorithms: ['RS256'],
  rolesClaim: 'realm_access.roles',
  userinfo: false,
  assumedLifetime: 5 * 60_000,
  logoutTokenType: 'logout+jwt',
} as const satisfies Partial<ProviderConfig>

export type ProviderOptions = ProviderConfig & {
  authentication: ClientAuthentication
  /** Our public origin; every address that the provider is told is made from it, never from a request. */
  publicOrigin: string
  logger: Logger
  now?: () => number
  fetch?: typeof fetch
}

/** What an access token is made of (RFC 6749 §A.12), less the space: it becomes a part of a header field. */
const visible = /^[\x21-\x7e]+$/
/** ms; an access token that is said to live longer is renewed after this time. */
const longestLifetime = 24 * 60 * 60_000
/** ms; between two fetches of the keys for the sake of logout tokens, which anybody may send. */
const logoutTokenCooldown = 30_000

/** openid-client behind {@link Provider}. Knows no HTTP server. The provider may be absent when we start. */
export function createProvider(options: ProviderOptions): Provider {
  const { clientId, publicOrigin, logger } = options
  const now = options.now ?? Date.now
  const redirectUri = `${publicOrigin}/oauth2/callback`
  const request = boundedFetch(options.fetch ?? fetch)
  const discovery = createDiscovery({
    ...options,
    authenticate: options.authentication.authenticate,
    fetch: request,
    now,
  })
  const keys = createProviderKeys({
    url: async () => (await discovery.configuration()).serverMetadata().jwks_uri as string,
    fetch: request,
    logger,
    now,
  })

  /**
   * Any failure of a call as a {@link ProviderError}.
   *
   * @param signal ends the call
   * @param isTold whether whoever asks tells of a refused client: it may be about the target of an exchange
   */
  async function asking<T>(
    work: (config: client.Configuration) => Promise<T>,
    { signal, isTold = false }: { signal?: AbortSignal | undefined; isTold?: boolean } = {},
  ): Promise<T> {
    try {
      return await work(await discovery.configuration(signal))
    } catch (error) {
      if (signal?.aborted)
        throw new ProviderError('unavailable', 'the call was ended before its answer', { cause: error })
      const failure = asProviderError(error)
      if (failure.kind === 'client' && !isTold)
        logger.error(
          { alert: 'client_refused', error: failure.error, clientId, method: options.credential.method },
          'the identity provider refuses our client: compare client id, authentication method and key or secret with what it has',
        )
      if (failure.kind === 'unavailable' || failure.kind === 'untrusted') discovery.doubt()
      throw failure
    }
  }

  const asTokens = (answer: client.TokenEndpointResponse, asked: number): Tokens => {
    if (!visible.test(answer.access_token))
      throw new ProviderError('untrusted', 'the access token has characters that no token has')
    const { expires_in } = answer
    const lifetime = expires_in === undefined ? options.assumedLifetime : Math.min(expires_in * 1000, longestLifetime)
    return {
      accessToken: answer.access_token,
      expiresAt: asked + lifetime,
      ...(answer.refresh_token === undefined ? {} : { refreshToken: answer.refresh_token }),
      ...(answer.id_token === undefined ? {} : { idToken: answer.id_token }),
    }
  }

  /** The signature, which openid-client leaves to TLS, and the hash of the access token (Core §3.1.3.7-8). */
  async function assertSigned(answer: client.TokenEndpointResponse, atHash: unknown): Promise<void> {
    const algorithms = [...options.idTokenAlgorithms]
    const { alg = 'none' } = decodeProtectedHeader(answer.id_token as string)
    if (!(algorithms as string[]).includes(alg)) {
      logger.error({ alg, expected: algorithms }, 'the ID token is signed by another algorithm: see idTokenAlgorithms')
      throw new ProviderError('untrusted', `the ID token is signed with ${alg}, not ${algorithms.join(' or ')}`)
    }
    const { protectedHeader } = await keys.verify(
      find => compactVerify(answer.id_token as string, find, { algorithms }),
      0,
    )
    assertTokenHash(atHash, answer.access_token, protectedHeader.alg)
  }

  return {
    check: () => asking(async () => undefined),

    jwksUri: () => asking(async config => config.serverMetadata().jwks_uri as string),

    begin: ({ state, nonce, codeVerifier, loginAgain }) =>
      asking(async config => {
        const parameters = {
          redirect_uri: redirectUri,
          scope: options.scope,
          state,
          nonce,
          // Also where the metadata does not mention it: who does not know it ignores it.
          code_challenge: await client.calculatePKCECodeChallenge(codeVerifier),
          code_challenge_method: 'S256',
          ...(loginAgain === true ? { prompt: 'login' } : {}),
        }
        const isPushed =
          options.pushedRequests !== 'never' &&
          config.serverMetadata().pushed_authorization_request_endpoint !== undefined
        const address = isPushed
          ? await client.buildAuthorizationUrlWithPAR(config, parameters)
          : client.buildAuthorizationUrl(config, parameters)
        return address.href
      }),

    finish: (response, { state, nonce, codeVerifier }) =>
      asking(async config => {
        const address = new URL(redirectUri)
        address.search = response.toString()
        const asked = now()
        const answer = await client.authorizationCodeGrant(config, address, {
          expectedState: state,
          expectedNonce: nonce,
          pkceCodeVerifier: codeVerifier,
          idTokenExpected: true,
        })
        const claims = answer.claims()
        if (claims === undefined) throw new ProviderError('untrusted', 'there is no ID token')
        await assertSigned(answer, claims.at_hash)
        // The library compares `sub`: another person's userinfo is none (Core §5.3.2).
        const more =
          options.userinfo && claims['name'] === undefined
            ? await client.fetchUserInfo(config, answer.access_token, claims.sub)
            : {}
        return {
          tokens: asTokens(answer, asked),
          person: personOf({ ...more, ...claims }, options.rolesClaim, asked),
        }
      }),

    refresh: (refreshToken, person, signal) =>
      asking(
        async config => {
          const asked = now()
          const answer = await client.refreshTokenGrant(config, refreshToken)
          const claims = answer.claims()
          if (claims === undefined) return { tokens: asTokens(answer, asked), person }
          // Core §12.2; openid-client compares issuer and audience, not the person.
          if (claims.sub !== person.sub)
            throw new ProviderError('grant', 'the refreshed ID token is about somebody else')
          try {
            await assertSigned(answer, claims.at_hash)
          } catch (err) {
            if (!(err instanceof ProviderError) || err.kind !== 'unavailable') throw err
            // The refresh token may be used up: keys that cannot be had must not cost the session. The ID token, which
            // came from the provider itself by TLS (Core §3.1.3.7-6), says nothing new and is not kept.
            logger.warn({ err }, 'a refreshed ID token could not be verified: it is dropped')
            const { idToken: _, ...tokens } = asTokens(answer, asked)
            return { tokens, person }
          }
          const hasRoles = !options.userinfo || claims['name'] !== undefined
          return {
            tokens: asTokens(answer, asked),
            person: renewedPerson(person, claims, options.rolesClaim, hasRoles),
          }
        },
        { signal },
      ),

    exchange: (accessToken, { audience, scope }) =>
      asking(
        async config => {
          const asked = now()
          const answer = await client.genericGrantRequest(config, 'urn:ietf:params:oauth:grant-type:token-exchange', {
            subject_token: accessToken,
            subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
            requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
            audience,
            ...(scope === undefined ? {} : { scope }),
          })
          if (answer.issued_token_type !== 'urn:ietf:params:oauth:token-type:access_token')
            throw new ProviderError('untrusted', 'the exchange gave another type of token than was asked for')
          const { accessToken: token, expiresAt } = asTokens(answer, asked)
          return { token, expiresAt }
        },
        { isTold: true },
      ),

    revoke: refreshToken =>
      asking(async config => {
        if (config.serverMetadata().revocation_endpoint === undefined) return
        await client.tokenRevocation(config, refreshToken, { token_type_hint: 'refresh_token' })
      }),

    endSessionUrl: (idToken, state) =>
      asking(async config => {
        if (config.serverMetadata().end_session_endpoint === undefined) return undefined
        return client.buildEndSessionUrl(config, {
          post_logout_redirect_uri: `${publicOrigin}/oauth2/signed_out`,
          state,
          ...(idToken === undefined ? {} : { id_token_hint: idToken }),
        }).href
      }),

    logoutToken: token =>
      keys
        .verify(find => readLogoutToken(token, find, { ...options, now: now() }), logoutTokenCooldown)
        .catch(error => {
          throw error instanceof ProviderError
            ? error
            : // Not as its cause: jose's errors hold the claims.
              new ProviderError('untrusted', `the logout token is refused: ${(error as Error).message}`)
        }),
  }
}

export const newNonce = (): string => client.randomNonce()
export const newCodeVerifier = (): string => client.randomPKCECodeVerifier()

/** Core §3.1.3.8: the left half of the access token's hash, when it is there. */
function assertTokenHash(hash: unknown, accessToken: string, alg: string): void {
  if (hash === undefined) return
  const digest = createHash(alg === 'EdDSA' ? 'sha512' : 'sha256')
    .update(accessToken)
    .digest()
  const expected = Buffer.from(digest.subarray(0, digest.length / 2).toString('base64url'))
  const given = Buffer.from(String(hash))
  if (given.length !== expected.length || !timingSafeEqual(given, expected))
    throw new ProviderError('untrusted', 'the ID token belongs to another access token')
}
