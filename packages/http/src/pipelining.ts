import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Connections whose next request is taken in one turn of the event loop. */
const connectionsAtOnce = 16
/** Bytes that are kept of what comes too early; beyond, the connection is not read. */
const mostSurplus = 16 * 1024
/** ms that a connection may stay unread, since its client's leaving cannot be seen meanwhile. */
const longestUnread = 30_000
/** Empty lines before a request; RFC 9112 §2.2 asks to bear with one. */
const mostEmptyLines = 4

const [cr, lf] = [0x0d, 0x0a]
const endOfHead = Buffer.from('\r\n\r\n')
/** RFC 9112 §3; the parser knows the methods, but takes more than one space. */
const requestLine = /^[!-~]+ [!-~\x80-\xff]+ HTTP\/1\.[01]\r\n$/

/**
 * One request of a connection at a time (RFC 9112 §9.3.2): the next one is not parsed before the answer to this one has
 * left. Node parses a read of 64 KB at once, which may be thousands of requests, whatever is paused or destroyed
 * meanwhile; so its parser gets each read in pieces that end with a message.
 *
 * @param refuse answers 400 to what is no request, when no other answer is owed, and ends the connection
 * @returns whether a connection has sent more than the request that is being answered
 */
export function boundPipelining(server: Server, refuse: (socket: Socket) => void): (socket: Socket) => boolean {
  const pipelines = new WeakMap<Socket, Pipeline>()
  const turns = takeTurns()
  server.on('connection', (socket: Socket) => pipelines.set(socket, new Pipeline(socket, turns, refuse)))
  server.prependListener('request', (request, response) => pipelines.get(request.socket)?.begin(request, response))
  return socket => pipelines.get(socket)?.hasMore ?? false
}

/** What one connection sends. */
class Pipeline {
  readonly #socket: Socket
  readonly #turns: Turns
  readonly #refuse: (socket: Socket) => void
  readonly #parse: (data: Buffer) => void
  readonly #end: () => void
  #request: IncomingMessage | undefined
  #response: ServerResponse | undefined
  /** Requests that began in the piece that is being parsed. */
  #begun = 0
  /** The body that is to come: its chunks, or else the bytes of the length that was declared. */
  #chunks: Chunks | undefined
  #bodyLeft = 0
  #emptyLines = 0
  /** What came of a request line; undefined once all of it was looked at. */
  #line: string | undefined = ''
  /** The end of a read that may be the beginning of an {@link endOfHead}. */
  #tail: Buffer | undefined
  /** What came before its turn. */
  #surplus: Buffer | undefined
  #isWaiting = false
  #unread: NodeJS.Timeout | undefined

  constructor(socket: Socket, turns: Turns, refuse: (socket: Socket) => void) {
    this.#socket = socket
    this.#turns = turns
    this.#refuse = refuse
    this.#parse = takeListener(socket, 'data')
    this.#end = takeListener(socket, 'end')
    // Whoever listens gets the bytes: Node's parser no longer reads by itself.
    socket.on('data', (data: Buffer) => this.#take(data))
    socket.on('end', () => this.#finish())
  }

  get hasMore(): boolean {
    return this.#surplus !== undefined
  }

  begin(request: IncomingMessage, response: ServerResponse): void {
    // The parser has found a message where none was seen here: nothing of what follows can be told apart.
    if (++this.#begun > 1) {
      this.#socket.destroy()
      return
    }
    this.#request = request
    this.#response = response
    this.#chunks = request.headers['transfer-encoding'] === undefined ? undefined : new Chunks()
    this.#bodyLeft = Number(request.headers['content-length'] ?? 0)
    this.#line = ''
    this.#emptyLines = 0
  }

  /** Goes on, when its turn has come. */
  next(): void {
    this.#isWaiting = false
    clearTimeout(this.#unread)
    this.#unread = undefined
    const surplus = this.#surplus
    this.#surplus = undefined
    if (surplus !== undefined) this.#feed(surplus)
    if (this.#unread === undefined) this.#socket.resume()
  }

  #take(read: Buffer): void {
    if (this.#isWaiting || this.#isOwed()) this.#keep(read)
    else this.#feed(read)
  }

  #feed(read: Buffer): void {
    let data = this.#tail === undefined ? read : Buffer.concat([this.#tail, read])
    this.#tail = undefined
    while (data.length > 0) {
      // Refused, or told that this was the last: nothing more of it will be answered.
      if (!this.#socket.writable) return
      if (this.#isOwed()) {
        this.#keep(data)
        return
      }
      const isBody = this.#request?.complete === false
      if (!isBody) data = this.#withoutEmptyLines(data)
      const length = isBody ? this.#lengthOfBody(data) : untilEnd(data)
      if (length === 0 && !isBody) {
        if (data.length > 0) this.#tail = Buffer.from(data)
        return
      }
      const piece = data.subarray(0, length)
      // No body goes on behind its end, and no request begins otherwise.
      if (length === 0 || !(isBody || this.#isRequestLine(piece))) {
        this.#refuse(this.#socket)
        return
      }
      data = data.subarray(length)
      // For who is answered at once: what has come too early shows before the next look.
      this.#surplus = data.length > 0 ? data : undefined
      this.#begun = 0
      this.#parse(piece)
      this.#surplus = undefined
    }
  }

  /** To Node, who sends no more has left, whatever is owed to it. */
  #finish(): void {
    this.#surplus = undefined
    if (this.#socket.writable) this.#end()
  }

  /** Whether a whole request waits for its answer, or for the end of it. */
  #isOwed(): boolean {
    return this.#request?.complete === true && this.#response?.closed === false
  }

  /** Reads on as long as little has come: so it is seen when the client leaves. */
  #keep(data: Buffer): void {
    this.#surplus = this.#surplus === undefined ? data : Buffer.concat([this.#surplus, data])
    if (this.#surplus.length > mostSurplus) {
      // A message that ends makes Node resume, as does whoever reads its body.
      this.#socket.pause()
      this.#unread ??= setTimeout(() => this.#socket.destroy(), longestUnread).unref()
    }
    if (this.#isWaiting) return
    this.#isWaiting = true
    if (this.#isOwed()) this.#response?.once('close', () => this.#turns.add(this))
    else this.#turns.add(this)
  }

  #withoutEmptyLines(data: Buffer): Buffer {
    if (this.#line !== '') return data
    let at = 0
    while (data[at] === cr && data[at + 1] === lf && this.#emptyLines < mostEmptyLines) {
      at += 2
      this.#emptyLines++
    }
    return data.subarray(at)
  }

  #lengthOfBody(data: Buffer): number {
    if (this.#chunks !== undefined) return this.#chunks.take(data)
    const length = Math.min(this.#bodyLeft, data.length)
    this.#bodyLeft -= length
    return length
  }

  /** Looks at the line as far as it came. */
  #isRequestLine(piece: Buffer): boolean {
    if (this.#line === undefined) return true
    const end = piece.indexOf(lf) + 1
    this.#line += piece.toString('latin1', 0, end === 0 ? piece.length : end)
    if (end === 0) return true
    const isOne = requestLine.test(this.#line)
    this.#line = undefined
    return isOne
  }
}

/** Follows a body in chunks (RFC 9112 §7.1) as far as to know where it ends; whether it is one, the parser says. */
class Chunks {
  /** Bytes to come of a chunk and the line end behind it. */
  #left = 0
  /** The beginning of a line: a chunk's size, or a field of the trailer. */
  #line = ''
  #isTrailer = false
  #isOver = false

  /** @returns how many of these bytes are the body's */
  take(data: Buffer): number {
    let at = 0
    while (at < data.length && !this.#isOver) {
      if (this.#left > 0) {
        const length = Math.min(this.#left, data.length - at)
        this.#left -= length
        at += length
        continue
      }
      const end = data.indexOf(lf, at)
      const next = end === -1 ? data.length : end + 1
      if (this.#line.length < longestSize) this.#line += data.toString('latin1', at, Math.min(next, at + longestSize))
      at = next
      if (end === -1) break
      this.#endLine()
    }
    return at
  }

  #endLine(): void {
    const line = this.#line.trimEnd()
    this.#line = ''
    if (this.#isTrailer) this.#isOver = line === ''
    else {
      const size = Number.parseInt(line, 16)
      this.#isTrailer = size === 0
      // What is no number the parser refuses.
      this.#left = size > 0 ? size + 2 : 0
    }
  }
}

/** Characters of a line that are looked at; a size that has more of them no body has. */
const longestSize = 24

/** The one that node:http has put there last. */
function takeListener(socket: Socket, event: string): (data?: Buffer) => void {
  const listener = socket.listeners(event).at(-1) as ((data?: Buffer) => void) | undefined
  if (listener === undefined) throw new Error(`node:http does not listen to ${event} of its connections`)
  socket.removeListener(event, listener)
  return listener
}

/** @returns bytes up to the end of a head; without one, those that can be no part of it */
function untilEnd(data: Buffer): number {
  const at = data.indexOf(endOfHead)
  if (at !== -1) return at + endOfHead.length
  for (let length = endOfHead.length - 1; length > 0; length--)
    if (data.length >= length && endOfHead.compare(data, data.length - length, data.length, 0, length) === 0)
      return data.length - length
  return data.length
}

type Turns = { add(pipeline: Pipeline): void }

/** A few after each look at everybody else's connections: who sends one request after the other waits for none of them. */
function takeTurns(): Turns {
  const waiting: Pipeline[] = []
  const take = (): void => {
    for (const pipeline of waiting.splice(0, connectionsAtOnce)) pipeline.next()
    if (waiting.length > 0) setImmediate(take)
  }
  return {
    add(pipeline) {
      if (waiting.push(pipeline) === 1) setImmediate(take)
    },
  }
}
