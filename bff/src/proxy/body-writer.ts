import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { HttpClientError } from './http-client.ts'

type BodyListener = {
  /** The body goes on, or the upstream that takes it. */
  progress(): void
  error(error: Error): void
}

/** Writes a body that comes in pieces: by its length if that is known, else in chunks (RFC 9112 §6.2, §7.1). */
export class BodyWriter {
  readonly #body: Readable
  readonly #socket: Socket
  readonly #on: BodyListener
  readonly #isChunked: boolean
  /** Bytes that are still to come, by the length that was said. */
  #left: number
  #isClosed = false
  isWhole = false

  /** @param length bytes of the body; undefined when only its end will tell */
  constructor(body: Readable, socket: Socket, length: number | undefined, on: BodyListener) {
    this.#body = body
    this.#socket = socket
    this.#on = on
    this.#isChunked = length === undefined
    this.#left = length ?? Number.POSITIVE_INFINITY
    body.on('data', (chunk: Buffer) => this.#write(chunk))
    body.on('end', () => this.#end())
    body.on('error', error => this.#fail(error))
    body.on('close', () => {
      if (!this.isWhole) this.#fail(new HttpClientError('closed', 'the body broke off'))
    })
    socket.on('drain', this.#resume)
  }

  /** Writes no more. */
  close(): void {
    this.#isClosed = true
    this.#socket.off('drain', this.#resume)
  }

  /** Whether it is the upstream that does not take what is there. */
  get isBlocked(): boolean {
    return this.#body.isPaused()
  }

  readonly #resume = (): void => {
    this.#body.resume()
    this.#on.progress()
  }

  #write(chunk: Buffer): void {
    if (this.#isClosed) return
    const socket = this.#socket
    this.#left -= chunk.length
    if (this.#left < 0) {
      this.#fail(new HttpClientError('invalid_request', 'the body is longer than it said'))
      return
    }
    let isTaken: boolean
    if (this.#isChunked) {
      socket.cork()
      socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
      socket.write(chunk)
      isTaken = socket.write('\r\n', 'latin1')
      socket.uncork()
    } else isTaken = socket.write(chunk)
    if (!isTaken) this.#body.pause()
    this.#on.progress()
  }

  #end(): void {
    if (this.#isClosed) return
    if (this.#isChunked) this.#socket.write('0\r\n\r\n', 'latin1')
    else if (this.#left > 0) {
      this.#fail(new HttpClientError('invalid_request', 'the body is shorter than it said'))
      return
    }
    this.isWhole = true
    this.#on.progress()
  }

  #fail(error: Error): void {
    if (!this.#isClosed) this.#on.error(error)
  }
}
