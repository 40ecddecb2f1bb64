import type { ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { Problem, problem } from '@banking/contracts'
import { type Dispatcher, Pool } from 'undici'
import { onceOver } from '../admission/in-progress.ts'
import { afterReads } from './after-reads.ts'
import { createHttp1Pool } from './http1-pool.ts'

/** One request for an upstream, ready to be written. */
type Outbound = {
  method: string
  /** Request target, forwarded as it came. */
  path: string
  /** Name, value, name, value. */
  headers: string[]
  /** The bearer token (RFC 6750 §2.1), if the upstream gets one. */
  token: string | undefined
  body: Readable | Buffer | null
  /** Whether the answer may stay open without an end in sight. */
  endless: boolean
}

/** What became of it. Only `answered` has written to the client. */
export type Outcome =
  | { kind: 'answered'; complete: boolean }
  /** `answer` wanted nothing of this head; the body was dropped. */
  | { kind: 'declined' }
  /** Nothing came that could be passed on. `isReset` says that the connection was gone before any of an answer came. */
  | { kind: 'failed'; problem: Problem; isReset: boolean }
  /** The client went away first. */
  | { kind: 'abandoned' }

/** Makes the client's head out of the upstream's, as name and value in turn; undefined declines it. */
type Answer = (status: number, headers: readonly string[]) => string[] | undefined

/** The way to one upstream. */
export type Pipe = {
  /**
   * Sends a request and streams its answer to `response`, backpressure and aborts both ways. An answer that breaks
   * off breaks off for the client too: a reset, never a short success.
   *
   * @param settled called once, with what became of it
   */
  forward(outbound: Outbound, response: ServerResponse, answer: Answer, settled: (outcome: Outcome) => void): void
  close(): Promise<void>
}

export type PipeOptions = {
  origin: string
  /** ms until the head of an answer. */
  headersTimeout?: number
  /** ms between two pieces of a body that has an end. */
  bodyTimeout?: number
  /** ms that a connection may take, and that a request may wait for one. */
  connectTimeout?: number
  connections?: number
}

/** Streams that one process keeps open to one upstream. They must not use up the connections of everything else. */
const endlessConnections = 4_096
/** Header fields of an answer. Their size is limited beside: 16 KB of empty ones would still be thousands. */
const fieldLimit = 100
/** Bytes of a declined body that are read so that the connection can be used again. */
const drainLimit = 64 * 1024
/** Bytes of a body that goes out as one string with its head, and of a piece that is copied rather than held. */
const smallPiece = 16 * 1024
/** ms between two looks at who has waited too long for a connection. */
const queueLook = 250
/** ms without a read after which a client makes room for one that waits for the connection it holds. */
const readerPatience = 1_000

/** undici's `dispatch`: its parser and pool, without the costs of `request` or `fetch`. */
export function createPipe(options: PipeOptions): Pipe {
  const connectTimeout = options.connectTimeout ?? 2_000
  const bodyTimeout = options.bodyTimeout ?? 30_000
  const shared = {
    pipelining: 1,
    headersTimeout: options.headersTimeout ?? 10_000,
    maxHeaderSize: 16 * 1024,
    connect: { timeout: connectTimeout },
  }
  const connections = options.connections ?? 128
  const brief = options.origin.startsWith('http:')
    ? createHttp1Pool({ ...shared, origin: options.origin, connectTimeout, bodyTimeout, connections })
    : byUndici(options.origin, { ...shared, bodyTimeout, connections })
  // A body that is passed on as it comes holds its connection for as long as the client likes to send.
  const uploads = byUndici(options.origin, { ...shared, bodyTimeout, connections })
  const endless = byUndici(options.origin, { ...shared, bodyTimeout: 0, connections: endlessConnections })

  // In the order in which they came: one timer for all of them, instead of one each.
  const waiting = new Set<Passage>()
  const held = new Set<Passage>()
  const timer = setInterval(() => {
    const now = performance.now()
    for (const passage of waiting) {
      if (passage.since > now - queueLook) break
      if (passage.since <= now - connectTimeout - queueLook) passage.giveUp()
      else passage.makeRoom(now - readerPatience)
    }
  }, queueLook)
  timer.unref()

  return {
    forward(outbound, response, answer, settled) {
      const isKnown = outbound.body === null || Buffer.isBuffer(outbound.body)
      const pool = outbound.endless ? endless : isKnown ? (brief as Way) : uploads
      new Passage({ pool, waiting, held, outbound, response, answer, settled }).dispatch()
    },
    close: async () => {
      clearInterval(timer)
      await Promise.all([brief, uploads, endless].map(pool => pool.destroy()))
    },
  }
}

class ClientGone extends Error {}
class Declined extends Error {}
class QueuedTooLong extends Error {}
class ReadTooSlowly extends Error {}
class TooManyFields extends Error {}

/** What undici's pools and ours have in common. */
type Way = {
  dispatch(request: Omit<Outbound, 'endless'>, handler: Dispatcher.DispatchHandler): unknown
  destroy(): Promise<void>
}
/** Our pool reads the next piece into the same memory, unless this one is kept. */
type Controller = Dispatcher.DispatchController & { keep?: () => () => void }

type Job = {
  pool: Way
  waiting: Set<Passage>
  /** Those whose client does not take what is there, the longest first. */
  held: Set<Passage>
  outbound: Outbound
  response: ServerResponse
  answer: Answer
  settled: (outcome: Outcome) => void
}

/** One request on its way: undici calls it as the answer comes, Node when the client reads on or leaves. */
class Passage implements Dispatcher.DispatchHandler {
  readonly since = performance.now()
  readonly #job: Job
  #controller: Dispatcher.DispatchController | undefined
  #stopped: Error | undefined
  #state: 'waiting' | 'answering' | 'draining' | 'done' = 'waiting'
  #isSent = false
  /** Bytes of the body by the upstream's word; -1 when only its end will tell. */
  #declared = -1
  #received = 0
  #heldSince = 0
  #isCorked = false
  #isEnding = false

  constructor(job: Job) {
    this.#job = job
  }

  dispatch(): void {
    const { pool, waiting, response, outbound } = this.#job
    if (!onceOver(response, () => this.#left())) {
      this.#settle({ kind: 'abandoned' })
      return
    }
    waiting.add(this)
    try {
      pool.dispatch(outbound, this)
    } catch (error) {
      this.#settle({ kind: 'failed', problem: problem('upstream_failed', undefined, { cause: error }), isReset: false })
    }
  }

  /** No connection became free in time. */
  giveUp(): void {
    const reason = new QueuedTooLong('no connection became free')
    this.#stop(reason)
    this.#settle({ kind: 'failed', problem: unavailable(reason), isReset: false })
  }

  /**
   * Ends the answer that has waited longest for its client, at least since `before`, on a connection that this one
   * could use: else a few who do not read would keep everybody from a service.
   */
  makeRoom(before: number): void {
    const { held, pool } = this.#job
    for (const passage of held) {
      if (passage.#heldSince > before) return
      if (passage.#job.pool !== pool) continue
      held.delete(passage)
      passage.#stop(new ReadTooSlowly('others wait for the connection of a client that does not read'))
      return
    }
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#stopped !== undefined) {
      controller.abort(this.#stopped)
      return
    }
    this.#job.waiting.delete(this)
    this.#isSent = true
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200 || this.#state !== 'waiting') return
    const { outbound, response, answer } = this.#job
    const headers = rawHeaders(controller)
    if (headers.length > 2 * fieldLimit) {
      controller.abort(new TooManyFields('too many header fields'))
      return
    }
    const head = answer(status, headers)
    if (head === undefined) {
      this.#state = 'draining'
      return
    }
    this.#state = 'answering'
    this.#declared = bodyLength(outbound.method, status, headers)
    response.writeHead(status, head)
    if (outbound.endless) response.flushHeaders()
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    this.#received += chunk.length
    if (this.#state === 'draining') {
      if (this.#received > drainLimit) controller.abort(new Declined())
      return
    }
    const { response } = this.#job
    if (this.#state !== 'answering' || this.#isEnding) return
    const isLast = this.#received === this.#declared
    if (isLast && chunk.length === this.#declared && chunk.length <= smallPiece) {
      // Joined to the head as a string they are one write, where a buffer would make two.
      const body = chunk.toString('latin1')
      this.#isEnding = true
      afterReads(() => response.end(body, 'latin1'))
      return
    }
    this.#cork()
    const isTaken = this.#write(controller, chunk)
    if (isLast) this.#end()
    else if (!isTaken) {
      const { held } = this.#job
      controller.pause()
      this.#heldSince = performance.now()
      held.add(this)
      response.once('drain', () => {
        held.delete(this)
        controller.resume()
      })
    }
  }

  onResponseEnd(): void {
    if (this.#state === 'draining') this.#settle({ kind: 'declined' })
    else if (this.#state === 'answering') {
      this.#end()
      this.#settle({ kind: 'answered', complete: true })
    }
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const { response } = this.#job
    if (this.#state === 'draining') this.#settle({ kind: 'declined' })
    else if (this.#state === 'waiting') {
      const wasReset = this.#isSent && isReset(error)
      this.#settle({ kind: 'failed', problem: asUpstreamProblem(error), isReset: wasReset })
    } else if (this.#state === 'answering') {
      if (!this.#isEnding) response.destroy()
      this.#settle({ kind: 'answered', complete: false })
    }
  }

  /** What comes in one turn of the loop goes out as one. */
  #cork(): void {
    if (this.#isCorked) return
    const { response } = this.#job
    this.#isCorked = true
    response.cork()
    afterReads(() => {
      this.#isCorked = false
      response.uncork()
    })
  }

  /** @returns whether the client takes more */
  #write(controller: Controller, chunk: Buffer): boolean {
    const { response } = this.#job
    if (controller.keep === undefined) return response.write(chunk)
    // A client that does not read must not hold much memory for few bytes.
    if (chunk.length < smallPiece) return response.write(Buffer.from(chunk))
    const giveBack = controller.keep()
    // What was not written may still be held by somebody: it is left to the collector.
    return response.write(chunk, error => {
      if (error == null) giveBack()
    })
  }

  #end(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.#job.response.end()
  }

  #left(): void {
    if (this.#state === 'done') return
    const isWhole = this.#received === this.#declared
    // Settled first: stopping is heard at once as an error of the upstream, which it is not.
    if (this.#state !== 'answering') this.#settle({ kind: 'abandoned' })
    else this.#settle({ kind: 'answered', complete: isWhole || this.#job.response.writableFinished })
    if (!isWhole) this.#stop(new ClientGone())
  }

  /** A request in the queue has no controller yet: it is stopped as soon as it gets one, before it is written. */
  #stop(reason: Error): void {
    this.#stopped ??= reason
    this.#controller?.abort(reason)
  }

  #settle(outcome: Outcome): void {
    if (this.#state === 'done') return
    this.#state = 'done'
    this.#job.waiting.delete(this)
    this.#job.held.delete(this)
    this.#job.settled(outcome)
  }
}

function byUndici(origin: string, options: Pool.Options): Way {
  const pool = new Pool(origin, options)
  return {
    dispatch({ method, path, headers, token, body }, handler) {
      const fields = token === undefined ? headers : headers.concat('authorization', `Bearer ${token}`)
      return pool.dispatch({ method, path, headers: fields, body }, handler)
    },
    destroy: () => pool.destroy(),
  }
}

function rawHeaders({ rawHeaders: raw }: Dispatcher.DispatchController): string[] {
  if (!Array.isArray(raw)) return []
  const fields = new Array<string>(raw.length)
  for (let at = 0; at < raw.length; at++) {
    const part = raw[at] as string | Buffer
    fields[at] = typeof part === 'string' ? part : part.toString('latin1')
  }
  return fields
}

/** @returns bytes that will come, -1 when only the end will tell */
function bodyLength(method: string, status: number, headers: readonly string[]): number {
  if (method === 'HEAD' || status === 204 || status === 304) return -1
  for (let at = 0; at < headers.length; at += 2)
    if (headers[at]?.length === 14 && headers[at]?.toLowerCase() === 'content-length') return Number(headers[at + 1])
  return -1
}

const isReset = ({ code }: Error & { code?: string }): boolean =>
  /^(?:UND_ERR_SOCKET|ECONNRESET|EPIPE)$/.test(code ?? '')

const unavailable = (cause: unknown): Problem =>
  problem('upstream_unavailable', undefined, { headers: { 'retry-after': '2' }, cause })

function asUpstreamProblem(error: Error): Problem {
  // A body that was found too large on its way out.
  if (error instanceof Problem) return error
  const code = (error as { code?: string }).code ?? ''
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT')
    return problem('upstream_timeout', undefined, { cause: error })
  if (/^(?:ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT)$/.test(code))
    return unavailable(error)
  return problem('upstream_failed', undefined, { cause: error })
}
