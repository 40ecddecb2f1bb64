import type { ServerResponse } from 'node:http'
import { Problem, problem } from '@banking/contracts'
import { onceOver } from '../admission/in-progress.ts'
import { afterReads } from './after-reads.ts'
import { copyOf } from './blocks.ts'
import type { ClientRequest, CreateHttpClient, HttpClient, ResponseHandler, SentRequest } from './http-client.ts'
import { createHttp1Pool } from './http1-pool.ts'

/** One request for an upstream. `endless`: its answer may stay open without an end in sight. */
type Outbound = ClientRequest & { endless: boolean }

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
  /** What Host says; the origin's own when absent. */
  host?: string | undefined
  /** ms until the head of an answer. */
  headersTimeout?: number
  /** ms between two pieces of a body that has an end. */
  bodyTimeout?: number
  /** ms that a connection may take, and that a request may wait for one. */
  connectTimeout?: number
  connections?: number
  /** Streams that this process keeps open to it, beside the connections of everything else. */
  streams?: number
  /** What speaks to it; our own client when nothing else is said. */
  client?: CreateHttpClient | undefined
}

const defaultStreams = 4_096

/** Header fields of an answer. Their size is limited beside: 16 KB of empty ones would still be thousands. */
const fieldLimit = 100
/** Bytes of a declined body that are read so that the connection can be used again. */
const drainLimit = 64 * 1024
/** Bytes of a body that goes out as one string with its head, and of a piece that is copied into memory of its size. */
const smallPiece = 16 * 1024

/** Requests of one kind have connections of their own: none takes those of another by lasting long. */
export function createPipe(options: PipeOptions): Pipe {
  const { origin, bodyTimeout = 30_000, connections = 128, client = createHttp1Pool } = options
  const shared = {
    origin,
    host: options.host,
    connectTimeout: options.connectTimeout ?? 2_000,
    headersTimeout: options.headersTimeout ?? 10_000,
    maxHeaderSize: 16 * 1024,
  }
  const whole = client({ ...shared, bodyTimeout, connections })
  // A body that is passed on as it comes holds its connection for as long as its sender takes.
  const uploads = client({ ...shared, bodyTimeout, connections })
  const streams = client({
    ...shared,
    bodyTimeout: Number.POSITIVE_INFINITY,
    connections: options.streams ?? defaultStreams,
  })

  return {
    forward(outbound, response, answer, settled) {
      const isWhole = outbound.body === null || Buffer.isBuffer(outbound.body)
      const kind = outbound.endless ? streams : isWhole ? whole : uploads
      new ForwardedRequest(outbound, response, answer, settled).send(kind)
    },
    close: async () => {
      await Promise.all([whole, uploads, streams].map(each => each.destroy()))
    },
  }
}

class ClientGone extends Error {}
class Declined extends Error {}
class TooManyFields extends Error {}

/** One request on its way: told by the upstream's connection, and by Node when the client reads on or leaves. */
class ForwardedRequest implements ResponseHandler {
  readonly #outbound: Outbound
  readonly #response: ServerResponse
  readonly #answer: Answer
  readonly #settled: (outcome: Outcome) => void
  #sent: SentRequest | undefined
  #state: 'waiting' | 'answering' | 'draining' | 'done' = 'waiting'
  #isSent = false
  /** Whether the answer has no body, whatever the upstream sends (RFC 9110 §15.3.6). */
  #isBodiless = false
  /** Bytes of the body by the upstream's word; -1 when only its end will tell. */
  #declared = -1
  #received = 0
  #isCorked = false
  #isEnding = false

  constructor(outbound: Outbound, response: ServerResponse, answer: Answer, settled: (outcome: Outcome) => void) {
    this.#outbound = outbound
    this.#response = response
    this.#answer = answer
    this.#settled = settled
  }

  send(client: HttpClient): void {
    if (!onceOver(this.#response, () => this.#left())) {
      this.#settle({ kind: 'abandoned' })
      return
    }
    try {
      this.#sent = client.send(this.#outbound, this)
    } catch (error) {
      this.#settle({ kind: 'failed', problem: asUpstreamProblem(error as Error), isReset: false })
    }
  }

  onSent(): void {
    this.#isSent = true
  }

  onHead(status: number, fields: string[]): void {
    if (this.#state !== 'waiting') return
    const { method, endless } = this.#outbound
    if (fields.length > 2 * fieldLimit) {
      this.#sent?.abort(new TooManyFields('too many header fields'))
      return
    }
    this.#isBodiless = status === 204 || status === 205
    // What has no body has no length either, except none (RFC 9110 §8.6, §15.3.6).
    const passed = this.#isBodiless ? withoutLength(fields) : fields
    const head = this.#answer(status, passed)
    if (head === undefined) {
      this.#state = 'draining'
      return
    }
    if (status === 205) head.push('content-length', '0')
    this.#state = 'answering'
    this.#declared = method === 'HEAD' || status === 304 ? -1 : lengthOf(passed)
    this.#response.writeHead(status, head)
    if (endless) this.#response.flushHeaders()
  }

  onData(chunk: Buffer): void {
    this.#received += chunk.length
    if (this.#state === 'draining') {
      if (this.#received > drainLimit) this.#sent?.abort(new Declined())
      return
    }
    if (this.#state !== 'answering' || this.#isEnding || this.#isBodiless) return
    const response = this.#response
    const isLast = this.#received === this.#declared
    if (isLast && chunk.length === this.#declared && chunk.length <= smallPiece) {
      // Joined to the head as a string they are one write, where a buffer would make two.
      const body = chunk.toString('latin1')
      this.#isEnding = true
      afterReads(() => response.end(body, 'latin1'))
      return
    }
    this.#cork()
    const isTaken = this.#write(chunk)
    if (isLast) this.#end()
    else if (!isTaken) {
      const sent = this.#sent
      sent?.pause()
      response.once('drain', () => sent?.resume())
    }
  }

  onEnd(): void {
    if (this.#state === 'draining') this.#settle({ kind: 'declined' })
    else if (this.#state === 'answering') {
      this.#end()
      this.#settle({ kind: 'answered', complete: true })
    }
  }

  onError(error: Error): void {
    if (this.#state === 'draining') this.#settle({ kind: 'declined' })
    else if (this.#state === 'waiting') {
      const wasReset = this.#isSent && isReset(error)
      this.#settle({ kind: 'failed', problem: asUpstreamProblem(error), isReset: wasReset })
    } else if (this.#state === 'answering') {
      if (!this.#isEnding) this.#response.destroy()
      this.#settle({ kind: 'answered', complete: false })
    }
  }

  /** What comes in one turn of the loop goes out as one. */
  #cork(): void {
    if (this.#isCorked) return
    const response = this.#response
    this.#isCorked = true
    response.cork()
    afterReads(() => {
      this.#isCorked = false
      response.uncork()
    })
  }

  /**
   * A copy, since the connection reads on into the same memory.
   *
   * @returns whether the client takes more
   */
  #write(chunk: Buffer): boolean {
    // A client that does not read must not hold much memory for few bytes.
    if (chunk.length < smallPiece) return this.#response.write(Buffer.from(chunk))
    const { copy, giveBack } = copyOf(chunk)
    // What was not written may still be held by somebody: it is left to the collector.
    return this.#response.write(copy, error => {
      if (error == null) giveBack()
    })
  }

  #end(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.#response.end()
  }

  #left(): void {
    if (this.#state === 'done') return
    const isWhole = this.#received === this.#declared
    // Settled first: stopping is heard at once as an error of the upstream, which it is not.
    if (this.#state !== 'answering') this.#settle({ kind: 'abandoned' })
    else this.#settle({ kind: 'answered', complete: isWhole || this.#response.writableFinished })
    if (!isWhole) this.#sent?.abort(new ClientGone())
  }

  #settle(outcome: Outcome): void {
    if (this.#state === 'done') return
    this.#state = 'done'
    this.#settled(outcome)
  }
}

function withoutLength(fields: readonly string[]): string[] {
  const kept: string[] = []
  for (let at = 0; at < fields.length; at += 2)
    if (fields[at]?.toLowerCase() !== 'content-length') kept.push(fields[at] as string, fields[at + 1] as string)
  return kept
}

/** @returns bytes that will come, -1 when only the end will tell */
function lengthOf(fields: readonly string[]): number {
  for (let at = 0; at < fields.length; at += 2)
    if (fields[at]?.length === 14 && fields[at]?.toLowerCase() === 'content-length') return Number(fields[at + 1])
  return -1
}

/** Whether the connection was gone before any of an answer came. */
const isReset = ({ code }: Error & { code?: string }): boolean => /^(?:closed|ECONNRESET|EPIPE)$/.test(code ?? '')

const unavailable = (cause: unknown): Problem =>
  problem('upstream_unavailable', undefined, { headers: { 'retry-after': '2' }, cause })

function asUpstreamProblem(error: Error): Problem {
  // A body that was found too large on its way out.
  if (error instanceof Problem) return error
  const code = (error as { code?: string }).code ?? ''
  if (code === 'headers_timeout' || code === 'body_timeout')
    return problem('upstream_timeout', undefined, { cause: error })
  // No descriptor is free: that is this process's, or its host's, and not the upstream's.
  if (code === 'EMFILE' || code === 'ENFILE')
    return problem('overloaded', undefined, { headers: { 'retry-after': '2' }, cause: error })
  if (/^(?:unavailable|ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ETIMEDOUT)$/.test(code))
    return unavailable(error)
  return problem('upstream_failed', undefined, { cause: error })
}
