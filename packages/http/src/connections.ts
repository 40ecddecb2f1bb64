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
/** ms that every body has, beside what its bytes give it. */
const senderPatience = 10_000

type Watched = {
  socket: Socket
  request: IncomingMessage | undefined
  response: ServerResponse | undefined
  /** Bytes that had left us, bytes in the kernel's queue, and since when neither moved. */
  sent: number
  queued: number
  stuckSince: number
  /** Bytes that had come when this body began, and when that was; later by the time in which it waited for us. */
  received: number
  began: number
  lookedAt: number
}

/**
 * Cuts the connections that cost more than they are worth: of a client that has too many, of one that does not read
 * its answer, of one that sends its body byte by byte. Time limits for header fields and for an idle connection are
 * Node's own.
 *
 * @param bodyRate bytes of a body that must come each second, on average; it has ten seconds more
 * @param refuse answers 408 to a body that is too slow, and ends the connection
 * @returns looks at all connections at once, as the timer does
 */
export function guardConnections(
  server: Server,
  options: {
    limits: ConnectionLimits | undefined
    bodyRate: number
    metrics: Metrics
    refuse: (socket: Socket) => void
    now?: () => number
  },
): () => void {
  const { limits, bodyRate, refuse } = options
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
      began: at,
      lookedAt: at,
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
    one.began = now()
    one.lookedAt = one.began
  })

  const look = (): void => {
    const at = now()
    for (const one of watched.values()) {
      if (isStuck(one, at)) {
        cut.inc({ reason: 'slow_reader' })
        one.socket.destroy()
      } else if (isTooSlow(one, at, bodyRate)) {
        cut.inc({ reason: 'slow_body' })
        // Who was answered before the end of the body would take a second answer for that to its next request.
        if (one.response?.headersSent) one.socket.destroy()
        else refuse(one.socket)
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

/** Whether a body has come too slowly. The time in which it waits for us, or in which its answer leaves, is not its own. */
function isTooSlow(one: Watched, at: number, bodyRate: number): boolean {
  const { socket, request, response } = one
  if (request === undefined || request.complete) return false
  const isAnswering = response?.headersSent === true && !response.writableFinished
  if (isAnswering || request.readableLength > 0) one.began += at - one.lookedAt
  one.lookedAt = at
  return at - one.began >= senderPatience + ((socket.bytesRead - one.received) / bodyRate) * 1_000
}
