import * as client from 'openid-client'

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

/** Any failure of a call of openid-client. */
export function asProviderError(error: unknown): ProviderError {
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
