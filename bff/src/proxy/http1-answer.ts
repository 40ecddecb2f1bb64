import { HttpClientError } from './http-client.ts'

const fieldName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const statusLine = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: .*)?$/
/** Control characters, and line ends that are not CR LF: what one parser ends a line at, another reads on over. */
const forbidden = /[^\t\r\n\x20-\x7e\x80-\xff]|\r(?!\n)|(?<!\r)\n/
/** RFC 9112 §7.1.1, without the white space that only some take. */
const chunkLine =
  /^([0-9A-Fa-f]{1,8})(?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"[\t\x20\x21\x23-\x5b\x5d-\x7e]*"))?)*$/
const protocol = 'HTTP/1.'
const headEnd = Buffer.from('\r\n\r\n')
const lineEnd = Buffer.from('\r\n')
/** Answers with 1xx before the real one. */
const interimLimit = 16
/** Bytes of the line before each chunk. */
const chunkLineLimit = 1024

type AnswerOptions = {
  /** Whether HEAD was asked: then there is no body, whatever the head says. */
  isHead: boolean
  /** Bytes of a head, and of trailers. */
  maxHeaderSize: number
  onHead: (status: number, fields: string[]) => void
  onData: (chunk: Buffer) => void
}

/**
 * Reads one answer off a connection (RFC 9112 §4 to §7). There is one reading of it or none: what could be framed in
 * two ways, is malformed or goes on after its end is refused, and the connection must not be used again.
 */
export class Http1Answer {
  readonly #on: AnswerOptions
  #state: 'head' | 'length' | 'chunk-line' | 'chunk' | 'chunk-end' | 'trailers' | 'close' | 'whole' = 'head'
  /** Bytes of a head or a line that is not there as a whole yet. */
  #rest: Buffer | undefined
  /** Bytes that are still to come of the body, or of the chunk. */
  #left = 0
  #interim = 0
  #trailerBytes = 0
  #isReusable = true
  /** s, by the upstream's `Keep-Alive: timeout=`. */
  keepAlive: number | undefined
  hasHead = false
  /** Whether something came after its end that is no body of HEAD. */
  isFollowed = false

  constructor(on: AnswerOptions) {
    this.#on = on
  }

  get isWhole(): boolean {
    return this.#state === 'whole'
  }

  get endsWithConnection(): boolean {
    return this.#state === 'close'
  }

  get isReusable(): boolean {
    return this.#isReusable
  }

  /** @throws HttpClientError `malformed_answer` for whatever is not exactly HTTP/1.1 */
  read(piece: Buffer): void {
    let chunk = piece
    if (this.#rest !== undefined) {
      chunk = Buffer.concat([this.#rest, piece])
      this.#rest = undefined
    }
    let at = 0
    while (at < chunk.length && this.#state !== 'whole') {
      const next = this.#step(chunk, at)
      if (next === -1) {
        // Whoever reads from the socket uses that memory again.
        this.#rest = Buffer.from(chunk.subarray(at))
        return
      }
      at = next
    }
    // Something after the end: an answer to nobody's request. What came before it is complete and stays so.
    if (at < chunk.length) {
      this.#isReusable = false
      this.isFollowed = !this.#on.isHead
    }
  }

  /** @returns how far it read, -1 when more must come first */
  #step(chunk: Buffer, at: number): number {
    switch (this.#state) {
      case 'head':
        return this.#readHead(chunk, at)
      case 'close':
        this.#on.onData(at === 0 ? chunk : chunk.subarray(at))
        return chunk.length
      case 'chunk-line':
        return this.#readChunkLine(chunk, at)
      case 'chunk-end':
        if (chunk.length - at < 2) return -1
        if (chunk[at] !== 13 || chunk[at + 1] !== 10) throw malformed('a chunk is longer than it said')
        this.#state = 'chunk-line'
        return at + 2
      case 'trailers':
        return this.#readTrailer(chunk, at)
      default:
        return this.#readBody(chunk, at)
    }
  }

  #readBody(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#left)
    this.#left -= end - at
    if (this.#left === 0) this.#state = this.#state === 'length' ? 'whole' : 'chunk-end'
    this.#on.onData(at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end))
    return end
  }

  #readHead(chunk: Buffer, at: number): number {
    const end = chunk.indexOf(headEnd, at)
    if ((end === -1 ? chunk.length : end) - at > this.#on.maxHeaderSize)
      throw malformed('too many bytes of header fields')
    if (end === -1) {
      const start = lineStart(chunk, at)
      if (!protocol.startsWith(start.slice(0, protocol.length))) throw malformed('no status line')
      return -1
    }
    const lines = lineText(chunk, at, end).split('\r\n')
    const [, minor, code] = statusLine.exec(lines[0] as string) ?? []
    if (code === undefined) throw malformed('no status line')
    const status = Number(code)
    const fields: string[] = []
    for (let line = 1; line < lines.length; line++) {
      const text = lines[line] as string
      const name = nameOf(text)
      fields.push(name, withoutSpace(text, name.length + 1))
    }
    if (status < 200) {
      // Nobody asked for another protocol, and nobody may make us wait for ever.
      if (status === 101 || ++this.#interim > interimLimit) throw malformed(`status ${status}`)
      return end + 4
    }
    this.#frame(minor === '1', status, fields)
    this.hasHead = true
    this.#on.onHead(status, fields)
    return end + 4
  }

  /** Where the body ends (RFC 9112 §6.3). Two answers to that are none. */
  #frame(isCurrent: boolean, status: number, fields: readonly string[]): void {
    let length: string | undefined
    let coding: string | undefined
    this.#isReusable = isCurrent
    for (let at = 0; at < fields.length; at += 2) {
      const name = (fields[at] as string).toLowerCase()
      const value = fields[at + 1] as string
      if (name === 'content-length') {
        if (length !== undefined || !/^\d{1,15}$/.test(value)) throw malformed('Content-Length')
        length = value
      } else if (name === 'transfer-encoding') {
        if (coding !== undefined || !isCurrent || value.toLowerCase() !== 'chunked')
          throw malformed('Transfer-Encoding')
        coding = value
      } else if (name === 'connection') {
        if (/(?:^|[,\t ])close(?:$|[,\t ])/i.test(value)) this.#isReusable = false
      } else if (name === 'keep-alive') {
        const seconds = /(?:^|[,;\t ])timeout=(\d{1,6})/i.exec(value)?.[1]
        if (seconds !== undefined) this.keepAlive = Number(seconds)
      }
    }
    if (length !== undefined && coding !== undefined) throw malformed('Content-Length beside Transfer-Encoding')
    // A server that frames a body which there cannot be may send it, too, at any time (RFC 9110 §15.3.5, §15.4.5).
    if (isBodiless(status) && (coding !== undefined || (status === 204 && length !== undefined && Number(length) > 0)))
      this.#isReusable = false
    if (this.#on.isHead || isBodiless(status)) this.#state = 'whole'
    else if (coding !== undefined) this.#state = 'chunk-line'
    else if (length === undefined) {
      this.#state = 'close'
      this.#isReusable = false
    } else {
      this.#left = Number(length)
      this.#state = this.#left === 0 ? 'whole' : 'length'
    }
  }

  #readChunkLine(chunk: Buffer, at: number): number {
    const end = chunk.indexOf(lineEnd, at)
    if ((end === -1 ? chunk.length : end) - at > chunkLineLimit) throw malformed('a chunk without a size')
    if (end === -1) {
      lineStart(chunk, at)
      return -1
    }
    const size = chunkLine.exec(lineText(chunk, at, end))?.[1]
    if (size === undefined) throw malformed('a chunk without a size')
    this.#left = Number.parseInt(size, 16)
    this.#state = this.#left === 0 ? 'trailers' : 'chunk'
    return end + 2
  }

  /** Trailers are read and dropped. */
  #readTrailer(chunk: Buffer, at: number): number {
    const end = chunk.indexOf(lineEnd, at)
    const length = (end === -1 ? chunk.length : end) - at
    if (this.#trailerBytes + length > this.#on.maxHeaderSize) throw malformed('too many bytes of header fields')
    if (end === -1) {
      lineStart(chunk, at)
      return -1
    }
    this.#trailerBytes += length
    if (length === 0) this.#state = 'whole'
    else nameOf(lineText(chunk, at, end))
    return end + 2
  }
}

/**
 * The name of a field line (RFC 9112 §5).
 *
 * @throws HttpClientError for a line that is none
 */
function nameOf(line: string): string {
  const colon = line.indexOf(':')
  const name = line.slice(0, colon)
  if (colon === -1 || !fieldName.test(name)) throw malformed('a line that is no field')
  return name
}

const isBodiless = (status: number): boolean => status === 204 || status === 304

/** The rest of a line without the spaces and tabs around it; what else JavaScript calls space is part of a value. */
function withoutSpace(text: string, from: number): string {
  let start = from
  let end = text.length
  while (start < end && isSpace(text.charCodeAt(start))) start++
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

const isSpace = (code: number): boolean => code === 32 || code === 9

/**
 * What is there of a line whose end is still to come: nobody waits for more of what is refused already.
 *
 * @throws as {@link lineText}
 */
function lineStart(chunk: Buffer, at: number): string {
  return lineText(chunk, at, chunk.at(-1) === 13 ? chunk.length - 1 : chunk.length)
}

/** @throws HttpClientError for anything in it that parsers disagree on */
function lineText(chunk: Buffer, at: number, end: number): string {
  const text = chunk.toString('latin1', at, end)
  if (forbidden.test(text)) throw malformed('a control character')
  return text
}

const malformed = (what: string): Error => new HttpClientError('malformed_answer', `malformed answer: ${what}`)
