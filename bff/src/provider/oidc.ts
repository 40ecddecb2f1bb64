import { createHash, timingSafeEqual } from 'node:crypto'
import type { Logger } from '@banking/telemetry'
import * as client from 'openid-client'
import type { ClientKeys } from './client-keys.ts'

/** Tokens as the provider gave them. Times are epoch ms. */
export type Tokens = {
  accessToken: string
  expiresAt: number
  refreshToken?: string
  idToken?: string
}

/** What the ID token says of the person; the access token is never parsed. */
export type Person = {
  sub: string
  sid?: string
  name: string
  givenName: string
  email?: string
  roles: string[]
  /** Epoch ms of the moment the person proved who they are. */
  authTime: number
}

/** The identity provider as the rest of the BFF knows it. Every call ends within its time limit. */
export type Provider = {
  /** Rejects while the provider cannot be reached or is not who it should be. */
  check(): Promise<void>
  /** Pushes an authorization request (RFC 9126). @returns the address to send the browser to */
  begin(login: { state: string; nonce: string; codeVerifier: string; loginAgain?: boolean }): Promise<string>
  /** Redeems an authorization response, after its `iss` and `state`, and checks the ID token in full. */
  finish(
    response: URLSearchParams,
    login: { state: string; nonce: string; codeVerifier: string },
  ): Promise<{ tokens: Tokens; person: Person }>
  /** Redeems a refresh token; an ID token in the answer must be about the same person. */
  refresh(refreshToken: string, sub: string): Promise<Tokens>
  /** RFC 8693: an access token for one audience, in the name of the person of `accessToken`. */
  exchange(accessToken: string, to: { audience: string; scope?: string }): Promise<{ token: string; expiresAt: number }>
  /** RFC 7009. */
  revoke(refreshToken: string): Promise<void>
  /** OpenID Connect RP-Initiated Logout 1.0; undefined where the provider has no such endpoint. */
  endSessionUrl(idToken: string | undefined, state: string): Promise<string | undefined>
}

/**
 * Why the provider did not give what was asked for:
 * `unavailable` it does not answer, or not usefully · `grant` the code or refresh token is no longer good ·
 * `client` it does not know us, somebody must be told · `refused` it said no, `error` has its word ·
 * `untrusted` it answered with something that we must not believe.
 */
export class ProviderError extends Error {
  readonly kind: 'unavailable' | 'grant' | 'client' | 'refused' | 'untrusted'
  /** The `error` of an OAuth error response. */
  readonly error: string | undefined
  readonly description: string | undefined

  constructor(
    kind: ProviderError['kind'],
    message: string,
    more: { cause?: unknown; error?: string | undefined; description?: string | undefined } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause })
    this.name = 'ProviderError'
    this.kind = kind
    this.error = more.error
    this.description = more.description
  }
}

const algorithm = 'ES256'
/** s; longer than any answer takes, shorter than a person waits. */
const callTimeout = 10
/** s; nothing useful comes later, and the next request asks again. */
const discoveryTimeout = 5
/** s */
const clockTolerance = 10
/** Bytes of any answer of the provider. */
const answerLimit = 512 * 1024
/** ms; what an access token without `expires_in` is believed to live (RFC 6749 §5.1 only recommends the member). */
const assumedLifetime = 60_000

export type ProviderOptions = {
  issuer: string
  clientId: string
  keys: ClientKeys
  /** Our public origin; every address that the provider is told is made from it, never from a request. */
  publicOrigin: string
  scope: string
  logger: Logger
  now?: () => number
  fetch?: typeof fetch
}

/** openid-client behind {@link Provider}. Knows no HTTP server. The provider may be absent when we start. */
export function createProvider(options: ProviderOptions): Provider {
  const { issuer, clientId, keys, publicOrigin, logger } = options
  const now = options.now ?? Date.now
  const redirectUri = `${publicOrigin}/oauth2/callback`
  const boundedFetch = bounded(options.fetch ?? fetch)

  const authenticate: client.ClientAuth = async (server, metadata, body, headers) => {
    const { key, kid } = await keys.signing()
    return client.PrivateKeyJwt({ key, kid })(server, metadata, body, headers)
  }

  let discovering: Promise<client.Configuration> | undefined
  const discovered = (): Promise<client.Configuration> => {
    discovering ??= discover().catch(error => {
      discovering = undefined
      throw error
    })
    return discovering
  }

  async function discover(): Promise<client.Configuration> {
    const insecure = new URL(issuer).protocol === 'http:'
    const config = await client.discovery(
      new URL(issuer),
      clientId,
      { id_token_signed_response_alg: algorithm, [client.clockTolerance]: clockTolerance },
      authenticate,
      {
        algorithm: 'oidc',
        timeout: discoveryTimeout,
        [client.customFetch]: boundedFetch,
        // Configuration allows plain HTTP on loopback only.
        execute: [client.enableNonRepudiationChecks, ...(insecure ? [client.allowInsecureRequests] : [])],
      },
    )
    const metadata = config.serverMetadata()
    // openid-client compares what URL makes of both: a slash at the end would pass.
    if (metadata.issuer !== issuer)
      throw new ProviderError('untrusted', `the provider calls itself ${metadata.issuer}, not ${issuer}`)
    if (metadata.pushed_authorization_request_endpoint === undefined)
      throw new ProviderError('untrusted', 'the provider takes no pushed authorization requests')
    config.timeout = callTimeout
    logger.info({ issuer }, 'identity provider discovered')
    return config
  }

  /** Any failure of a call as a {@link ProviderError}. */
  async function asking<T>(work: (config: client.Configuration) => Promise<T>): Promise<T> {
    try {
      return await work(await discovered())
    } catch (error) {
      const failure = asProviderError(error)
      if (failure.kind === 'client')
        logger.error({ alert: 'client_refused', error: failure.error }, 'the identity provider refuses our client')
      throw failure
    }
  }

  const asTokens = (answer: client.TokenEndpointResponse, asked: number): Tokens => ({
    accessToken: answer.access_token,
    expiresAt: asked + (answer.expires_in === undefined ? assumedLifetime : answer.expires_in * 1000),
    ...(answer.refresh_token === undefined ? {} : { refreshToken: answer.refresh_token }),
    ...(answer.id_token === undefined ? {} : { idToken: answer.id_token }),
  })

  return {
    check: () => asking(async () => undefined),

    begin: ({ state, nonce, codeVerifier, loginAgain }) =>
      asking(async config => {
        const address = await client.buildAuthorizationUrlWithPAR(config, {
          redirect_uri: redirectUri,
          scope: options.scope,
          state,
          nonce,
          code_challenge: await client.calculatePKCECodeChallenge(codeVerifier),
          code_challenge_method: 'S256',
          ...(loginAgain === true ? { prompt: 'login' } : {}),
        })
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
        assertTokenHash(claims.at_hash, answer.access_token)
        return { tokens: asTokens(answer, asked), person: personOf(claims, asked) }
      }),

    refresh: (refreshToken, sub) =>
      asking(async config => {
        const asked = now()
        const answer = await client.refreshTokenGrant(config, refreshToken)
        const claims = answer.claims()
        // Core §12.2; openid-client compares issuer and audience, not the person.
        if (claims !== undefined && claims.sub !== sub)
          throw new ProviderError('grant', 'the refreshed ID token is about somebody else')
        if (claims !== undefined) assertTokenHash(claims.at_hash, answer.access_token)
        return asTokens(answer, asked)
      }),

    exchange: (accessToken, { audience, scope }) =>
      asking(async config => {
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
        return { token: answer.access_token, expiresAt: asTokens(answer, asked).expiresAt }
      }),

    revoke: refreshToken =>
      asking(config => client.tokenRevocation(config, refreshToken, { token_type_hint: 'refresh_token' })),

    endSessionUrl: (idToken, state) =>
      asking(async config => {
        if (config.serverMetadata().end_session_endpoint === undefined) return undefined
        return client.buildEndSessionUrl(config, {
          post_logout_redirect_uri: `${publicOrigin}/`,
          state,
          ...(idToken === undefined ? {} : { id_token_hint: idToken }),
        }).href
      }),
  }
}

export const newNonce = (): string => client.randomNonce()
export const newCodeVerifier = (): string => client.randomPKCECodeVerifier()

/** fetch with a bound on the answer; network errors and "not now" answers become `unavailable`. */
function bounded(request: typeof fetch): client.CustomFetch {
  return async (url, init) => {
    let response: Response
    let body: Uint8Array<ArrayBuffer>
    try {
      response = await request(url, init as RequestInit)
      body = await read(response)
    } catch (cause) {
      if (cause instanceof ProviderError) throw cause
      throw new ProviderError('unavailable', 'the identity provider cannot be reached', { cause })
    }
    if (response.status >= 500 || response.status === 429)
      throw new ProviderError('unavailable', `the identity provider answered ${response.status}`)
    const bodiless = response.status === 204 || response.status === 304
    return new Response(bodiless ? null : body, { status: response.status, headers: response.headers })
  }
}

async function read(response: Response): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > answerLimit) throw new ProviderError('untrusted', 'the answer of the identity provider is too large')
    chunks.push(chunk)
  }
  const body = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    body.set(chunk, at)
    at += chunk.length
  }
  return body
}

function asProviderError(error: unknown): ProviderError {
  for (let cause = error; cause instanceof Error; cause = cause.cause) if (cause instanceof ProviderError) return cause
  if (error instanceof client.ResponseBodyError || error instanceof client.AuthorizationResponseError) {
    const kind =
      error.error === 'invalid_grant'
        ? 'grant'
        : error.error === 'invalid_client' || error.error === 'unauthorized_client'
          ? 'client'
          : 'refused'
    return new ProviderError(kind, `the identity provider answered ${error.error}`, {
      error: error.error,
      description: error.error_description,
    })
  }
  if (error instanceof client.WWWAuthenticateChallengeError)
    return new ProviderError('client', 'the identity provider does not accept our authentication', { cause: error })
  const code = error instanceof client.ClientError ? error.code : undefined
  if (code === 'OAUTH_TIMEOUT' || code === 'OAUTH_ABORT')
    return new ProviderError('unavailable', 'the identity provider took too long', { cause: error })
  return new ProviderError('untrusted', 'the answer of the identity provider is not acceptable', { cause: error })
}

/** Core §3.1.3.8: the left half of the access token's hash, when it is there. */
function assertTokenHash(hash: unknown, accessToken: string): void {
  if (hash === undefined) return
  const expected = Buffer.from(createHash('sha256').update(accessToken).digest().subarray(0, 16).toString('base64url'))
  const given = Buffer.from(String(hash))
  if (given.length !== expected.length || !timingSafeEqual(given, expected))
    throw new ProviderError('untrusted', 'the ID token belongs to another access token')
}

function personOf(claims: client.IDToken, asked: number): Person {
  // Core §2: at most 255 characters; it becomes the name of a customer everywhere.
  if (claims.sub === '' || claims.sub.length > 255) throw new ProviderError('untrusted', 'the subject is not usable')
  const text = (claim: unknown): string | undefined => (typeof claim === 'string' && claim !== '' ? claim : undefined)
  const realmRoles = (claims.realm_access as { roles?: unknown } | undefined)?.roles ?? claims.roles
  const name = text(claims.name) ?? text(claims.preferred_username) ?? claims.sub
  const sid = text(claims.sid)
  const email = text(claims.email)
  return {
    sub: claims.sub,
    name,
    givenName: text(claims.given_name) ?? name,
    roles: Array.isArray(realmRoles) ? realmRoles.filter(role => typeof role === 'string') : [],
    authTime: typeof claims.auth_time === 'number' ? claims.auth_time * 1000 : asked,
    ...(sid === undefined ? {} : { sid }),
    ...(email === undefined ? {} : { email }),
  }
}
