import { randomBytes } from 'node:crypto'

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

const hex = (bytes: number): string => randomBytes(bytes).toString('hex')
