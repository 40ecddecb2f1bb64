import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AppName, app as appOf, audienceOf, scopeOf, webClient } from '@banking/contracts'
import { createMetrics, currentTrace } from '@banking/telemetry'
import { parts, testIssuer, testLogger } from '@banking/testkit'
import { exportJWK, generateKeyPair } from 'jose'
import type { Test } from 'tap'
import { defaultLimits } from '../src/admission/limits.ts'
import { buildApp } from '../src/app.ts'
import type { BffConfig } from '../src/config/config.ts'
import { brandDefaults, defaults, internalDefaults, upstreamDefaults } from '../src/config/options.ts'
import type { Events } from '../src/events/events.ts'
import { buildInternal, type InternalOptions } from '../src/internal.ts'
import { readClientAuthentication } from '../src/provider/client-authentication.ts'
import { createProvider, type ProviderConfig, providerDefaults } from '../src/provider/oidc.ts'
import type { Upstream } from '../src/proxy/upstreams.ts'
import { connectRedis } from '../src/redis.ts'
import { alice, type Person, type TestProvider, testProvider } from './provider.ts'

export const origin = 'http://localhost:3000'

type Seen = { method: string; url: string; headers: IncomingMessage['headers']; raw: string[]; body: string }

const plenty = { perSecond: 100_000, burst: 100_000 }

/** A service behind the edge, on a real socket; it notes what it was asked. */
export async function testUpstream(
  t: Test,
  answer?: (request: IncomingMessage, response: ServerResponse, body: Buffer) => void,
) {
  const seen: Seen[] = []
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('error', () => undefined)
    if (answer !== undefined && request.headers['x-purpose'] === 'stream') return answer(request, response, Buffer.of())
    request.on('data', chunk => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks)
      const { method = '', url = '', headers, rawHeaders } = request
      seen.push({ method, url, headers, raw: rawHeaders, body: String(body) })
      if (answer !== undefined) return answer(request, response, body)
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ path: url, length: body.length }))
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, server }
}

const bankPaths = ['/', '/accounts/:id', '/pay', '/payments/:id', '/notifications', '/security']

/** The bank's services, by their addresses. */
const bankUpstreams = (origins: Readonly<Record<string, string>>): Upstream[] =>
  Object.entries(origins).map(([name, address]) => ({
    ...upstreamDefaults,
    name,
    prefix: appOf(name as AppName).path,
    streams: { ...upstreamDefaults.streams, paths: [`${appOf(name as AppName).path}/stream`] },
    origin: address,
    // The tests' own way to ask a service for something; in the bank it is the customer service's alone.
    requestHeaders: ['x-purpose'],
    token: 'exchange',
    audience: audienceOf(name as AppName),
    scope: scopeOf(name as AppName),
  }))

/** A whole edge on a real Redis and a provider that does what the test wants; its clock can be moved. */
export async function edge(
  t: Test,
  options: {
    redisUrl?: string
    /** Addresses of the bank's services, or any upstreams at all. */
    upstreams?: Partial<Record<'customer' | 'payment' | 'notification', string>> | readonly Upstream[]
    /** What holds for each upstream instead of the defaults. */
    upstream?: Partial<Pick<Upstream, 'timeout' | 'connections' | 'streams' | 'bodyLimit' | 'host'>>
    config?: Partial<BffConfig>
    provider?: TestProvider
    /** What the edge is told of the provider, beside its address. */
    providerConfig?: Partial<ProviderConfig>
    clientKeyFile?: string
    webRoot?: string
    sessionKeys?: BffConfig['sessionKeys']
    /** Where the audit trail goes instead of `told`. */
    events?: Events
  } = {},
) {
  const { logger, lines, text } = testLogger()
  const metrics = createMetrics('bff')
  const keyFile = options.clientKeyFile ?? (await clientKeyFile(t))
  const credential = options.providerConfig?.credential ?? { method: 'private_key_jwt', keyFile }
  const authentication = await readClientAuthentication(credential, logger)
  const provider = options.provider ?? (await testProvider(t, authentication.keys?.published))
  const upstream = options.upstreams === undefined ? await testUpstream(t) : undefined
  const bank = options.upstreams ?? { payment: upstream?.origin ?? '', customer: upstream?.origin ?? '' }
  const upstreams = Array.isArray(bank) ? (bank as readonly Upstream[]) : bankUpstreams(bank as Record<string, string>)
  const config: BffConfig = {
    ...defaults,
    brand: { ...brandDefaults, name: 'Banking Local' },
    host: '127.0.0.1',
    port: 0,
    healthPort: 0,
    logLevel: 'debug',
    publicOrigin: origin,
    provider: {
      ...providerDefaults,
      issuer: provider.issuer,
      clientId: 'banking-web-app',
      credential,
      pushedRequests: 'required',
      idTokenAlgorithms: ['ES256'],
      assumedLifetime: 60_000,
      ...options.providerConfig,
    },
    sessionKeys: options.sessionKeys ?? { current: 'k1', keys: new Map([['k1', randomBytes(32)]]) },
    redis: { url: options.redisUrl ?? parts(t, 'redis').redis },
    upstreams: upstreams.map(each => ({ ...each, ...options.upstream })),
    web: options.webRoot === undefined ? undefined : { root: options.webRoot, paths: bankPaths },
    // All tests come from one address.
    limits: { ...defaultLimits, perAddress: plenty, perAddressInAll: plenty, logins: plenty },
    ...options.config,
  }
  let offset = 0
  let stoppedAt: number | undefined
  const now = () => (stoppedAt ?? Date.now()) + offset
  const redis = connectRedis({ ...config.redis, logger, metrics })
  const told: { type: string; subject: string; data: unknown; seq: number; traceId: string | undefined }[] = []
  const events: Events = options.events ?? {
    record: (type, subject, data, { seq = 0, trace = currentTrace() } = {}) =>
      void told.push({ type, subject, data, seq, traceId: trace?.traceId }),
    close: async () => undefined,
  }
  const { publicOrigin } = config
  const relyingParty = createProvider({ ...config.provider, authentication, publicOrigin, logger, now })
  const { app, sessions, streams } = await buildApp({
    config,
    provider: relyingParty,
    keys: authentication.keys,
    redis,
    events,
    logger,
    metrics,
    now,
  })
  t.teardown(async () => {
    await app.close()
    await redis.close()
  })
  await app.ready()
  for (let tries = 0; tries < 100; tries++)
    if (
      await redis.check().then(
        () => true,
        () => new Promise<boolean>(resolve => setTimeout(resolve, 20, false)),
      )
    )
      break
  return {
    app,
    config,
    sessions,
    streams,
    provider,
    /** What the edge has of the provider. */
    relyingParty,
    redis,
    metrics,
    lines,
    /** The audit trail. */
    told,
    events,
    logged: text,
    keyFile,
    seen: upstream?.seen ?? [],
    advance: (ms: number) => {
      offset += ms
    },
    /** From now on the clock moves by `advance` alone. */
    stopClock: () => {
      stoppedAt = Date.now()
    },
    /** @param address where it comes from; tests of rates need one that no test had before */
    browser: (address?: string) => browser(app, provider, address),
  }
}

/** What the edge answers other services, in front of the sessions of an edge. */
export async function internalApp(
  t: Test,
  { sessions, events }: Pick<Edge, 'sessions' | 'events'>,
  options: Partial<InternalOptions> = {},
) {
  const identity = await testIssuer(t)
  const app = await buildInternal({
    issuer: identity.issuer,
    clientId: webClient,
    audience: 'bff-service',
    callers: ['admin-service'],
    scope: 'bff-api',
    ...internalDefaults,
    jwksUrl: `${identity.issuer}/protocol/openid-connect/certs`,
    sessions,
    events,
    logger: testLogger().logger,
    metrics: createMetrics('bff'),
    now: Date.now,
    ...options,
  })
  t.teardown(() => app.close())
  await app.ready()
  return { app, identity }
}

export type Browser = ReturnType<typeof browser>
export type Edge = Awaited<ReturnType<typeof edge>>

async function clientKeyFile(t: Test, kids: readonly string[] = ['client-1']): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'bff-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'client.json')
  await writeClientKeys(file, kids)
  return file
}

export async function writeClientKeys(file: string, kids: readonly string[]): Promise<void> {
  const keys = []
  for (const kid of kids) {
    const { privateKey } = await generateKeyPair('ES256', { extractable: true })
    keys.push({ ...(await exportJWK(privateKey)), kid })
  }
  writeFileSync(file, JSON.stringify({ keys }))
}

export type Cookie = { value: string; line: string; lax: boolean }

/** A cookie jar and the headers a browser sends: SameSite as browsers apply it, and every byte that came back. */
function browser(
  app: Awaited<ReturnType<typeof buildApp>>['app'],
  provider: TestProvider,
  remoteAddress = '127.0.0.1',
) {
  const jar = new Map<string, Cookie>()
  const received: string[] = []

  const send = async (
    url: string,
    more: {
      method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE' | 'PATCH' | 'OPTIONS'
      headers?: Record<string, string>
      payload?: string | Buffer
      crossSite?: boolean
    } = {},
  ) => {
    const cookies = [...jar].filter(([, cookie]) => !more.crossSite || cookie.lax)
    const response = await app.inject({
      remoteAddress,
      method: more.method ?? 'GET',
      url,
      headers: {
        host: 'localhost:3000',
        ...(cookies.length === 0 ? {} : { cookie: cookies.map(([name, { value }]) => `${name}=${value}`).join('; ') }),
        ...more.headers,
      },
      ...(more.payload === undefined ? {} : { payload: more.payload }),
    })
    for (const line of [response.headers['set-cookie'] ?? []].flat()) {
      const [pair = '', ...attributes] = line.split('; ')
      const at = pair.indexOf('=')
      const name = pair.slice(0, at)
      if (attributes.includes('Max-Age=0')) jar.delete(name)
      else jar.set(name, { value: pair.slice(at + 1), line, lax: attributes.includes('SameSite=Lax') })
    }
    received.push(JSON.stringify(response.headers), response.body)
    return response
  }

  const navigation = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', accept: 'text/html' }
  return {
    jar,
    received,
    send,
    /** A script of our own page. */
    fetch: (url: string, more: Parameters<typeof send>[1] = {}) =>
      send(url, {
        ...more,
        headers: {
          'x-csrf': '1',
          'sec-fetch-site': 'same-origin',
          'sec-fetch-mode': 'cors',
          'sec-fetch-dest': 'empty',
          ...more.headers,
        },
      }),
    /** A person opens an address. */
    open: (url: string, more: Parameters<typeof send>[1] = {}) =>
      send(url, {
        ...more,
        headers: { ...navigation, 'sec-fetch-site': more.crossSite ? 'cross-site' : 'same-origin', ...more.headers },
      }),
    /** From the sign-in page to the provider. @returns the callback's address as the provider gave it */
    async start(returnTo = '/', person: Person = alice) {
      const response = await this.open(`/oauth2/start?return_to=${encodeURIComponent(returnTo)}`)
      if (response.statusCode !== 302) throw new Error(`start answered ${response.statusCode}: ${response.body}`)
      return provider.login(String(response.headers.location), person)
    },
    /** The provider, another site, sends the browser back. */
    comeBack(callback: string) {
      return this.open(callback.slice(new URL(callback).origin.length), { crossSite: true })
    },
    async login(person: Person = alice, returnTo = '/') {
      const response = await this.comeBack(await this.start(returnTo, person))
      if (response.statusCode !== 302) throw new Error(`callback answered ${response.statusCode}: ${response.body}`)
      return response
    },
    cookie: () => jar.get('__Host-session')?.value,
  }
}
