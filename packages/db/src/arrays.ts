import type postgres from 'postgres'

/** Array types by PostgreSQL's fixed object ids, and how one element is read. */
const elements: Readonly<Record<number, (text: string) => unknown>> = {
  1000: text => text === 't', // boolean
  1001: text => Buffer.from(text.slice(2), 'hex'), // bytea
  1005: Number, // smallint
  1007: Number, // integer
  1009: text => text, // text
  1015: text => text, // varchar
  1016: BigInt, // bigint
  2951: text => text, // uuid
}

/**
 * Teaches a pool the common array types. postgres.js would ask the server for them on each new connection, and when
 * that connection breaks just then, nobody holds the rejected promise: the process would end (set `fetch_types: false`).
 */
export function knowArrays(sql: postgres.Sql<{ bigint: bigint }>): void {
  for (const [id, read] of Object.entries(elements)) {
    sql.options.serializers[Number(id)] = arrayText
    sql.options.parsers[Number(id)] = (text: string) => readList(text, read)
  }
}

/** A flat array literal; nested ones are not used. */
const readList = (text: string, read: (element: string) => unknown): unknown[] =>
  Array.from(text.matchAll(/"((?:[^"\\]|\\.)*)"|([^,{}]+)/g), ([, quoted, bare = '']) => {
    if (quoted !== undefined) return read(quoted.replace(/\\(.)/g, '$1'))
    return bare === 'NULL' ? null : read(bare)
  })

/** The array literal of a list (PostgreSQL manual, 8.15.2); anything that is no list passes as it is. */
function arrayText(list: unknown): unknown {
  if (!Array.isArray(list)) return list
  return `{${list.map(elementText).join()}}`
}

const plain = /^[0-9a-fA-F-]+$/

function elementText(element: unknown): string {
  if (element === null || element === undefined) return 'NULL'
  if (Array.isArray(element)) return String(arrayText(element))
  if (element instanceof Uint8Array) return `"\\\\x${Buffer.from(element).toString('hex')}"`
  const text = element instanceof Date ? element.toISOString() : String(element)
  return plain.test(text) ? text : `"${text.replace(/[\\"]/g, '\\$&')}"`
}
