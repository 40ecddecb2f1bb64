import type { ClientRequest, ResponseHandler, SentRequest } from './http-client.ts'

/** What carries a request that left the queue. */
type Carrier = {
  /** Ends the connection and, with this reason, its request. */
  fail(reason: Error): void
  pause(): void
  resume(): void
}

/** One request, from the queue to the end of its answer. */
export class Http1Request implements SentRequest {
  readonly outgoing: ClientRequest
  readonly since = performance.now()
  /** When its reader stopped taking the answer (`performance.now()`). */
  pausedAt = 0
  isPaused = false
  readonly #handler: ResponseHandler
  readonly #leaveQueue: (request: Http1Request) => void
  #connection: Carrier | undefined
  #isOver = false

  constructor(outgoing: ClientRequest, handler: ResponseHandler, leaveQueue: (request: Http1Request) => void) {
    this.outgoing = outgoing
    this.#handler = handler
    this.#leaveQueue = leaveQueue
  }

  /** Bytes that it keeps while it waits; a body that comes in pieces waits where it is. */
  get size(): number {
    const { path, headers, token = '', body } = this.outgoing
    let size = path.length + token.length + (Buffer.isBuffer(body) ? body.length : 0)
    for (const part of headers) size += part.length
    return size
  }

  sentBy(connection: Carrier): void {
    this.#connection = connection
    this.#handler.onSent()
  }

  head(status: number, fields: string[]): void {
    this.#handler.onHead(status, fields)
  }

  data(chunk: Buffer): void {
    if (!this.#isOver) this.#handler.onData(chunk)
  }

  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#dropBody()
    this.#handler.onEnd()
  }

  fail(reason: Error): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#dropBody()
    this.#handler.onError(reason)
  }

  /** Nobody reads the rest of it. */
  #dropBody(): void {
    const { body } = this.outgoing
    if (body !== null && !Buffer.isBuffer(body)) body.destroy()
  }

  abort(reason: Error): void {
    if (this.#isOver) return
    if (this.#connection === undefined) {
      this.#leaveQueue(this)
      this.fail(reason)
    } else this.#connection.fail(reason)
  }

  // The connection may serve somebody else by the time that this reader reads on.
  pause(): void {
    if (this.#isOver || this.isPaused) return
    this.isPaused = true
    this.pausedAt = performance.now()
    this.#connection?.pause()
  }

  resume(): void {
    if (this.#isOver || !this.isPaused) return
    this.isPaused = false
    this.#connection?.resume()
  }
}
