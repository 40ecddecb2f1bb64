import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Metrics } from '@banking/telemetry'

export type ConnectionLimits = {
  /** Connections in all; beyond, the kernel's answer is a closed one. */
  most: number
  /** Connections of one client. */
  mostPerClient: number
  /** Who is counted as one client, by the socket's remote address; undefined for a proxy that stands for many. */
  clientOf: (address: string) => string | undefined
}

/** ms between two looks at all connections. */
const lookEvery = 5_000
/** ms in which a client must take something of an answer that waits for it. */
const readerPatience = 30_000
/** ms in which a body must grow by {@link bodyGrowth} bytes: half a kilobyte a second. */
const senderPatience = 10_000
const bodyGrowth = 5 * 1024

type Watched = {
  socket: Socket
  request: IncomingMessage | undefined
  response: ServerResponse | undefined
  /** Bytes that had left us, bytes in the kernel's queue, and since when neither moved. */
  sent: number
  queued: number
  stuckSince: number
  /** Bytes that had come when this body was last fast enough, and when that was. */
  received: number
  receivedAt: number
}

/**
 * Cuts the connections that cost more than they are worth: of a client that has too many, of one that does not read
 * its answer, of one that sends its body byte by byte. Time limits for header fields, for a whole request and for an
 * idle connection are Node's own.
 *
 * @param refuse answers 408 to a body that is too slow, and ends the connection
 * @returns looks at all connections at once, as the timer does
 */
export function guardConnections(
  server: Server,
  options: {
    limits: ConnectionLimits | undefined
    metrics: Metrics
    refuse: (socket: Socket) => void
    now?: () => number
  },
): () => void {
  const { limits, refuse } = options
  const now = options.now ?? (() => performance.now())
  const cut = options.metrics.counter('http_connections_cut_total', 'Connections that were cut, by reason.', ['reason'])
  const watched = new Map<Socket, Watched>()
  const clients = new Map<string, number>()
  // Several listeners of one process count into it.
  const openConnections = options.metrics.gauge('http_connections', 'Open connections.')
  if (limits !== undefined) server.maxConnections = limits.most
  server.on('drop', () => cut.inc({ reason: 'too_many' }))

  server.on('connection', (socket: Socket) => {
    const client = limits?.clientOf(socket.remoteAddress ?? '')
    if (client !== undefined && limits !== undefined) {
      const open = clients.get(client) ?? 0
      if (open >= limits.mostPerClient) {
        cut.inc({ reason: 'too_many_of_one' })
        socket.destroy()
        return
      }
      clients.set(client, open + 1)
    }
    const at = now()
    openConnections.inc()
    watched.set(socket, {
      socket,
      request: undefined,
      response: undefined,
      sent: 0,
      queued: 0,
      stuckSince: at,
      received: 0,
      receivedAt: at,
    })
    socket.once('close', () => {
      watched.delete(socket)
      openConnections.dec()
      if (client === undefined) return
      const left = (clients.get(client) ?? 1) - 1
      if (left === 0) clients.delete(client)
      else clients.set(client, left)
    })
  })
  server.on('request', (request, response) => {
    const one = watched.get(request.socket)
    if (one === undefined) return
    one.request = request
    one.response = response
    one.received = request.socket.bytesRead
    one.receivedAt = now()
  })

  const look = (): void => {
    const at = now()
    for (const one of watched.values()) {
      if (isStuck(one, at)) {
        cut.inc({ reason: 'slow_reader' })
        one.socket.destroy()
      } else if (isTooSlow(one, at)) {
        cut.inc({ reason: 'slow_body' })
        refuse(one.socket)
      }
    }
  }
  const timer = setInterval(look, lookEvery)
  timer.unref()
  server.on('close', () => clearInterval(timer))
  return look
}

/** Whether there is something to read for the client and it has taken none of it for too long. */
function isStuck(one: Watched, at: number): boolean {
  const { socket } = one
  // One write may be large: only the handle knows how much of it the kernel has taken. Node's own time-out looks there.
  const queued = (socket as { _handle?: { writeQueueSize?: number } | null })._handle?.writeQueueSize ?? 0
  const sent = socket.bytesWritten - socket.writableLength
  if (socket.writableLength === 0 || sent !== one.sent || queued < one.queued) one.stuckSince = at
  one.sent = sent
  one.queued = queued
  return at - one.stuckSince >= readerPatience
}

/** Whether a body grows too slowly. One that waits for us, or was answered already, does not. */
function isTooSlow(one: Watched, at: number): boolean {
  const { socket, request, response } = one
  if (request === undefined || request.complete || response?.headersSent || request.readableLength > 0) {
    one.receivedAt = at
    one.received = socket.bytesRead
    return false
  }
  if (at - one.receivedAt < senderPatience) return false
  const isSlow = socket.bytesRead - one.received < bodyGrowth
  one.receivedAt = at
  one.received = socket.bytesRead
  return isSlow
}
