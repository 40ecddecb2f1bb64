import { connect, type Socket, type TcpNetConnectOpts } from 'node:net'
import { type Dispatcher, errors } from 'undici'
import { afterReads } from './after-reads.ts'
import { Http1Answer } from './http1-answer.ts'

/** A request whose body, if it has one, is there as a whole. */
type WholeRequest = {
  method: string
  path: string
  headers: readonly string[]
  /** Sent as `authorization: Bearer`. Nothing looks at its characters again: the provider's answer was checked. */
  token?: string | undefined
  body: Buffer | null
}

type Http1PoolOptions = {
  /** `http:` only. */
  origin: string
  /** Those whose client reads. As many again, {@link heldShare} times, may be held by clients that do not. */
  connections: number
  /** ms until a connection is open. */
  connectTimeout: number
  /** ms until the head of an answer. */
  headersTimeout: number
  /** ms between two pieces of a body, while the client takes them. */
  bodyTimeout: number
  /** Bytes of a head. */
  maxHeaderSize: number
}

/**
 * The part of undici's dispatcher that the pipe uses. One thing is different: a piece of a body is the handler's for
 * the length of the call, unless it keeps it.
 */
type Http1Pool = {
  dispatch(request: WholeRequest, handler: Dispatcher.DispatchHandler): void
  destroy(): Promise<void>
}

type Waiting = { request: WholeRequest; handler: Dispatcher.DispatchHandler }

/** ms that a connection may rest when the upstream does not say how long it keeps one. */
const restingTime = 4_000
/** ms taken off what the upstream says, for the way there. */
const restingMargin = 1_000
const longestRest = 600_000
/** ms between two looks at what has taken too long: one timer for all connections. */
const look = 250
/** Bytes that are read at once, into memory that is used again: new memory for each read makes the collector the dearest part of a large answer. */
const blockSize = 64 * 1024
/** Blocks that wait for their next use. */
const spareBlocks = 64
/** Times the size of a pool that clients may hold by not reading: a connection costs little, an outage for all others much. */
const heldShare = 8
const payloadMethods: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH'])
const unsafeValue = /[^\t\x20-\x7e\x80-\xff]/
const unsafeTarget = /[^\x21-\x7e]/

/**
 * HTTP/1.1 (RFC 9112) to one upstream, for requests that are known as a whole: the cheapest way that Node has, and no
 * more than that. One request at a time per connection; whatever is not exactly right ends the connection. undici
 * serves everything else and is what this is compared with.
 */
export function createHttp1Pool(options: Http1PoolOptions): Http1Pool {
  const { hostname, port, host } = new URL(options.origin)
  const address = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 80), noDelay: true }
  const all = new Set<Connection>()
  const resting: Connection[] = []
  let cooling: Connection[] = []
  const queue: Waiting[] = []
  const spare: Buffer[] = []
  let isDestroyed = false
  /** Connections whose client took nothing since the last look: they are not counted. */
  let held = 0

  const timer = setInterval(() => {
    const now = performance.now()
    held = 0
    for (const connection of all) {
      connection.expire(now)
      if (connection.isHeld(now)) held++
    }
    serve()
  }, look)
  timer.unref()

  const place: Place = {
    host,
    options,
    freed(connection) {
      // Bytes that nobody asked for may be there already. Whoever asks next must not take them for an answer: the
      // connection rests until the loop has looked at its sockets once more.
      if (cooling.push(connection) === 1) setImmediate(cooled)
    },
    gone(connection) {
      all.delete(connection)
      const at = resting.indexOf(connection)
      if (at !== -1) resting.splice(at, 1)
      serve()
    },
    takeBlock: () => spare.pop() ?? Buffer.allocUnsafeSlow(blockSize),
    giveBack(block) {
      if (spare.length < spareBlocks) spare.push(block)
    },
  }
  const cooled = (): void => {
    const connections = cooling
    cooling = []
    for (const connection of connections) if (connection.isUsable()) resting.push(connection)
    serve()
  }
  const serve = (): void => {
    while (queue.length > 0 && !isDestroyed) {
      const connection = resting.pop()
      if (connection === undefined && all.size - Math.min(held, heldShare * options.connections) >= options.connections)
        return
      const { request, handler } = queue.shift() as Waiting
      if (connection === undefined) open(request, handler)
      else if (!connection.send(request, handler)) place.freed(connection)
    }
  }
  const open = (request: WholeRequest, handler: Dispatcher.DispatchHandler): void => {
    all.add(new Connection(address, place, { request, handler }))
  }

  return {
    dispatch(request, handler) {
      if (isDestroyed) throw new errors.ClientDestroyedError()
      const { method, path, headers } = request
      if (unsafeTarget.test(path) || unsafeTarget.test(method)) throw new errors.InvalidArgumentError('invalid target')
      for (let at = 1; at < headers.length; at += 2)
        if (unsafeValue.test(headers[at] as string))
          throw new errors.InvalidArgumentError(`invalid ${headers[at - 1]} header`)
      queue.push({ request, handler })
      serve()
    },
    async destroy() {
      isDestroyed = true
      clearInterval(timer)
      const error = new errors.ClientDestroyedError()
      for (const { handler } of queue.splice(0)) handler.onResponseError?.(inert(error), error)
      for (const connection of [...all]) connection.fail(error)
    },
  }
}

type Place = {
  host: string
  options: Http1PoolOptions
  /** The connection could take another request. */
  freed(connection: Connection): void
  gone(connection: Connection): void
  takeBlock(): Buffer
  /** Nothing reads it any more. */
  giveBack(block: Buffer): void
}

/** One connection and, at most, the one request that it serves. */
class Connection {
  readonly #socket: Socket
  readonly #place: Place
  #state: 'connecting' | 'resting' | 'busy' | 'gone' = 'connecting'
  #first: Waiting | undefined
  #exchange: Exchange | undefined
  /** When patience with the present state ends (`performance.now()`). */
  #deadline: number
  #rest = restingTime
  #block: Buffer
  /** Of the block that is being read from, once a piece of it is kept. */
  #loan: { release(): void; hold(): void } | undefined

  constructor(address: TcpNetConnectOpts, place: Place, first: Waiting) {
    this.#block = place.takeBlock()
    const onread = {
      buffer: () => this.#block,
      callback: (size: number) => {
        this.#read(this.#block.subarray(0, size))
        this.#loan?.release()
        this.#loan = undefined
        return true
      },
    }
    const socket = connect({ ...address, onread })
    this.#socket = socket
    this.#place = place
    this.#first = first
    this.#deadline = performance.now() + place.options.connectTimeout
    socket.on('connect', () => this.#connected())
    socket.on('end', () => this.#ended())
    socket.on('error', error => this.fail(error))
    socket.on('close', () => this.fail(new errors.SocketError('closed')))
  }

  isUsable(): boolean {
    return this.#state === 'resting'
  }

  /** Whether its client has taken nothing for as long as from one look to the next. */
  isHeld(now: number): boolean {
    return this.#exchange?.paused === true && now - this.#exchange.pausedAt >= look
  }

  /** @returns false when the request was given up meanwhile: nothing was written */
  send(request: WholeRequest, handler: Dispatcher.DispatchHandler): boolean {
    const { options } = this.#place
    const exchange = new Exchange(this, handler, request.method === 'HEAD', options.maxHeaderSize)
    handler.onRequestStart?.(exchange, null)
    if (exchange.aborted) return false
    this.#state = 'busy'
    this.#exchange = exchange
    this.#deadline = performance.now() + options.headersTimeout
    afterReads(() => this.#write(exchange, request))
    return true
  }

  /** Until then an answer can only be somebody else's. */
  #write(exchange: Exchange, request: WholeRequest): void {
    if (this.#exchange !== exchange) return
    exchange.isAsked = true
    const { token, body } = request
    // A server that answers HEAD with a body all the same must not be heard by the next request.
    let head = `${request.method} ${request.path} HTTP/1.1\r\nhost: ${this.#place.host}\r\nconnection: ${exchange.isHead ? 'close' : 'keep-alive'}\r\n`
    for (let at = 0; at < request.headers.length; at += 2)
      head += `${request.headers[at]}: ${request.headers[at + 1]}\r\n`
    if (token !== undefined) head += `authorization: Bearer ${token}\r\n`
    if (body === null) {
      if (payloadMethods.has(request.method)) head += 'content-length: 0\r\n'
      this.#socket.write(`${head}\r\n`, 'latin1')
    } else {
      head += `content-length: ${body.length}\r\n\r\n`
      this.#socket.write(Buffer.concat([Buffer.from(head, 'latin1'), body]))
    }
  }

  /** Ends the connection if it serves this one: nobody waits for the rest of its answer. */
  abandon(exchange: Exchange, reason: Error): void {
    if (this.#exchange === exchange) this.fail(reason)
  }

  pause(): void {
    this.#socket.pause()
  }

  /** The time that its client took is none of the upstream's. */
  resume(): void {
    this.#deadline = performance.now() + this.#place.options.bodyTimeout
    this.#socket.resume()
  }

  /** Reads on into another block. @returns gives this one back, once all pieces of it that are kept were given back */
  lendBlock(): () => void {
    this.#loan ??= this.#lend()
    const { hold, release } = this.#loan
    hold()
    return release
  }

  /** Held by the read itself until that is over: several pieces may lie in one block. */
  #lend(): { release(): void; hold(): void } {
    const block = this.#block
    let holders = 1
    this.#block = this.#place.takeBlock()
    return {
      hold: () => {
        holders++
      },
      release: () => {
        if (--holders === 0) this.#place.giveBack(block)
      },
    }
  }

  /** Ends the connection and, with this reason, the request that it serves. */
  fail(reason: Error): void {
    if (this.#state === 'gone') return
    const first = this.#first
    const exchange = this.#exchange
    this.#leave()
    first?.handler.onResponseError?.(inert(reason), reason)
    exchange?.fail(reason)
    this.#place.gone(this)
  }

  expire(now: number): void {
    if (now < this.#deadline) return
    if (this.#state === 'connecting') this.fail(new errors.ConnectTimeoutError('the upstream takes no connection'))
    else if (this.#state === 'resting') this.fail(new errors.InformationalError('rested too long'))
    else if (this.#exchange?.paused === true) this.#deadline = now + this.#place.options.bodyTimeout
    else if (this.#exchange?.hasHead === true) this.fail(new errors.BodyTimeoutError())
    else this.fail(new errors.HeadersTimeoutError())
  }

  #connected(): void {
    const { request, handler } = this.#first as Waiting
    this.#first = undefined
    if (!this.send(request, handler)) this.#free()
  }

  #read(chunk: Buffer): void {
    const exchange = this.#exchange
    try {
      if (exchange?.isAsked !== true) throw new errors.SocketError('bytes without a request')
      exchange.read(chunk)
      // The handler may have given it up.
      if (this.#state !== 'busy') return
      if (exchange.isWhole) this.#finish(exchange)
      else if (exchange.hasHead) this.#deadline = performance.now() + this.#place.options.bodyTimeout
    } catch (error) {
      this.fail(error as Error)
    }
  }

  #finish(exchange: Exchange): void {
    this.#exchange = undefined
    if (exchange.isReusable) {
      this.#rest = exchange.keepAlive ?? this.#rest
      this.#free()
    } else {
      this.#leave()
      this.#place.gone(this)
    }
    exchange.end()
  }

  #free(): void {
    this.#state = 'resting'
    this.#deadline = performance.now() + this.#rest
    if (this.#socket.isPaused()) this.#socket.resume()
    this.#place.freed(this)
  }

  #ended(): void {
    const exchange = this.#exchange
    if (exchange?.endsWithConnection === true) this.#finish(exchange)
    else this.fail(new errors.SocketError('other side closed'))
  }

  #leave(): void {
    this.#state = 'gone'
    this.#first = undefined
    this.#exchange = undefined
    this.#socket.destroy()
    this.#place.giveBack(this.#block)
  }
}

/** A request and its answer on one connection, and what the handler may do about it. */
class Exchange implements Dispatcher.DispatchController {
  readonly isHead: boolean
  readonly #connection: Connection
  readonly #handler: Dispatcher.DispatchHandler
  readonly #answer: Http1Answer
  /** Whether its request was written. */
  isAsked = false
  rawHeaders: string[] | null = null
  rawTrailers = null
  aborted = false
  paused = false
  pausedAt = 0
  reason: Error | null = null
  #isOver = false

  constructor(connection: Connection, handler: Dispatcher.DispatchHandler, isHead: boolean, maxHeaderSize: number) {
    this.isHead = isHead
    this.#connection = connection
    this.#handler = handler
    this.#answer = new Http1Answer({
      isHead,
      maxHeaderSize,
      onHead: (status, fields) => {
        this.rawHeaders = fields
        this.#handler.onResponseStart?.(this, status, {})
      },
      onData: chunk => {
        if (!this.#isOver) this.#handler.onResponseData?.(this, chunk)
      },
    })
  }

  get hasHead(): boolean {
    return this.#answer.hasHead
  }

  get isWhole(): boolean {
    return this.#answer.isWhole
  }

  get endsWithConnection(): boolean {
    return this.#answer.endsWithConnection
  }

  get isReusable(): boolean {
    return this.#answer.isReusable && !this.isHead
  }

  /** ms that the upstream keeps the connection, by its `Keep-Alive` field. */
  get keepAlive(): number | undefined {
    const seconds = this.#answer.keepAlive
    return seconds && Math.max(1, Math.min(seconds * 1000, longestRest) - restingMargin)
  }

  read(chunk: Buffer): void {
    this.#answer.read(chunk)
  }

  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#handler.onResponseEnd?.(this, {})
  }

  fail(reason: Error): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#handler.onResponseError?.(this, reason)
  }

  abort(reason: Error): void {
    if (this.#isOver || this.aborted) return
    this.aborted = true
    this.reason = reason
    this.#connection.abandon(this, reason)
    this.fail(reason)
  }

  // The connection may serve somebody else by the time that this client reads on.
  pause(): void {
    if (this.#isOver) return
    this.paused = true
    this.pausedAt = performance.now()
    this.#connection.pause()
  }

  resume(): void {
    if (this.#isOver || !this.paused) return
    this.paused = false
    this.#connection.resume()
  }

  /**
   * Keeps the memory of the piece that is being given.
   *
   * @returns gives it back, to be called once nobody reads it any more, or never
   */
  keep(): () => void {
    return this.#connection.lendBlock()
  }
}

/** Of a request that never got a connection. */
const inert = (reason: Error): Dispatcher.DispatchController => ({
  aborted: true,
  paused: false,
  reason,
  rawHeaders: null,
  rawTrailers: null,
  abort: () => undefined,
  pause: () => undefined,
  resume: () => undefined,
})
