import { readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Algorithm, TokenType } from '@banking/auth'
import { ConfigError, readKeyRing } from '@banking/config'
import { createLogger } from '@banking/telemetry'
import type { Limits } from '../admission/limits.ts'
import type { Brand } from '../pages/page.ts'
import type { Hsts } from '../pages/security-headers.ts'
import type { WebApp } from '../pages/web-app.ts'
import { type ClientCredential, readClientAuthentication } from '../provider/client-authentication.ts'
import type { ProviderConfig } from '../provider/oidc.ts'
import type { Upstream } from '../proxy/upstreams.ts'
import type { RedisConfig } from '../redis.ts'
import type { SealingKeys } from '../sessions/seal.ts'
import type { SessionTimes } from '../sessions/sessions.ts'
import { Complaint } from './complaint.ts'
import { type Path, type Reading, readDocument } from './document.ts'
import { Options } from './options.ts'
import { checkTogether } from './rules.ts'

/** Everything that the edge can be told, ready to be used. Times are ms, sizes bytes. */
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
  /** Sent where browsers come by https. */
  hsts: Hsts
  redis: RedisConfig
  upstreams: readonly Upstream[]
  limits: Limits
  /** Addresses and CIDR ranges of the proxies before us. */
  trustedProxies: readonly string[]
  /** A listener for the inside: ends a person's sessions everywhere. */
  internal: InternalListener | undefined
  /** Where audit events go. */
  events: { brokers: readonly string[]; topic: string } | undefined
  brand: Brand
  web: WebApp | undefined
}

/** Where it listens, and which tokens of the issuer open it. */
type InternalListener = {
  host: string
  port: number
  audience: string
  /** Client ids. */
  callers: readonly string[]
  scope: string
  algorithms: readonly Algorithm[]
  tokenType: TokenType
  /** The claim that names the client; `client_id` or `azp` when absent. */
  clientClaim?: string
  /** ms */
  tokenLifetime: number
  /** Where the keys are, when not where the provider's metadata says. */
  jwksUrl?: string
}

/** A file of settings is small; what is larger is something else. */
const sizeLimit = 1024 * 1024

/**
 * Reads the one file that configures the edge. Nothing else of the environment is looked at than what the file names
 * in `${…}`.
 *
 * @param file path of the file; its text decides nothing but the start of relative paths and of messages
 * @throws ConfigError with every problem at once, each with file, line, column and remedy, and never a secret
 */
export async function readConfig(file: string, env: NodeJS.ProcessEnv): Promise<BffConfig> {
  const folder = dirname(resolve(file))
  const reading = readDocument<Options>(textOf(file), { file, folder, schema: Options, env })
  const isReadable = reading.problems().length === 0 || Object.keys(reading.value).length > 0
  if (isReadable) checkTogether(reading)
  const sessionKeys = isReadable ? sealingKeys(reading) : undefined
  const credential = isReadable ? await clientCredential(reading) : undefined
  const redisPassword = secretOf(reading, ['redis', 'passwordFile'], reading.value.redis?.passwordFile)
  const sentinelPassword = secretOf(
    reading,
    ['redis', 'sentinel', 'passwordFile'],
    reading.value.redis?.sentinel?.passwordFile,
  )
  const problems = reading.problems()
  if (problems.length > 0 || sessionKeys === undefined || credential === undefined) throw new ConfigError(problems)
  const { listen, provider, redis, session, upstreams, brand, internal, events, web, ...rest } = reading.value
  const { authentication: _, keyFile: _keyFile, secretFile: _secretFile, ...ofProvider } = provider
  const { keyFile: _sealing, ...times } = session
  return Object.freeze<BffConfig>({
    ...rest,
    ...listen,
    provider: { ...ofProvider, credential },
    sessionKeys,
    session: times,
    redis: redisConfig(redis, redisPassword, sentinelPassword),
    upstreams: upstreams.map(asUpstream),
    internal,
    events,
    brand: { ...brand, name: brand.name ?? new URL(rest.publicOrigin).hostname },
    web,
  })
}

function textOf(file: string): string {
  try {
    const { size, mode } = statSync(file)
    if (process.platform !== 'win32' && mode & 0o002)
      throw new Complaint(
        'can be changed by every user of this machine',
        'Whoever changes it chooses who may log in',
        'chmod o-w the file',
      )
    if (size > sizeLimit)
      throw new Complaint('is larger than 1 MB', 'It is no configuration', 'Give the path of the right file')
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof Complaint) throw new ConfigError([`${file} ${error.message}`])
    throw new ConfigError([
      `${file} cannot be read (${(error as NodeJS.ErrnoException).code}). Give the path of the configuration file by --config or CONFIG_FILE.`,
    ])
  }
}

function sealingKeys({ value, refuse }: Reading<Options>): SealingKeys | undefined {
  const file = value.session?.keyFile
  if (file === undefined) return undefined
  try {
    return readKeyRing(file)
  } catch (error) {
    refuse(['session', 'keyFile'], unusable(error, 'Make one with: pnpm edge --new-keys <folder>'))
    return undefined
  }
}

/** The credential as it is at the start; the provider's part reads it again whenever it changes. */
async function clientCredential({ value, refuse }: Reading<Options>): Promise<ClientCredential | undefined> {
  const { authentication, keyFile, secretFile } = value.provider ?? {}
  const [name, credential]: [string, ClientCredential | undefined] =
    keyFile !== undefined
      ? ['keyFile', { method: 'private_key_jwt', keyFile }]
      : [
          'secretFile',
          secretFile === undefined
            ? undefined
            : { method: authentication === 'client_secret_post' ? authentication : 'client_secret_basic', secretFile },
        ]
  if (credential === undefined) return undefined
  try {
    await readClientAuthentication(credential, createLogger({ name: 'bff', level: 'silent' }))
  } catch (error) {
    const remedy =
      name === 'keyFile'
        ? 'Make one with: pnpm edge --new-keys <folder>'
        : 'Write the secret alone into it, on one line'
    refuse(['provider', name], unusable(error, remedy))
  }
  return credential
}

/** What a parser says of a key file; of JSON's own errors only that it is none, since they quote the text. */
function unusable(error: unknown, remedy: string): Complaint {
  const why =
    error instanceof SyntaxError
      ? 'It is not JSON'
      : `${(error as Error).message[0]?.toUpperCase()}${(error as Error).message.slice(1)}`
  return new Complaint('names a file that cannot be used', why, remedy)
}

function secretOf({ refuse }: Reading<Options>, path: Path, file: string | undefined): string | undefined {
  if (file === undefined) return undefined
  const secret = readFileSync(file, 'utf8').replace(/\r?\n$/, '')
  if (secret !== '' && !/[\r\n]/.test(secret)) return secret
  refuse(
    path,
    new Complaint(
      'names a file that cannot be used',
      'It is empty or has more than one line',
      'Write the password alone into it',
    ),
  )
  return undefined
}

function redisConfig(
  { url, sentinel, username, tls, database, prefix }: Options['redis'],
  password: string | undefined,
  sentinelPassword: string | undefined,
): RedisConfig {
  const user = { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) }
  if (sentinel !== undefined) {
    const { passwordFile: _, ...ofSentinel } = sentinel
    return {
      sentinel: { ...ofSentinel, ...(sentinelPassword === undefined ? {} : { password: sentinelPassword }) },
      ...user,
      ...(tls === undefined ? {} : { tls }),
      ...(database === undefined ? {} : { database }),
      prefix,
    }
  }
  const address = new URL(url as string)
  if (username !== undefined) address.username = encodeURIComponent(username)
  if (password !== undefined) address.password = encodeURIComponent(password)
  return { url: address.href, prefix }
}

function asUpstream({
  url: origin,
  path: prefix,
  name,
  token,
  audience,
  scope,
  ...limits
}: Options['upstreams'][number]): Upstream {
  const common = { ...limits, name: name ?? (prefix.slice(prefix.lastIndexOf('/') + 1) || 'root'), prefix, origin }
  return token === 'exchange'
    ? { ...common, token, audience: audience as string, ...(scope === undefined ? {} : { scope }) }
    : { ...common, token }
}
