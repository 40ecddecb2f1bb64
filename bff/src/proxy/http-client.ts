import type { Readable } from 'node:stream'

/** A request as it is written to an upstream. */
export type ClientRequest = {
  method: string
  /** Request target (RFC 9112 §3.2.1). */
  path: string
  /** Name, value, name, value. The only one that frames the body is the `content-length` of a stream, if it is known. */
  headers: readonly string[]
  /** Sent as `authorization: Bearer`. Nothing looks at its characters again: the provider's answer was checked. */
  token?: string | undefined
  body: Readable | Buffer | null
}

/** What is told of one request, in this order; after `onEnd` or `onError` nothing more, and nothing from within `send`. */
export type ResponseHandler = {
  /** It is written now: from here on the upstream may have acted on it. */
  onSent(): void
  /** @param fields name, value, name, value, as they came */
  onHead(status: number, fields: string[]): void
  /** A piece of the body; its memory is read into again after the call. */
  onData(chunk: Buffer): void
  onEnd(): void
  onError(error: Error): void
}

/** What may be done about a request that was given to a client. */
export type SentRequest = {
  /** Gives it up at once, waiting or under way; `onError` is told this reason. */
  abort(reason: Error): void
  /** Stops reading the answer. */
  pause(): void
  resume(): void
}

/** An HTTP client for one upstream. */
export type HttpClient = {
  /** @throws HttpClientError `invalid_request` for what could be read as another request, `destroyed` */
  send(request: ClientRequest, handler: ResponseHandler): SentRequest
  /** Ends all connections. */
  destroy(): Promise<void>
}

export type HttpClientOptions = {
  /** `http:` or `https:`, whose certificates are verified. */
  origin: string
  /** What Host says; the origin's own when absent. */
  host?: string | undefined
  /** Connections that carry requests at once. */
  connections: number
  /** ms until a connection is open, and that a request may wait for one. */
  connectTimeout: number
  /** ms until the head of an answer. */
  headersTimeout: number
  /** ms between two pieces of a body, while the reader takes them; Infinity for bodies without an end in sight. */
  bodyTimeout: number
  /** Bytes of a head. */
  maxHeaderSize: number
}

export type CreateHttpClient = (options: HttpClientOptions) => HttpClient

type HttpClientErrorCode =
  /** No connection is there, and none may be opened, or none was opened in time. */
  | 'unavailable'
  | 'headers_timeout'
  | 'body_timeout'
  /** The connection ended before the answer did. */
  | 'closed'
  /** Not exactly HTTP/1.1. */
  | 'malformed_answer'
  | 'invalid_request'
  /** Others wait for the connection of a reader that does not read. */
  | 'read_too_slowly'
  | 'destroyed'

export class HttpClientError extends Error {
  readonly code: HttpClientErrorCode

  constructor(code: HttpClientErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
