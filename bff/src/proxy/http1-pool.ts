import { type ClientRequest, type HttpClient, HttpClientError, type HttpClientOptions } from './http-client.ts'
import { Http1Connection, type Owner } from './http1-connection.ts'
import { Http1Request } from './http1-request.ts'
import { createSocketFactory } from './upstream-socket.ts'

/** Requests for which no connection may be opened, and bytes of all that wait; 503 beyond. */
const queueLimits = { requests: 1_000, bytes: 8 * 1024 * 1024 }
/** ms between two looks at what has taken too long: one timer for all connections. */
const lookInterval = 250
/** ms without a read after which a reader makes room for a request that waits for the connection it holds. */
const readerPatience = 1_000
/** Times the size of a pool that readers may hold by not reading: a connection costs little, an outage for all others much. */
const stalledShare = 8
/** ms without reuse after an upstream sent what nobody asked for: the next time it could be taken for an answer. */
const distrustTime = 60_000

const unsafeValue = /[^\t\x20-\x7e\x80-\xff]/
const unsafeTarget = /[^\x21-\x7e]/

/**
 * HTTP/1.1 (RFC 9112) to one upstream. One request at a time per connection; whatever is not exactly right ends the
 * connection. Requests wait in the order in which they came.
 */
export function createHttp1Pool(options: HttpClientOptions): HttpClient {
  const { origin, connectTimeout, host = new URL(origin).host } = options
  const ofConnections = { ...options, connectSocket: createSocketFactory(origin), host }
  const connections = new Set<Http1Connection>()
  const idle: Http1Connection[] = []
  let freed: Http1Connection[] = []
  const queue = new Set<Http1Request>()
  let queuedBytes = 0
  /** Those whose reader does not take what is there, the longest first. */
  const paused = new Set<Http1Request>()
  let connecting = 0
  /** Connections whose reader took nothing since the last look: they are not counted. */
  let stalled = 0
  let distrustedUntil = 0
  let isDestroyed = false

  const timer = setInterval(() => {
    const now = performance.now()
    for (const connection of connections) connection.expire(now)
    stalled = 0
    for (const { pausedAt } of paused) if (now - pausedAt >= lookInterval) stalled++
    expireQueue(now)
    serve()
  }, lookInterval)
  timer.unref()

  /** The oldest come first. */
  const expireQueue = (now: number): void => {
    for (const request of queue) {
      const waited = now - request.since
      if (waited < lookInterval) return
      if (waited >= connectTimeout + lookInterval) {
        leaveQueue(request)
        request.fail(new HttpClientError('unavailable', 'no connection became free'))
      } else makeRoom(now - readerPatience)
    }
  }
  /** Ends the answer whose reader has paused longest, if since `before`: a few of them would keep everybody out. */
  const makeRoom = (before: number): void => {
    const [request] = paused
    if (request !== undefined && request.pausedAt <= before)
      request.abort(
        new HttpClientError('read_too_slowly', 'others wait for the connection of a reader that does not read'),
      )
  }
  const enqueue = (request: Http1Request): void => {
    const { size } = request
    const isFull = queue.size - connecting >= queueLimits.requests || queuedBytes + size > queueLimits.bytes
    if (isFull && connections.size >= mostConnections())
      throw new HttpClientError('unavailable', 'too many requests wait for a connection')
    queue.add(request)
    queuedBytes += size
    serve()
  }
  const leaveQueue = (request: Http1Request): void => {
    if (queue.delete(request)) queuedBytes -= request.size
  }
  const serve = (): void => {
    for (const request of queue) {
      const connection = idle.pop()
      if (connection === undefined) break
      leaveQueue(request)
      connection.send(request, mayReuse())
    }
    const most = mostConnections()
    while (queue.size > connecting && connections.size < most) {
      connecting++
      connections.add(new Http1Connection(owner, ofConnections))
    }
  }
  const mostConnections = (): number => options.connections + Math.min(stalled, stalledShare * options.connections)
  const mayReuse = (): boolean => performance.now() >= distrustedUntil

  const owner: Owner = {
    connected(connection) {
      connecting--
      idle.push(connection)
      serve()
    },
    freed(connection) {
      // Bytes that nobody asked for may be there already. Whoever asks next must not take them for an answer: the
      // connection is idle once the loop has looked at its sockets again.
      if (freed.push(connection) === 1) setImmediate(reuse)
    },
    closed(connection, wasConnecting, reason) {
      connections.delete(connection)
      const at = idle.indexOf(connection)
      if (at !== -1) idle.splice(at, 1)
      if (wasConnecting) {
        connecting--
        // Who came later gets a connection of its own.
        const [request] = queue
        if (request !== undefined && request.since <= connection.createdAt) {
          leaveQueue(request)
          request.fail(reason)
        }
      }
      if (!isDestroyed) serve()
    },
    unasked() {
      distrustedUntil = performance.now() + distrustTime
      for (const connection of idle.splice(0)) connection.retire()
    },
    paused: request => void paused.add(request),
    resumed: request => void paused.delete(request),
  }
  const reuse = (): void => {
    const connections = freed
    freed = []
    for (const connection of connections)
      if (mayReuse() && connection.isUsable) idle.push(connection)
      else connection.retire()
    serve()
  }

  return {
    send(outgoing, handler) {
      if (isDestroyed) throw new HttpClientError('destroyed', 'the client was destroyed')
      refuseUnsafe(outgoing)
      const request = new Http1Request(outgoing, handler, leaveQueue)
      const connection = idle.pop()
      if (connection !== undefined) connection.send(request, mayReuse())
      else enqueue(request)
      return request
    },
    async destroy() {
      isDestroyed = true
      clearInterval(timer)
      const error = new HttpClientError('destroyed', 'the client was destroyed')
      for (const request of queue) {
        leaveQueue(request)
        request.fail(error)
      }
      for (const connection of connections) connection.fail(error)
    },
  }
}

/** What is written must be one request to whoever reads it. */
function refuseUnsafe({ method, path, headers }: ClientRequest): void {
  if (unsafeTarget.test(path) || unsafeTarget.test(method))
    throw new HttpClientError('invalid_request', 'a target with a control character')
  for (let at = 1; at < headers.length; at += 2)
    if (unsafeValue.test(headers[at] as string))
      throw new HttpClientError('invalid_request', `a control character in ${headers[at - 1]}`)
}
