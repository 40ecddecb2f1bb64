import { createHmac, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import { createServer as createApp, type Server } from '@banking/http'
import { createLogger, createMetrics } from '@banking/telemetry'
import type { Test } from 'tap'
import auth, { type AuthOptions } from '../src/index.ts'

export type KeyPair = { publicKey: KeyObject; privateKey: KeyObject }
export type Claims = Record<string, unknown>

export const ecPair = (namedCurve = 'P-256'): KeyPair => generateKeyPairSync('ec', { namedCurve })
export const rsaPair = (modulusLength = 2048, publicExponent = 65_537): KeyPair =>
  generateKeyPairSync('rsa', { modulusLength, publicExponent })

export const publicJwk = (pair: KeyPair, members: Record<string, unknown>): Record<string, unknown> => ({
  ...pair.publicKey.export({ format: 'jwk' }),
  use: 'sig',
  ...members,
})

export const base64url = (value: unknown): string =>
  Buffer.from(
    typeof value === 'string' || value instanceof Uint8Array ? (value as string) : JSON.stringify(value),
  ).toString('base64url')

/** Signs anything, however wrong: text and bytes are taken as they stand, other values as JSON. */
export function mint(header: unknown, claims: unknown, key: KeyObject | ((input: string) => Buffer)): string {
  const input = `${base64url(header)}.${base64url(claims)}`
  const signature =
    typeof key === 'function' ? key(input) : sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}

export const hmac =
  (secret: string | Buffer, hash = 'sha256') =>
  (input: string): Buffer =>
    createHmac(hash, secret).update(input).digest()

type Answer = (request: IncomingMessage, response: ServerResponse) => void

/**
 * An issuer over real HTTP whose key set can be anything, on a port of its own. Every address but the key set's counts
 * as bait: nothing may ever go there.
 */
export async function hostileIssuer(t: Test) {
  const pair = ecPair()
  let fetches = 0
  let baited = 0
  let answer: Answer = (_request, response) => json(response, { keys: issuer.keys })
  const server = createServer((request, response) => {
    if (request.url === '/realms/banking/protocol/openid-connect/certs') {
      fetches += 1
      answer(request, response)
    } else {
      baited += 1
      json(response, { keys: [publicJwk(pair, { kid: 'good', alg: 'ES256' })] })
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const url = `${origin}/realms/banking`
  const issuer = {
    origin,
    url,
    pair,
    keys: [publicJwk(pair, { kid: 'good', alg: 'ES256' })] as unknown[],
    fetches: () => fetches,
    baited: () => baited,
    /** How the next fetches of the key set are answered. */
    answers: (next: Answer) => {
      answer = next
    },
    header: (members: Claims = {}): Claims => ({ alg: 'ES256', typ: 'at+jwt', kid: 'good', ...members }),
    /** A customer's token for `payment-service`, as Keycloak writes it; undefined leaves a claim out. */
    claims: (members: Claims = {}, now = Date.now()): Claims => ({
      iss: url,
      aud: 'payment-service',
      sub: '6a1cf1f5-6a0c-4a86-8a6f-3d3f4d1a0001',
      typ: 'Bearer',
      azp: 'banking-web-app',
      client_id: 'banking-web-app',
      sid: 'zRAS4--ZC-WAi64GKnv8jUpH',
      jti: `onrtte:${randomUUID()}`,
      iat: Math.floor(now / 1000),
      exp: Math.floor(now / 1000) + 300,
      auth_time: Math.floor(now / 1000),
      acr: '1',
      scope: 'payment-api',
      realm_access: { roles: ['customer'] },
      ...members,
    }),
    token: (claims: Claims = {}, header: Claims = {}, now = Date.now()): string =>
      mint(issuer.header(header), issuer.claims(claims, now), pair.privateKey),
    /** A service's own token: no session. */
    serviceToken: (client: string, claims: Claims = {}): string =>
      issuer.token({
        azp: client,
        client_id: client,
        sid: undefined,
        auth_time: undefined,
        realm_access: undefined,
        ...claims,
      }),
  }
  return issuer
}

export type HostileIssuer = Awaited<ReturnType<typeof hostileIssuer>>

export const json = (response: ServerResponse, body: unknown): void => {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** A payment service with nothing but doors: each route answers who came in. */
export async function guardedApp(
  t: Test,
  issuer: HostileIssuer,
  options: Partial<AuthOptions> = {},
): Promise<{ app: Server; log: () => string; metrics: () => Promise<string> }> {
  const lines: string[] = []
  const destination = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk))
      done()
    },
  })
  const logger = createLogger({ name: 'payment', destination })
  const metrics = createMetrics('payment')
  const app = await createApp({ title: 'Doors', description: 'Doors.', logger, metrics })
  await app.register(auth, { issuer: issuer.url, audience: 'payment-service', logger, metrics, ...options })
  const scope = 'payment-api'
  const whoAmI = async (request: { user: unknown }) => ({ user: request.user })
  app.get('/accounts', { config: { access: { roles: ['customer'], scope } } }, whoAmI)
  app.post('/accounts', { config: { access: { roles: ['customer'], scope } } }, whoAmI)
  app.get('/staff', { config: { access: { roles: ['loan-officer', 'banking-admin'], scope, purpose: true } } }, whoAmI)
  app.get('/internal', { config: { access: { services: ['loan-service'], scope } } }, whoAmI)
  app.get(
    '/balance',
    { config: { access: { roles: ['compliance-officer'], services: ['audit-service'], scope } } },
    whoAmI,
  )
  app.get('/open', { config: { access: 'public' } }, whoAmI)
  t.teardown(() => app.close())
  return { app, log: () => lines.join(''), metrics: () => metrics.text() }
}
