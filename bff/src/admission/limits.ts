import type { ServerResponse } from 'node:http'
import { type Problem, type ProblemCode, problem } from '@banking/contracts'
import type { Logger, Metrics } from '@banking/telemetry'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Redis } from '../redis.ts'
import { addressBlock, clientAddress, siteOf, type TrustedProxies } from './client-address.ts'
import { createInProgress, type InProgress } from './in-progress.ts'
import { createQuota, type Quota, type Rate } from './quota.ts'

/** How much one may ask for. Rates hold over all replicas, numbers of things at once for each of them. */
export type Limits = {
  /** Requests of one session. */
  perSession: Rate
  /** Requests of one address without a session that is known to live. */
  perAddress: Rate
  /** All requests of one address; a whole company may be behind it. */
  perAddressInAll: Rate
  /** Starts and ends of logins of one address; each is a call to the identity provider. */
  logins: Rate
  /** Logout tokens of one address, which is the identity provider’s. */
  logoutTokens: Rate
  /** Logins that are begun at the identity provider at the same time, of all addresses together. */
  concurrentLogins: number
  /** Requests of one session that are being answered at the same time, streams included. */
  concurrentRequests: number
  /** Bodies that one session sends at the same time, of those that are passed on as they come. */
  concurrentUploads: number
  /** Bytes of a body that must come each second, on average and after ten seconds; 408 below. */
  bodyRate: number
  /** Connections in all. */
  connections: number
  /** Connections of one address, trusted proxies apart. */
  addressConnections: number
}

export const defaultLimits: Limits = {
  perSession: { perSecond: 100, burst: 400 },
  perAddress: { perSecond: 100, burst: 1_000 },
  perAddressInAll: { perSecond: 2_000, burst: 8_000 },
  logins: { perSecond: 5, burst: 100 },
  logoutTokens: { perSecond: 50, burst: 400 },
  concurrentLogins: 32,
  concurrentRequests: 256,
  concurrentUploads: 8,
  bodyRate: 4 * 1024,
  connections: 20_000,
  addressConnections: 1_000,
}

/** How many answers of one upstream may stay open at the same time, in one process. */
export type StreamLimits = {
  /** In all; each has a connection of its own. */
  connections: number
  /** Of one session. */
  perSession: number
}

/** Counts what is asked for, and refuses what is too much: 429 `rate_limited`. */
export type Admission = {
  /**
   * Charges the address. Synchronous but for the one request in a block that waits for the next.
   *
   * @param isKnown whether the request carries the cookie of a session that this process knows to live
   * @returns undefined when there is nothing to wait for
   * @throws Problem `rate_limited`
   */
  admitAddress: (request: FastifyRequest, isKnown: boolean) => Promise<void> | undefined
  /**
   * Charges a session for a request, and its address no longer.
   *
   * @returns undefined when there is nothing to wait for
   * @throws Problem `rate_limited`
   */
  admitSession: (request: FastifyRequest, reply: FastifyReply, sessionId: string) => Promise<void> | undefined
  /** The address of the client, without zone, as {@link clientAddress} finds it; empty once its connection is gone. */
  clientOf: (request: FastifyRequest) => string
  /** @throws Problem `rate_limited` when this session sends too many bodies already */
  admitUpload: (sessionId: string, response: ServerResponse) => void
  /**
   * Counts the streams of one upstream.
   *
   * @returns admits one more; throws the Problem `streams_exhausted` when this session has too many of them, `overloaded`
   * when all together have
   */
  streamsOf: (limits: StreamLimits) => (sessionId: string, response: ServerResponse) => void
}

/** Routes that cost more than an answer of ours, by their own limit. The router has matched them: spelling is no way round. */
const strict = {
  '/oauth2/start': 'logins',
  '/oauth2/callback': 'logins',
  '/oauth2/backchannel_logout': 'logoutTokens',
} as const satisfies Record<string, keyof Limits>

type Rates = 'perSession' | 'perAddress' | 'perAddressInAll' | 'logins' | 'logoutTokens'

/**
 * Rate limits. Who asks is the session, once its cookie was found to be one, and the address of the connection; nothing
 * else that a request says of itself makes a difference.
 */
export function createAdmission(options: {
  limits: Limits
  trustedProxies: TrustedProxies
  redis: Redis
  logger: Logger
  metrics: Metrics
}): Admission {
  const { limits, trustedProxies, redis, logger } = options
  const refused = options.metrics.counter('bff_rate_limited_total', 'Requests beyond a limit.', ['limit'])
  const quota = (name: Rates): Quota => createQuota({ name, rate: limits[name], redis })
  const addressQuota = (name: Exclude<Rates, 'perSession'>): Quota => {
    const { perSecond, burst } = limits[name]
    const rate = { perSecond: siteBlocks * perSecond, burst: siteBlocks * burst }
    return withSites(quota(name), createQuota({ name: `${name}48`, rate, redis }))
  }
  const quotas: Readonly<Record<Rates, Quota>> = {
    perSession: quota('perSession'),
    perAddress: addressQuota('perAddress'),
    perAddressInAll: addressQuota('perAddressInAll'),
    logins: addressQuota('logins'),
    logoutTokens: addressQuota('logoutTokens'),
  }
  const requests = createInProgress(limits.concurrentRequests)
  const uploads = createInProgress(limits.concurrentUploads)
  const streams: InProgress[] = []
  options.metrics.gauge(
    'bff_in_progress',
    'What is counted now against a limit of things at once.',
    ['limit'],
    gauge => {
      gauge.set({ limit: 'concurrent_requests' }, requests.total())
      gauge.set({ limit: 'concurrent_uploads' }, uploads.total())
      gauge.set(
        { limit: 'streams' },
        streams.reduce((sum, each) => sum + each.total(), 0),
      )
    },
  )

  const refuseAs = (code: ProblemCode, limit: string, wait: number, detail?: string): Problem => {
    refused.inc({ limit })
    return problem(code, detail, { headers: { 'retry-after': String(Math.ceil(wait / 1000)) } })
  }
  const refusal = (limit: string, wait: number, detail?: string): Problem =>
    refuseAs('rate_limited', limit, wait, detail)
  /** Synchronous but for the one request in a block that waits for the next. */
  const charge = (limit: Rates, subject: string): Promise<void> | undefined => {
    const wait = quotas[limit].take(subject)
    if (typeof wait !== 'number') return wait.then(late => refuse(limit, late))
    refuse(limit, wait)
    return undefined
  }
  /** All of them, also when one refuses. */
  const chargeAll = (claims: readonly (readonly [Rates, string])[]): Promise<void> | undefined => {
    const pending: Promise<readonly [Rates, number]>[] = []
    const verdicts: (readonly [Rates, number])[] = []
    for (const [limit, subject] of claims) {
      const wait = quotas[limit].take(subject)
      if (typeof wait !== 'number') pending.push(wait.then(late => [limit, late]))
      else if (wait > 0) verdicts.push([limit, wait])
    }
    refuseLate(verdicts)
    return pending.length === 0 ? undefined : Promise.all(pending).then(refuseLate)
  }
  const refuse = (limit: Rates, wait: number): void => {
    if (wait > 0) throw refusal(limit, wait)
  }
  const refuseLate = (verdicts: readonly (readonly [Rates, number])[]): void => {
    for (const [limit, wait] of verdicts) refuse(limit, wait)
  }

  const clients = new WeakMap<object, Client>()
  let hasWarned = false
  const warnOnce = (): void => {
    if (!hasWarned)
      logger.warn(
        'x-forwarded-for came from an address that is no trusted proxy: its requests count as one client’s. If it is your proxy, list it as one',
      )
    hasWarned = true
  }
  const clientOf = ({ raw }: FastifyRequest): Client => {
    const { socket } = raw
    if (raw.headers['x-forwarded-for'] !== undefined) {
      const peer = socket.remoteAddress ?? ''
      if (trustedProxies(clientAddress(peer, [], trustedProxies)))
        return asClient(clientAddress(peer, valuesOf(raw.rawHeaders, 'x-forwarded-for'), trustedProxies))
      warnOnce()
    }
    // A connection has one peer: worked out once.
    const known = clients.get(socket)
    if (known !== undefined) return known
    const client = asClient(clientAddress(socket.remoteAddress ?? '', [], trustedProxies))
    clients.set(socket, client)
    return client
  }

  /** The address that was charged for somebody without a known session. */
  const anonymous = new WeakMap<FastifyRequest, string>()
  const admitAddress: Admission['admitAddress'] = (request, isKnown) => {
    const { block } = clientOf(request)
    // The path is canonical: one that does not begin like this is none of the strict ones.
    const limit = request.raw.url?.startsWith('/oauth2/')
      ? strict[request.routeOptions.url as keyof typeof strict]
      : undefined
    if (isKnown && limit === undefined) return charge('perAddressInAll', block)
    const claims: [Rates, string][] = [['perAddressInAll', block]]
    if (limit !== undefined) claims.push([limit, block])
    if (!isKnown) {
      claims.push(['perAddress', block])
      anonymous.set(request, block)
    }
    return chargeAll(claims)
  }

  return {
    admitAddress,
    clientOf: request => clientOf(request).address,
    admitSession(request, { raw }, sessionId) {
      // The cookie was not known when the request came, and has now been found to be good.
      const block = anonymous.get(request)
      if (block !== undefined) quotas.perAddress.giveBack(block)
      if (!requests.enter(sessionId, raw))
        throw refusal('concurrent_requests', 1_000, 'Too many requests of this session are waiting for their answer.')
      return charge('perSession', sessionId)
    },
    admitUpload(sessionId, response) {
      if (!uploads.enter(sessionId, response))
        throw refusal('concurrent_uploads', 1_000, 'Too many bodies of this session are on their way.')
    },
    streamsOf({ connections, perSession }) {
      const ofSession = createInProgress(perSession)
      const ofAll = createInProgress(connections)
      streams.push(ofAll)
      return (sessionId, response) => {
        if (!ofSession.enter(sessionId, response)) throw refuseAs('streams_exhausted', 'streams', 1_000)
        if (!ofAll.enter('all', response)) throw refuseAs('overloaded', 'upstream_streams', 1_000)
      }
    },
  }
}

/**
 * Blocks of one IPv6 site that may use up what each of them has: a customer may have all 65,536, and a network of phones
 * gives each of as many customers one.
 */
const siteBlocks = 16

/** A block's quota that takes from its site's too; one that has nothing left costs its neighbours nothing. */
function withSites(blocks: Quota, sites: Quota): Quota {
  return {
    take(block) {
      const site = siteOf(block)
      const wait = blocks.take(block)
      if (site === undefined) return wait
      if (typeof wait === 'number') return wait > 0 ? wait : sites.take(site)
      return wait.then(late => (late > 0 ? late : sites.take(site)))
    },
    giveBack(block) {
      const site = siteOf(block)
      blocks.giveBack(block)
      if (site !== undefined) sites.giveBack(site)
    },
  }
}

/** An address, and what is counted as one with it. */
type Client = { address: string; block: string }
const asClient = (address: string): Client => ({ address, block: addressBlock(address) })

function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  return rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name)
}
