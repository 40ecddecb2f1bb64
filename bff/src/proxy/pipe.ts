import type { ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { Problem, problem } from '@banking/contracts'
import { type Dispatcher, Pool } from 'undici'

/** One request for an upstream, ready to be written. */
export type Outbound = {
  method: string
  /** Request target, forwarded as it came. */
  path: string
  /** Name, value, name, value. */
  headers: string[]
  body: Readable | Buffer | null
  /** Whether the answer may stay open without an end in sight. */
  endless: boolean
}

/** What became of it. Only `answered` has written to the client. */
export type Outcome =
  | { kind: 'answered'; complete: boolean }
  /** `answer` wanted nothing of this head; the body was dropped. */
  | { kind: 'declined' }
  /** Nothing came that could be passed on. `sent` says whether the upstream may have seen the request. */
  | { kind: 'failed'; problem: Problem; sent: boolean }
  /** The client went away first. */
  | { kind: 'abandoned' }

/** The way to one upstream. */
export type Pipe = {
  /**
   * Sends a request and streams its answer to `response`, backpressure and aborts both ways. An answer that breaks
   * off breaks off for the client too: a reset, never a short success.
   *
   * @param answer makes the client's head out of the upstream's; undefined declines it
   */
  forward(
    outbound: Outbound,
    response: ServerResponse,
    answer: (status: number, headers: readonly string[]) => string[] | undefined,
  ): Promise<Outcome>
  close(): Promise<void>
}

export type PipeOptions = {
  origin: string
  /** ms until the head of an answer. */
  headersTimeout?: number
  /** ms that a connection may take, and that a request may wait for one. */
  connectTimeout?: number
  connections?: number
}

/** ms between two pieces of a body that has an end. */
const bodyTimeout = 30_000
/** Streams that one process keeps open to one upstream. They must not use up the connections of everything else. */
const endlessConnections = 4_096
/** Bytes of a declined body that are read so that the connection can be used again. */
const drainLimit = 64 * 1024

/** undici's `dispatch`: its parser and pool, without the costs of `request` or `fetch`. */
export function createPipe(options: PipeOptions): Pipe {
  const connectTimeout = options.connectTimeout ?? 2_000
  const shared = {
    pipelining: 1,
    headersTimeout: options.headersTimeout ?? 10_000,
    maxHeaderSize: 16 * 1024,
    connect: { timeout: connectTimeout },
  }
  const connections = options.connections ?? 128
  const brief = new Pool(options.origin, { ...shared, bodyTimeout, connections })
  // A body that is passed on as it comes holds its connection for as long as the client likes to send.
  const uploads = new Pool(options.origin, { ...shared, bodyTimeout, connections })
  const endless = new Pool(options.origin, { ...shared, bodyTimeout: 0, connections: endlessConnections })

  return {
    forward: (outbound, response, answer) =>
      new Promise(resolve => {
        const isKnown = outbound.body === null || Buffer.isBuffer(outbound.body)
        const pool = outbound.endless ? endless : isKnown ? brief : uploads
        forward({ pool, queueTimeout: connectTimeout + 500, outbound, response, answer, resolve })
      }),
    close: async () => {
      await Promise.all([brief, uploads, endless].map(pool => pool.destroy()))
    },
  }
}

class ClientGone extends Error {}
class Declined extends Error {}
class QueuedTooLong extends Error {}

function forward(job: {
  pool: Pool
  queueTimeout: number
  outbound: Outbound
  response: ServerResponse
  answer: Parameters<Pipe['forward']>[2]
  resolve: (outcome: Outcome) => void
}): void {
  const { pool, outbound, response, answer, resolve } = job
  let controller: Dispatcher.DispatchController | undefined
  let stopped: Error | undefined
  let state: 'waiting' | 'answering' | 'draining' | 'done' = 'waiting'
  let sent = false
  let declared = -1
  let received = 0

  // A request in the queue has no controller yet: it is stopped as soon as it gets one, before it is written.
  const stop = (reason: Error): void => {
    stopped ??= reason
    controller?.abort(reason)
  }
  const onClose = (): void => {
    const isWhole = received === declared
    // Settled first: stopping is heard at once as an error of the upstream, which it is not.
    if (state !== 'answering') settle({ kind: 'abandoned' })
    else settle({ kind: 'answered', complete: isWhole || response.writableFinished })
    if (!isWhole) stop(new ClientGone())
  }
  const onDrain = (): void => controller?.resume()
  const queueTimer = setTimeout(() => {
    stop(new QueuedTooLong())
    settle({ kind: 'failed', problem: unavailable(new QueuedTooLong('no connection became free')), sent: false })
  }, job.queueTimeout)

  const settle = (outcome: Outcome): void => {
    if (state === 'done') return
    state = 'done'
    clearTimeout(queueTimer)
    response.off('close', onClose)
    response.off('drain', onDrain)
    resolve(outcome)
  }

  // The client may have left before we came here: then `close` was long ago and no `drain` will ever come.
  if (response.destroyed || response.closed) {
    settle({ kind: 'abandoned' })
    return
  }
  response.on('close', onClose)
  response.on('drain', onDrain)

  const handler: Dispatcher.DispatchHandler = {
    onRequestStart(current) {
      controller = current
      if (stopped !== undefined) return current.abort(stopped)
      clearTimeout(queueTimer)
      sent = true
    },
    onResponseStart(current, status, _parsed) {
      if (status < 200 || state !== 'waiting') return
      const headers = rawHeaders(current)
      const head = answer(status, headers)
      if (head === undefined) {
        state = 'draining'
        return
      }
      state = 'answering'
      declared = bodyLength(outbound.method, status, headers)
      response.writeHead(status, head)
      if (outbound.endless) response.flushHeaders()
    },
    onResponseData(current, chunk) {
      received += chunk.length
      if (state === 'draining') {
        if (received > drainLimit) current.abort(new Declined())
        return
      }
      if (state !== 'answering' || response.writableEnded) return
      // The last piece goes out together with the end: one write less per answer.
      if (received === declared) response.end(chunk)
      else if (!response.write(chunk)) current.pause()
    },
    onResponseEnd() {
      if (state === 'draining') return settle({ kind: 'declined' })
      if (state !== 'answering') return
      if (!response.writableEnded) response.end()
      settle({ kind: 'answered', complete: true })
    },
    onResponseError(_current, error) {
      if (state === 'done') return
      if (state === 'draining') return settle({ kind: 'declined' })
      if (state === 'answering') {
        if (!response.writableEnded) response.destroy()
        return settle({ kind: 'answered', complete: false })
      }
      settle({ kind: 'failed', problem: asUpstreamProblem(error), sent })
    },
  }

  try {
    pool.dispatch(
      { method: outbound.method, path: outbound.path, headers: outbound.headers, body: outbound.body },
      handler,
    )
  } catch (error) {
    settle({ kind: 'failed', problem: problem('upstream_failed', undefined, { cause: error }), sent: false })
  }
}

function rawHeaders(controller: Dispatcher.DispatchController): string[] {
  const raw = controller.rawHeaders
  return Array.isArray(raw) ? raw.map(part => (typeof part === 'string' ? part : part.toString('latin1'))) : []
}

/** @returns bytes that will come, -1 when only the end will tell */
function bodyLength(method: string, status: number, headers: readonly string[]): number {
  if (method === 'HEAD' || status === 204 || status === 304) return -1
  for (let at = 0; at < headers.length; at += 2)
    if (headers[at]?.toLowerCase() === 'content-length') return Number(headers[at + 1])
  return -1
}

const unavailable = (cause: unknown): Problem =>
  problem('upstream_unavailable', undefined, { headers: { 'retry-after': '2' }, cause })

function asUpstreamProblem(error: Error): Problem {
  // A body that was found too large on its way out.
  if (error instanceof Problem) return error
  const code = (error as { code?: string }).code ?? ''
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT')
    return problem('upstream_timeout', undefined, { cause: error })
  if (/^(?:ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT)$/.test(code))
    return unavailable(error)
  return problem('upstream_failed', undefined, { cause: error })
}
