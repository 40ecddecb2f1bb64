import { AsyncLocalStorage } from 'node:async_hooks'
import { randomFillSync } from 'node:crypto'

/** W3C Trace Context, level 1: what crosses a hop. */
export type Trace = { traceId: string; spanId: string; sampled: boolean }

const pattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/

/** @returns undefined for a header that is missing, malformed or all zero, as the specification asks. */
export function parseTraceparent(header: string | undefined): Trace | undefined {
  const match = header === undefined ? null : pattern.exec(header)
  if (match === null) return undefined
  const [, traceId = '', spanId = '', flags = ''] = match
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

/** A new trace, begun here. */
export const newTrace = (): Trace => ({ traceId: hex(16), spanId: hex(8), sampled: false })
/** The same trace with a span of its own, for the next hop. */
export const childOf = (parent: Trace): Trace => ({ ...parent, spanId: hex(8) })
/** The value of a `traceparent` header (W3C Trace Context §3.2); the inverse is {@link parseTraceparent}. */
export const formatTraceparent = (trace: Trace): string =>
  `00-${trace.traceId}-${trace.spanId}-${trace.sampled ? '01' : '00'}`

const running = new AsyncLocalStorage<Trace>()
/** Does work, and all that follows from it, in the name of a trace. */
export const inTrace = <T>(trace: Trace, work: () => T): T => running.run(trace, work)
/** The trace in whose name the running code works, for calls and events far from the request. */
export const currentTrace = (): Trace | undefined => running.getStore()

/** Random digits are drawn in bulk: three calls for a few of them would be the dearest part of a trace. */
const pool = Buffer.alloc(1024)
let digits = ''
let used = 0

function hex(bytes: number): string {
  const length = 2 * bytes
  if (used + length > digits.length) {
    digits = randomFillSync(pool).toString('hex')
    used = 0
  }
  used += length
  return digits.slice(used - length, used)
}
