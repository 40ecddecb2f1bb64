import { join } from 'node:path'
import { ConfigError, loadConfig } from '@banking/config'
import { type AppName, apps, listening } from '@banking/contracts'
import Type from 'typebox'
import type { Brand } from '../pages/page.ts'
import { type ProviderConfig, providerDefaults } from '../provider/oidc.ts'
import { defaultLimits, type Limits } from '../proxy/limits.ts'
import { bankUpstreams, type Upstream } from '../proxy/upstreams.ts'
import type { RedisConfig } from '../redis.ts'
import { readSealingKeys, type SealingKeys } from '../sessions/seal.ts'
import type { SessionTimes } from '../sessions/sessions.ts'

/** Everything that the edge can be told. The rest of the BFF sees this object only, never the environment. */
export type BffConfig = {
  host: string
  port: number
  healthPort: number
  /** ms that it still accepts connections after it was told to stop, until whoever balances has noticed. */
  drainDelay: number
  logLevel: string
  /** Scheme, host and port under which browsers reach us. */
  publicOrigin: string
  provider: ProviderConfig
  sessionKeys: SealingKeys
  /** `perUser`: sessions that one person may have at once; a further one ends the oldest. */
  session: SessionTimes & { perUser: number }
  cookie: { name: string; sameSite: 'strict' | 'lax' }
  redis: RedisConfig
  upstreams: readonly Upstream[]
  limits: Limits
  /** Addresses and CIDR ranges of the proxies before us. */
  trustedProxies: readonly string[]
  /** A listener for the inside: ends a person's sessions everywhere. */
  internal: { host: string; port: number; jwksUrl?: string } | undefined
  /** Where audit events go. */
  events: { brokers: readonly string[]; topic: string } | undefined
  brand: Brand
  /** The folder of a built web app; without it the edge has none. */
  webRoot: string | undefined
}

const upstreamNames = apps.map(({ name }) => name).filter(name => name !== 'bff')
const variableOf = (name: AppName) => `UPSTREAM_${name.toUpperCase()}`

/** What holds where nothing else is said. Realm settings count on the idle time: the provider's is this plus one access token and a minute. */
export const defaults = {
  drainDelay: 5_000,
  session: { idle: 15 * 60_000, absolute: 8 * 60 * 60_000, perUser: 10 },
  cookie: { name: '__Host-session', sameSite: 'strict' },
  limits: defaultLimits,
  trustedProxies: [],
  internal: undefined,
  events: undefined,
  brand: { name: 'Banking Local', accent: '#0b6159' },
} as const

const Environment = Type.Object({
  ...listening('bff'),
  DRAIN_DELAY: Type.Integer({ default: defaults.drainDelay, minimum: 0, maximum: 60_000 }),
  PUBLIC_ORIGIN: Type.String(),
  ISSUER: Type.String(),
  CLIENT_ID: Type.String({ minLength: 1 }),
  CLIENT_KEY_FILE: Type.String({ minLength: 1 }),
  SESSION_KEY_FILE: Type.String({ minLength: 1 }),
  REDIS_URL: Type.String(),
  ...Object.fromEntries(upstreamNames.map(name => [variableOf(name), Type.Optional(Type.String())])),
})

/**
 * Reads the configuration of the bank's own edge.
 *
 * @throws ConfigError naming each unusable value and its remedy; what would be unsafe is unusable
 */
export function readConfig(env: NodeJS.ProcessEnv): BffConfig {
  const values = loadConfig(Environment, env)
  const wrong: string[] = []
  const refuse = (message: string | undefined): void => {
    if (message !== undefined) wrong.push(message)
  }
  refuse(originProblem('PUBLIC_ORIGIN', values.PUBLIC_ORIGIN))
  refuse(secureProblem('ISSUER', values.ISSUER))
  refuse(redisProblem(values.REDIS_URL))
  const origins: Partial<Record<AppName, string>> = {}
  for (const name of upstreamNames) {
    const origin = (values as Record<string, unknown>)[variableOf(name)] as string | undefined
    if (origin === undefined) continue
    refuse(upstreamProblem(variableOf(name), origin))
    origins[name] = origin
  }
  if (Object.keys(origins).length === 0)
    refuse(`none of ${upstreamNames.map(variableOf).join(', ')} is set: name the address of at least one service`)
  let sessionKeys: SealingKeys | undefined
  try {
    sessionKeys = readSealingKeys(values.SESSION_KEY_FILE)
  } catch (error) {
    refuse(`SESSION_KEY_FILE cannot be used: ${(error as Error).message}`)
  }
  if (wrong.length > 0 || sessionKeys === undefined) throw new ConfigError(wrong)
  return Object.freeze<BffConfig>({
    ...defaults,
    host: values.HOST,
    port: values.PORT,
    healthPort: values.HEALTH_PORT,
    drainDelay: values.DRAIN_DELAY,
    logLevel: values.LOG_LEVEL,
    publicOrigin: values.PUBLIC_ORIGIN,
    provider: {
      ...providerDefaults,
      issuer: values.ISSUER,
      clientId: values.CLIENT_ID,
      credential: { method: 'private_key_jwt', keyFile: values.CLIENT_KEY_FILE },
      // With this scope alone the session's token has no audience: no service accepts it (docs/adr/0001).
      scope: 'openid',
      pushedRequests: 'required',
    },
    sessionKeys,
    redis: { url: values.REDIS_URL },
    upstreams: bankUpstreams(origins),
    webRoot: join(import.meta.dirname, '../../web/dist'),
  })
}

const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

function secureProblem(name: string, value: string): string | undefined {
  const url = URL.parse(value)
  if (url === null) return `${name} is not a URL`
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    return `${name} must have no user, query or fragment`
  if (url.hostname.includes('*')) return `${name} must name one host, not a pattern`
  if (url.protocol === 'https:') return undefined
  if (url.protocol !== 'http:') return `${name} must be an https URL`
  return loopback.test(url.hostname)
    ? undefined
    : `${name} uses http on a host other than loopback: tokens and cookies would cross the network in the clear; use https`
}

function originProblem(name: string, value: string): string | undefined {
  const insecure = secureProblem(name, value)
  if (insecure !== undefined) return insecure
  const { origin } = new URL(value)
  return origin === value ? undefined : `${name} must be scheme, host and port alone: write ${origin}`
}

/** Inside the cluster the mesh encrypts: plain HTTP is legal there. */
function upstreamProblem(name: string, value: string): string | undefined {
  const url = URL.parse(value)
  if (url === null || !/^https?:$/.test(url.protocol)) return `${name} must be an http or https URL`
  return url.origin === value ? undefined : `${name} must be scheme, host and port alone: write ${url.origin}`
}

function redisProblem(value: string): string | undefined {
  const url = URL.parse(value)
  return url !== null && /^rediss?:$/.test(url.protocol) ? undefined : 'REDIS_URL must be a redis: or rediss: URL'
}
