import type { Socket } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { Pool } from 'undici'
import type { HttpClientError } from '../src/proxy/http-client.ts'
import { createHttp1Pool } from '../src/proxy/http1-pool.ts'
import { bad, good, speaking } from './raw-upstream.ts'

t.setTimeout(120_000)

/** What somebody changes who wants two readers to differ. */
const pieces = [
  ...['\r', '\n', '\r\n', '\r\n\r\n', '\0', ' ', '\t', ':', ';', ',', '0', '5', 'f', '\xff', '\x80'],
  ...['Content-Length: 5\r\n', 'Content-Length: 0\r\n', 'Transfer-Encoding: chunked\r\n', 'Connection: close\r\n'],
  ...['HTTP/1.1 200 OK\r\n', 'HTTP/1.0 ', '0\r\n\r\n', '5\r\nhello\r\n', 'X-A: b\r\n', ' folded\r\n'],
]
type Edit = { at: number; remove: number; insert: string }
const edit: fc.Arbitrary<Edit> = fc.record({
  at: fc.nat(400),
  remove: fc.nat(6),
  insert: fc.oneof(fc.constant(''), fc.constantFrom(...pieces)),
})
const answers = [...Object.values(good), ...Object.values(bad)].filter(({ length }) => length > 0 && length < 2_000)
const scenario = fc.record({
  method: fc.constantFrom('GET', 'HEAD'),
  bytes: fc
    .tuple(fc.constantFrom(...answers), fc.array(edit, { maxLength: 3 }))
    .map(([answer, edits]) => edits.reduce(changed, answer)),
  cuts: fc.array(fc.nat(300), { maxLength: 3 }),
})

function changed(bytes: string, { at, remove, insert }: Edit): string {
  const from = at % (bytes.length + 1)
  return bytes.slice(0, from) + insert + bytes.slice(from + remove)
}

/** What undici takes and ours does not. */
const stricter = [
  // Several codings, others than chunked, chunks in HTTP/1.0, and several or repeated lengths.
  /: (?:Transfer-Encoding|Content-Length)/,
  // A status below 100, or a reason that is not told apart by a space.
  /: no status line$/,
  // More interim answers than sixteen, and 101 (RFC 9110 §15.2.2).
  /: status 1\d\d$/,
  // Sizes that would be beyond any memory, and extensions with escapes.
  /: a chunk without a size$/,
  // A line end that is not CR LF.
  /: a control character$/,
]

type Told = { status?: number; fields?: string[]; body: string; error?: Error }

function ours(origin: string, method: string): Promise<Told> {
  const limits = { connections: 1, connectTimeout: 5_000, headersTimeout: 5_000, bodyTimeout: 5_000 }
  const client = createHttp1Pool({ ...limits, maxHeaderSize: 16_384, origin })
  const { promise, resolve } = Promise.withResolvers<Told>()
  const told: Told = { body: '' }
  client.send(
    { method, path: '/', headers: [], body: null },
    {
      onSent: () => undefined,
      onHead: (status, fields) => Object.assign(told, { status, fields }),
      onData: chunk => {
        told.body += chunk.toString('latin1')
      },
      onEnd: () => resolve(told),
      onError: error => resolve({ ...told, error }),
    },
  )
  return promise.finally(() => client.destroy())
}

function undici(origin: string, method: string): Promise<Told> {
  const pool = new Pool(origin, { connections: 1, headersTimeout: 5_000, bodyTimeout: 5_000 })
  const { promise, resolve } = Promise.withResolvers<Told>()
  const told: Told = { body: '' }
  // It keeps spaces at the end of a value, which are no part of it (RFC 9112 §5).
  const latin1 = (part: string | Buffer): string => part.toString('latin1').replace(/[ \t]+$/, '')
  pool.dispatch(
    { method: method as 'GET', path: '/', headers: [], body: null },
    {
      onRequestStart: () => undefined,
      onResponseStart({ rawHeaders }, status) {
        if (status >= 200) Object.assign(told, { status, fields: (rawHeaders as (string | Buffer)[]).map(latin1) })
      },
      onResponseData: (_controller, chunk) => {
        told.body += chunk.toString('latin1')
      },
      onResponseEnd: () => resolve(told),
      onResponseError: (_controller, error) => resolve({ ...told, error }),
    },
  )
  return promise.finally(() => pool.destroy())
}

/** Writes the bytes in pieces, and ends. */
function write(socket: Socket, bytes: string, cuts: readonly number[]): void {
  const places = [0, ...cuts.map(cut => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  const parts = places.slice(1).map((end, at) => bytes.slice(places[at], end))
  const next = (): void => {
    const part = parts.shift()
    if (part === undefined) return void socket.end()
    socket.write(part, 'latin1', () => setImmediate(next))
  }
  next()
}

t.test(
  'answers that are changed at random and cut anywhere: what undici refuses is refused, all else is the same',
  async t => {
    let script = { bytes: '', cuts: [] as number[] }
    const { origin } = await speaking(t, socket => {
      socket.setNoDelay(true)
      write(socket, script.bytes, script.cuts)
    })
    const counts = { taken: 0, refused: 0, stricter: new Map<string, number>() }
    await fc.assert(
      fc.asyncProperty(scenario, async ({ method, bytes, cuts }) => {
        script = { bytes, cuts }
        const [mine, theirs] = await Promise.all([ours(origin, method), undici(origin, method)])
        if (mine.error !== undefined) {
          const reason = (mine.error as HttpClientError).message
          if (theirs.error === undefined) counts.stricter.set(reason, (counts.stricter.get(reason) ?? 0) + 1)
          else counts.refused++
          return
        }
        if (theirs.error !== undefined) throw new Error(`undici refuses it: ${theirs.error.message}`)
        if (JSON.stringify(mine) !== JSON.stringify(theirs)) throw new Error('they differ')
        counts.taken++
      }),
      { numRuns: 1_500 },
    )
    const isMeant = (reason: string): boolean => stricter.some(pattern => pattern.test(reason))
    t.same(
      [...counts.stricter.keys()].filter(reason => !isMeant(reason)),
      [],
      'no other difference',
    )
    t.ok(counts.taken > 100 && counts.refused > 100, JSON.stringify(counts))
  },
)
