import type { Logger } from '@banking/telemetry'
import * as client from 'openid-client'
import type { ProviderConfig } from './oidc.ts'
import { asProviderError, ProviderError } from './provider-error.ts'

/** What the provider says about itself, kept current. */
export type Discovery = {
  /**
   * The provider as it was last seen.
   *
   * @param signal ends every call that is made with this configuration
   * @throws ProviderError `unavailable`, or `untrusted` when it is not the provider that is configured
   */
  configuration(signal?: AbortSignal): Promise<client.Configuration>
  /** Tells that a call went wrong: an endpoint may have moved, so the metadata is looked at again before its time. */
  doubt(): void
}

export type DiscoveryOptions = Pick<ProviderConfig, 'issuer' | 'clientId' | 'pushedRequests'> & {
  authenticate: client.ClientAuth
  fetch: client.CustomFetch
  logger: Logger
  now: () => number
}

/** Signature algorithms that an ID token may have. Never `none`, and nothing that a shared secret could sign. */
export const idTokenAlgorithms = ['ES256', 'RS256', 'PS256', 'EdDSA'] as const

/** s; longer than any answer takes, shorter than a person waits. */
const callTimeout = 10
/** s; nothing useful comes later, and the next request asks again. */
const discoveryTimeout = 5
/** s */
export const clockTolerance = 10
/** ms after which the metadata is read again, beside the requests. */
const maxAge = 60 * 60_000
/** ms between two looks beside the requests, whatever goes wrong. */
const minAge = 60_000

/** OpenID Connect Discovery 1.0 §4. The provider may be absent when we start, and may move its endpoints later. */
export function createDiscovery(options: DiscoveryOptions): Discovery {
  const { issuer, clientId, logger, now } = options
  // Configuration allows plain HTTP on loopback only.
  const isInsecure = new URL(issuer).protocol === 'http:'
  let held: { metadata: client.ServerMetadata; configuration: client.Configuration } | undefined
  let readAt = 0
  let attemptedAt = 0
  let flight: Promise<client.Configuration> | undefined

  const build = (metadata: client.ServerMetadata, signal?: AbortSignal): client.Configuration => {
    const configuration = new client.Configuration(
      // Which algorithms are good is for us to say, not for the provider; which of them is the client's, with the signature.
      { ...metadata, id_token_signing_alg_values_supported: [...idTokenAlgorithms] },
      clientId,
      { [client.clockTolerance]: clockTolerance },
      options.authenticate,
    )
    configuration.timeout = callTimeout
    configuration[client.customFetch] = signal === undefined ? options.fetch : until(signal, options.fetch)
    if (isInsecure) client.allowInsecureRequests(configuration)
    return configuration
  }

  const read = (): Promise<client.Configuration> => {
    attemptedAt = now()
    flight ??= discover().finally(() => {
      flight = undefined
    })
    return flight
  }

  async function discover(): Promise<client.Configuration> {
    const found = await client
      // By its whole address, openid-client leaves the issuer to us: what it compares is what URL makes of both.
      .discovery(
        new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`),
        clientId,
        undefined,
        client.None(),
        {
          timeout: discoveryTimeout,
          [client.customFetch]: options.fetch,
          execute: isInsecure ? [client.allowInsecureRequests] : [],
        },
      )
      .catch(error => {
        throw asProviderError(error)
      })
    const metadata = found.serverMetadata()
    assertUsable(metadata, options)
    if (held === undefined) logger.info({ issuer }, 'identity provider discovered')
    else if (JSON.stringify(held.metadata) !== JSON.stringify(metadata))
      logger.info({ issuer }, 'the identity provider has changed its metadata')
    held = { metadata, configuration: build(metadata) }
    readAt = now()
    return held.configuration
  }

  const readBeside = (): void => {
    if (flight !== undefined || now() - attemptedAt < minAge) return
    read().catch(err =>
      logger.warn({ err, issuer }, 'the metadata of the identity provider cannot be read again: the old one is kept'),
    )
  }

  return {
    async configuration(signal) {
      if (held === undefined) await read()
      else if (now() - readAt >= maxAge) readBeside()
      const { metadata, configuration } = held as NonNullable<typeof held>
      signal?.throwIfAborted()
      return signal === undefined ? configuration : build(metadata, signal)
    },
    doubt() {
      if (held !== undefined) readBeside()
    },
  }
}

/** @throws ProviderError saying what is wrong with the provider and what to do about it */
function assertUsable(
  metadata: client.ServerMetadata,
  { issuer, pushedRequests }: Pick<ProviderConfig, 'issuer' | 'pushedRequests'>,
): void {
  if (metadata.issuer !== issuer)
    throw new ProviderError(
      'untrusted',
      `the provider calls itself ${metadata.issuer}, not ${issuer}: configure the issuer exactly as the provider writes it`,
    )
  for (const name of ['authorization_endpoint', 'token_endpoint', 'jwks_uri'] as const)
    if (metadata[name] === undefined)
      throw new ProviderError('untrusted', `the metadata of ${issuer} has no ${name}: it is no OpenID provider`)
  // The other endpoints openid-client checks itself; the keys are fetched without it.
  if (issuer.startsWith('https:') && !metadata.jwks_uri?.startsWith('https:'))
    throw new ProviderError('untrusted', `the provider would have its keys fetched without TLS: ${metadata.jwks_uri}`)
  if (pushedRequests === 'required' && metadata.pushed_authorization_request_endpoint === undefined)
    throw new ProviderError(
      'untrusted',
      'the provider takes no pushed authorization requests: switch them on there, or set pushedRequests to "auto"',
    )
}

/** The same fetch, which ends with `signal` too. */
const until =
  (signal: AbortSignal, request: client.CustomFetch): client.CustomFetch =>
  (url, init) =>
    request(url, { ...init, signal: init.signal === undefined ? signal : AbortSignal.any([init.signal, signal]) })
