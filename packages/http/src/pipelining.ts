import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Pieces of one read that are parsed before others have their turn. */
const piecesAtOnce = 64
/** Connections whose next request is taken in one turn of the event loop. */
const connectionsAtOnce = 16

const [cr, lf] = [0x0d, 0x0a]
const endOfHead = Buffer.from('\r\n\r\n')
/** RFC 9112 §3; the parser knows the methods, but takes more than one space. */
const requestLine = /^[!-~]+ [!-~\x80-\xff]+ HTTP\/1\.[01]\r\n$/

/**
 * One request of a connection at a time (RFC 9112 §9.3.2): the next one is not parsed before the answer to this one has
 * left, and meanwhile the connection is not read. Node parses a read of 64 KB at once, which may be thousands of
 * requests, whatever is paused or destroyed meanwhile; so its parser gets each read in pieces that end with a message.
 *
 * @param refuse answers 400 to a request line that is none, when no other answer is owed, and ends the connection
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
  /** Whether more came than is being parsed. */
  hasMore = false
  readonly #socket: Socket
  readonly #turns: Turns
  readonly #refuse: (socket: Socket) => void
  readonly #parse: (data: Buffer) => void
  readonly #end: () => void
  #request: IncomingMessage | undefined
  #response: ServerResponse | undefined
  /** Bytes to come of a body whose length was declared. */
  #bodyLeft = 0
  /** What came of a request line; undefined once all of it was looked at. */
  #line: string | undefined = ''
  /** The end of a read that may be the beginning of an {@link endOfHead}. */
  #tail: Buffer | undefined
  #isWaiting = false
  /** Whether what is being answered came before its turn. */
  #hasWaited = false

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

  begin(request: IncomingMessage, response: ServerResponse): void {
    this.#request = request
    this.#response = response
    this.#bodyLeft = Number(request.headers['content-length'] ?? 0)
    this.#line = ''
  }

  /** Reads on, when its turn has come. */
  next(): void {
    this.#isWaiting = false
    this.#hasWaited = this.#socket.readableLength > 0
    this.#socket.resume()
  }

  #take(read: Buffer): void {
    // A message that ends makes Node resume, as does whoever reads its body.
    if (this.#isWaiting || this.#isOwed()) {
      this.#wait(read)
      return
    }
    let data = this.#tail === undefined ? read : Buffer.concat([this.#tail, read])
    this.#tail = undefined
    for (let pieces = 0; data.length > 0; pieces++) {
      // Refused, or told that this was the last: nothing more of it will be answered.
      if (!this.#socket.writable) return
      if (pieces === piecesAtOnce || this.#isOwed()) {
        this.#wait(data)
        return
      }
      const isBody = this.#request?.complete === false
      const end = isBody && this.#bodyLeft > 0 ? this.#bodyLeft : untilEnd(data)
      if (end === 0) {
        this.#tail = Buffer.from(data)
        this.hasMore = false
        break
      }
      const piece = end < data.length ? data.subarray(0, end) : data
      data = data.subarray(piece.length)
      this.hasMore = data.length > 0
      if (isBody) this.#bodyLeft = Math.max(0, this.#bodyLeft - piece.length)
      else if (!this.#isRequestLine(piece)) {
        this.#refuse(this.#socket)
        return
      }
      this.#parse(piece)
    }
  }

  /** The client sends no more. To Node this means that it has left; who has sent several requests gets all answers. */
  #finish(): void {
    if (this.#hasWaited && this.#isOwed()) this.#response?.once('close', () => this.#finish())
    else if (this.#socket.writable) this.#end()
  }

  /** Whether a whole request waits for its answer, or for the end of it. */
  #isOwed(): boolean {
    return this.#request?.complete === true && this.#response?.closed === false
  }

  #wait(data: Buffer): void {
    this.#socket.pause()
    if (data.length > 0) this.#socket.unshift(data)
    if (this.#isWaiting) return
    this.#isWaiting = true
    if (this.#isOwed()) this.#response?.once('close', () => this.#turns.add(this))
    else this.#turns.add(this)
  }

  /** Looks at the line as far as it came; what is before it (RFC 9112 §2.2) may be empty lines. */
  #isRequestLine(piece: Buffer): boolean {
    if (this.#line === undefined) return true
    let start = 0
    if (this.#line === '') while (piece[start] === cr && piece[start + 1] === lf) start += 2
    const end = piece.indexOf(lf, start) + 1
    this.#line += piece.toString('latin1', start, end === 0 ? piece.length : end)
    if (end === 0) return true
    const isOne = requestLine.test(this.#line)
    this.#line = undefined
    return isOne
  }
}

/** The one that node:http has put there last. */
function takeListener(socket: Socket, event: string): (data?: Buffer) => void {
  const listener = socket.listeners(event).at(-1) as ((data?: Buffer) => void) | undefined
  if (listener === undefined) throw new Error(`node:http does not listen to ${event} of its connections`)
  socket.removeListener(event, listener)
  return listener
}

/**
 * @returns bytes up to the first end of a head, or of a body in chunks; without one, those that can be no part of it.
 * A piece of chunked data may look like an end: it is only divided there.
 */
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
