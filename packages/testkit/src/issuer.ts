import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type AppName, audienceOf, type Role, scopeOf, webClient } from '@banking/contracts'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { Test } from 'tap'

type TokenClaims = {
  /** The person, or with `client` alone the service account. */
  sub?: string
  roles?: readonly Role[]
  /** The service that the token is for. */
  service: AppName
  scope?: string
  /** Client id of a service that acts for itself: such a token has no session. */
  client?: string
  /** Claims and header parameters to add or, when undefined, to leave out. */
  claims?: Record<string, unknown>
  header?: Record<string, unknown>
  lifetimeSeconds?: number
}

/** A stand-in for the identity provider: it signs access tokens shaped like Keycloak's and serves its keys over HTTP. */
export type TestIssuer = {
  issuer: string
  token(options: TokenClaims): Promise<string>
  /** How often the keys were fetched. */
  fetches(): number
}

/** Starts an issuer on a free port of the loopback interface; it ends with the test. */
export async function testIssuer(t: Test): Promise<TestIssuer> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const kid = randomUUID()
  const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' }] })
  let fetches = 0
  const server = createServer((request, response) => {
    if (request.url !== '/realms/banking/protocol/openid-connect/certs') return response.writeHead(404).end()
    fetches += 1
    return response.writeHead(200, { 'content-type': 'application/json' }).end(keys)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}/realms/banking`
  return {
    issuer,
    fetches: () => fetches,
    token: async options => {
      const person = options.client === undefined
      const now = Math.floor(Date.now() / 1000)
      const claims = {
        typ: 'Bearer',
        azp: options.client ?? webClient,
        scope: options.scope ?? scopeOf(options.service),
        realm_access: { roles: options.roles ?? (person ? ['customer'] : []) },
        ...(person ? { sid: randomUUID(), acr: '1', auth_time: now } : { client_id: options.client }),
        ...options.claims,
      }
      return new SignJWT(claims)
        .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid, ...options.header })
        .setIssuer(issuer)
        .setSubject(options.sub ?? randomUUID())
        .setAudience(audienceOf(options.service))
        .setJti(`onrtac:${randomUUID()}`)
        .setIssuedAt(now)
        .setExpirationTime(now + (options.lifetimeSeconds ?? 300))
        .sign(privateKey)
    },
  }
}
