import { createClient } from 'redis'
import { defaultLimits } from '../../bff/src/admission/limits.ts'
import type { BffConfig } from '../../bff/src/config/config.ts'
import { brandDefaults, defaults, upstreamDefaults } from '../../bff/src/config/options.ts'
import { providerDefaults } from '../../bff/src/provider/oidc.ts'
import { readKeyRing } from '../../packages/config/src/index.ts'

/** What the processes of one run share. */
export type EdgeSettings = {
  port: number
  upstream: string
  redis: string
  issuer: string
  clientKeyFile: string
  sessionKeyFile: string
  /** Characters of the token that the upstream gets. */
  tokenLength: number
  /** Whether undici speaks to the upstream instead of the edge's own client. */
  undici?: boolean
  /** Whether it has the limits that an operator gets who says nothing; else nobody is slowed down. */
  isLimited?: boolean
}

export const publicOrigin = 'http://localhost:3000'

/** The configuration of the edge under test: the bank's own, with one upstream. */
export const edgeConfig = (settings: EdgeSettings): BffConfig => ({
  ...defaults,
  host: '127.0.0.1',
  port: settings.port,
  healthPort: 0,
  logLevel: 'info',
  publicOrigin,
  provider: {
    ...providerDefaults,
    issuer: settings.issuer,
    clientId: 'banking-web-app',
    idTokenAlgorithms: ['ES256'],
    credential: { method: 'private_key_jwt', keyFile: settings.clientKeyFile },
  },
  sessionKeys: readKeyRing(settings.sessionKeyFile),
  redis: { url: settings.redis },
  upstreams: [
    {
      ...upstreamDefaults,
      name: 'payment',
      prefix: '/api/payments',
      origin: settings.upstream,
      token: 'exchange',
      audience: 'payment-service',
      scope: 'payment-api',
      streams: { paths: ['/api/payments/events'], connections: 10_000, perSession: 10 },
    },
  ],
  limits: settings.isLimited
    ? defaultLimits
    : {
        ...defaultLimits,
        perSession: unlimited,
        perAddress: unlimited,
        perAddressInAll: unlimited,
        concurrentRequests: 10_000,
      },
  brand: { ...brandDefaults, name: 'Banking Local' },
})

const unlimited = { perSecond: 1_000_000, burst: 1_000_000 }

/**
 * The same Redis for a user who may do everything but have keys tracked: the edge then cannot be told of changes,
 * keeps nothing, and reads each session anew.
 *
 * @returns the address for that user
 */
export async function redisWithoutTracking(url: string): Promise<string> {
  const client = await createClient({ url }).connect()
  await client.sendCommand([
    'ACL',
    'SETUSER',
    'untracked',
    'on',
    '>untracked',
    '~*',
    '&*',
    '+@all',
    '-client',
    '+client|setname',
    '+client|setinfo',
  ])
  await client.close()
  const address = new URL(url)
  address.username = 'untracked'
  address.password = 'untracked'
  return address.href
}
