import type { Socket } from 'node:net'
import { afterReads } from './after-reads.ts'
import { BodyWriter } from './body-writer.ts'
import { type ClientRequest, HttpClientError, type HttpClientOptions } from './http-client.ts'
import { Http1Answer } from './http1-answer.ts'
import type { Http1Request } from './http1-request.ts'
import type { createSocketFactory } from './upstream-socket.ts'

/** What a connection tells its pool. */
export type Owner = {
  connected(connection: Http1Connection): void
  /** It could take another request. */
  freed(connection: Http1Connection): void
  closed(connection: Http1Connection, wasConnecting: boolean, reason: Error): void
  /** The upstream sent what nobody asked for. */
  unasked(): void
  paused(request: Http1Request): void
  /** It reads on, or is over. */
  resumed(request: Http1Request): void
}

export type ConnectionOptions = HttpClientOptions & {
  connectSocket: ReturnType<typeof createSocketFactory>
  /** The `Host` field. */
  host: string
}

/** ms after which a connection takes no further request, a quarter more or less: new pods of the upstream get traffic. */
const greatestAge = 120_000

/** ms that a connection may be idle when the upstream does not say how long it keeps one. */
const idleTime = 4_000
/** ms taken off what the upstream says, for the way there. */
const idleMargin = 1_000
const longestIdleTime = 600_000
const payloadMethods: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH'])
/** What servers send on an idle connection before they close it (RFC 9110 §15.5.9). */
const timeoutNotice = /^HTTP\/1\.[01] 408 /

/** One connection and, at most, the one request that it carries. */
export class Http1Connection {
  readonly createdAt = performance.now()
  readonly #usableUntil = this.createdAt + greatestAge * (0.75 + Math.random() / 2)
  readonly #socket: Socket
  readonly #owner: Owner
  readonly #options: ConnectionOptions
  #state: 'connecting' | 'idle' | 'busy' | 'closed' = 'connecting'
  #request: Http1Request | undefined
  #answer: Http1Answer | undefined
  #bodyWriter: BodyWriter | undefined
  /** Until then an answer can only be somebody else's. */
  #isWritten = false
  #isKept = true
  /** When patience with the present state ends (`performance.now()`). */
  #deadline: number
  #idleTime = idleTime

  constructor(owner: Owner, options: ConnectionOptions) {
    this.#owner = owner
    this.#options = options
    this.#deadline = this.createdAt + options.connectTimeout
    const socket = options.connectSocket({ onOpen: () => this.#opened(), onRead: chunk => this.#read(chunk) })
    this.#socket = socket
    socket.on('end', () => this.#ended())
    socket.on('error', error => this.fail(error))
    socket.on('close', () => this.fail(new HttpClientError('closed', 'the connection was closed')))
  }

  /** Whether it may take another request. */
  get isUsable(): boolean {
    return this.#state === 'idle' && performance.now() < this.#usableUntil
  }

  /** @param isKept whether it may be used again afterwards */
  send(request: Http1Request, isKept: boolean): void {
    const { method } = request.outgoing
    const isHead = method === 'HEAD'
    this.#state = 'busy'
    this.#request = request
    // A server that answers HEAD with a body all the same must not be heard by the next request.
    this.#isKept = isKept && !isHead
    this.#isWritten = false
    this.#answer = new Http1Answer({
      isHead,
      maxHeaderSize: this.#options.maxHeaderSize,
      onHead: (status, fields) => request.head(status, fields),
      onData: chunk => request.data(chunk),
    })
    this.#awaitHead()
    request.sentBy(this)
    afterReads(() => {
      if (this.#request === request) this.#write(request.outgoing)
    })
  }

  #write(request: ClientRequest): void {
    const { token, body } = request
    if (body !== null && !Buffer.isBuffer(body) && body.destroyed) {
      this.fail(body.errored ?? new HttpClientError('closed', 'the body broke off'))
      return
    }
    this.#isWritten = true
    let head = `${request.method} ${request.path} HTTP/1.1\r\nhost: ${this.#options.host}\r\nconnection: ${this.#isKept ? 'keep-alive' : 'close'}\r\n`
    for (let at = 0; at < request.headers.length; at += 2)
      head += `${request.headers[at]}: ${request.headers[at + 1]}\r\n`
    if (token !== undefined) head += `authorization: Bearer ${token}\r\n`
    if (body === null) {
      if (payloadMethods.has(request.method)) head += 'content-length: 0\r\n'
      this.#socket.write(`${head}\r\n`, 'latin1')
    } else if (Buffer.isBuffer(body)) {
      head += `content-length: ${body.length}\r\n\r\n`
      this.#socket.write(Buffer.concat([Buffer.from(head, 'latin1'), body]))
    } else {
      const length = lengthOf(request.headers)
      if (length === undefined) head += 'transfer-encoding: chunked\r\n'
      this.#socket.write(`${head}\r\n`, 'latin1')
      this.#bodyWriter = new BodyWriter(body, this.#socket, length, {
        progress: () => this.#awaitHead(),
        error: error => this.fail(error),
      })
    }
  }

  #awaitHead(): void {
    if (this.#answer?.hasHead === false) this.#deadline = performance.now() + this.#options.headersTimeout
  }

  pause(): void {
    this.#socket.pause()
    if (this.#request !== undefined) this.#owner.paused(this.#request)
  }

  /** The time that its reader took is none of the upstream's. */
  resume(): void {
    this.#deadline = performance.now() + this.#options.bodyTimeout
    if (this.#request !== undefined) this.#owner.resumed(this.#request)
    this.#socket.resume()
  }

  /** Ends the connection and, with this reason, the request that it carries. */
  fail(reason: Error): void {
    if (this.#state === 'closed') return
    const wasConnecting = this.#state === 'connecting'
    const request = this.#close()
    request?.fail(reason)
    this.#owner.closed(this, wasConnecting, reason)
  }

  /** Ends it, unless it carries a request. */
  retire(): void {
    if (this.#state === 'idle') this.fail(new HttpClientError('closed', 'not used again'))
  }

  expire(now: number): void {
    if (now < this.#deadline) return
    const { bodyTimeout, headersTimeout } = this.#options
    const isHeadThere = this.#answer?.hasHead === true
    // Whoever sends the body, or reads the answer, has time limits of its own: the listener's.
    const isUploading = this.#bodyWriter !== undefined && !this.#bodyWriter.isWhole && !this.#bodyWriter.isBlocked
    if (this.#state === 'connecting') this.fail(new HttpClientError('unavailable', 'no connection was opened in time'))
    else if (this.#state === 'idle') this.retire()
    else if (this.#request?.isPaused === true || isUploading)
      this.#deadline = now + (isHeadThere ? bodyTimeout : headersTimeout)
    else if (isHeadThere) this.fail(new HttpClientError('body_timeout', 'the body did not go on'))
    else this.fail(new HttpClientError('headers_timeout', 'no answer began'))
  }

  #opened(): void {
    if (this.#state !== 'connecting') return
    this.#rest()
    this.#owner.connected(this)
  }

  #read(chunk: Buffer): void {
    const answer = this.#answer
    if (answer === undefined || !this.#isWritten) {
      if (!timeoutNotice.test(chunk.toString('latin1', 0, 13))) this.#owner.unasked()
      this.fail(new HttpClientError('closed', 'bytes that nobody asked for'))
      return
    }
    try {
      answer.read(chunk)
    } catch (error) {
      this.fail(error as Error)
      return
    }
    // The reader may have given it up.
    if (this.#answer !== answer) return
    if (answer.isWhole) this.#finish(answer)
    else if (answer.hasHead) this.#deadline = performance.now() + this.#options.bodyTimeout
  }

  #finish(answer: Http1Answer): void {
    if (answer.isFollowed) this.#owner.unasked()
    const isWritten = this.#bodyWriter?.isWhole !== false
    if (answer.isReusable && this.#isKept && isWritten) {
      this.#idleTime = idleTimeOf(answer.keepAlive) ?? this.#idleTime
      const request = this.#forget()
      this.#rest()
      if (this.#socket.isPaused()) this.#socket.resume()
      this.#owner.freed(this)
      request?.end()
    } else {
      const request = this.#close()
      this.#owner.closed(this, false, new HttpClientError('closed', 'not used again'))
      request?.end()
    }
  }

  #rest(): void {
    const now = performance.now()
    this.#state = 'idle'
    this.#deadline = Math.min(now + this.#idleTime, this.#usableUntil)
  }

  #ended(): void {
    const answer = this.#answer
    if (answer?.endsWithConnection === true) this.#finish(answer)
    else this.fail(new HttpClientError('closed', 'the upstream closed the connection'))
  }

  #close(): Http1Request | undefined {
    this.#state = 'closed'
    this.#socket.destroy()
    return this.#forget()
  }

  #forget(): Http1Request | undefined {
    const request = this.#request
    if (request === undefined) return undefined
    this.#request = undefined
    this.#answer = undefined
    this.#bodyWriter?.close()
    this.#bodyWriter = undefined
    if (request.isPaused) this.#owner.resumed(request)
    return request
  }
}

/** Bytes of a streamed body, by its `content-length`. */
function lengthOf(headers: readonly string[]): number | undefined {
  for (let at = 0; at < headers.length; at += 2) if (headers[at] === 'content-length') return Number(headers[at + 1])
  return undefined
}

/** ms that an upstream keeps an idle connection, by the seconds of its `Keep-Alive` field. */
const idleTimeOf = (seconds: number | undefined): number | undefined =>
  seconds && Math.max(1, Math.min(seconds * 1000, longestIdleTime) - idleMargin)
