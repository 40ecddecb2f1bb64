import type { TArray, TObject, TSchema } from 'typebox'
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument, type YAMLMap } from 'yaml'
import { Complaint } from './complaint.ts'
import { type Bounds, type Form, forms } from './scalars.ts'

/** Where a value stands in the options: keys and positions in lists. */
export type Path = readonly (string | number)[]

/** A file that was read: what could be used of it, and what could not. */
export type Reading<T> = {
  /** Only as complete as there are no problems. */
  value: T
  /** In the order of the file. */
  problems(): string[]
  refuse(path: Path, complaint: Complaint): void
  /** Whether something is wrong there already. */
  isRefused(path: Path): boolean
}

type Settings = { file: string; folder: string; schema: TObject; env: NodeJS.ProcessEnv }
/** The parts of JSON Schema that the options use. */
type Option = TSchema & {
  type?: string
  description?: string
  examples?: readonly unknown[]
  form?: Form
  enum?: readonly string[]
  minimum?: number
  maximum?: number
  minItems?: number
  default?: unknown
  initial?: unknown
} & Bounds

const nameOf = (path: Path): string =>
  path.reduce<string>(
    (name, part) => (typeof part === 'number' ? `${name}[${part}]` : `${name}${name && '.'}${part}`),
    '',
  )

/**
 * Reads YAML (of which JSON is a part) as the schema says. Everything that is wrong is collected with file, line and
 * column; the schema decides what a text means, never how YAML would guess.
 */
export function readDocument<T>(text: string, { file, folder, schema, env }: Settings): Reading<T> {
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    stringKeys: true,
  })
  const found: { at: number; message: string }[] = []
  /** Offsets of what was seen, by path. */
  const places = new Map<string, number>()
  const refused = new Set<string>()

  const report = (at: number, name: string, complaint: Complaint): void => {
    refused.add(name)
    const { line, col } = lines.linePos(at)
    found.push({ at, message: `${file}:${line}:${col} ${name === '' ? 'the file' : name} ${complaint.message}` })
  }
  const refuse = (path: Path, complaint: Complaint): void => {
    let known = path
    while (known.length > 0 && !places.has(nameOf(known))) known = known.slice(0, -1)
    report(places.get(nameOf(known)) ?? 0, nameOf(path), complaint)
  }
  const isRefused = (path: Path): boolean => path.some((_, at) => refused.has(nameOf(path.slice(0, at + 1))))
  const result = (value: unknown): Reading<T> => ({
    value: value as T,
    refuse,
    isRefused,
    problems: () => found.sort((one, other) => one.at - other.at).map(({ message }) => message),
  })

  let isBroken = false
  let brokenLine = 0
  for (const { code, message, pos } of [...document.errors, ...document.warnings]) {
    // A second key of one name is found again below, with its path.
    if (code === 'DUPLICATE_KEY') continue
    isBroken = true
    // One slip makes a parser stumble several times.
    const { line } = lines.linePos(pos[0])
    if (line !== brokenLine) report(pos[0], '', syntaxComplaint(code, message))
    brokenLine = line
  }
  if (isBroken) return result({})

  /** Undefined: not set, or not usable; the latter was reported. */
  function read(node: Node | null | undefined, option: Option, path: Path): unknown {
    const value = isAlias(node) ? node.resolve(document) : node
    // A group is found by its name, a value where it stands.
    if (value?.range && !(option.type === 'object' && places.has(nameOf(path))))
      places.set(nameOf(path), (node?.range ?? value.range)[0])
    if (option.type === 'object') return readMap(value, option as unknown as TObject, path)
    if (option.type === 'array') return readList(value, option as unknown as TArray, path)
    return attempt(path, () => readScalar(value, option))
  }

  function attempt<V>(path: Path, work: () => V): V | undefined {
    try {
      return work()
    } catch (error) {
      if (!(error instanceof Complaint)) throw error
      refuse(path, error)
      return undefined
    }
  }

  function readMap(node: Node | null | undefined, option: TObject, path: Path): unknown {
    if (!isNothing(node) && !isMap(node)) {
      refuse(
        path,
        new Complaint(
          'is not a group of options',
          'Its options have names',
          `Write ${Object.keys(option.properties)[0]}: … indented below it`,
        ),
      )
      return undefined
    }
    const pairs = pairsOf(node as YAMLMap | undefined, option, path)
    const value: Record<string, unknown> = {}
    for (const [name, child] of Object.entries(option.properties) as [string, Option][]) {
      const pair = pairs.get(name)
      const isOptional = !option.required?.includes(name)
      // An optional group that is not there stays away; any other is read as if it were empty, for its defaults.
      if (isNothing(pair?.value as Node) && isOptional) continue
      const before = found.length
      const one = read(pair?.value as Node, child, [...path, name])
      if (one !== undefined) value[name] = one
      else if (child.initial !== undefined) value[name] = child.initial
      else if (!isOptional && found.length === before && !isRefused([...path, name]))
        refuse(
          [...path, name],
          new Complaint(
            'is missing',
            child.description ?? 'It has no default',
            `Write ${name}: ${child.type === 'array' ? 'and below it - ' : ''}${exampleOf(child)}`,
          ),
        )
    }
    return value
  }

  function pairsOf(map: YAMLMap | undefined, { properties }: TObject, path: Path): Map<string, Pair> {
    const pairs = new Map<string, Pair>()
    for (const pair of map?.items ?? []) {
      const key = pair.key as Node
      const name = isScalar(key) ? String(key.value) : ''
      const here = [...path, name]
      const at = key.range?.[0] ?? 0
      if (!Object.hasOwn(properties, name)) {
        report(at, nameOf(here), unknownComplaint(name, properties, schema))
        // What was meant is not missing too.
        refused.add(nameOf([...path, nearest(name, Object.keys(properties)) ?? name]))
      } else if (pairs.has(name))
        report(at, nameOf(here), new Complaint('is there twice', 'Only one of them would count', 'Keep one of them'))
      else {
        pairs.set(name, pair)
        places.set(nameOf(here), at)
      }
    }
    return pairs
  }

  function readList(node: Node | null | undefined, option: TArray, path: Path): unknown {
    if (isNothing(node)) return undefined
    if (!isSeq(node)) return attempt(path, () => readJoined(node, option.items as Option, path))
    if (node.items.length < ((option as Option).minItems ?? 0))
      refuse(
        path,
        new Complaint(
          'is empty',
          'At least one is needed',
          `Write - ${String((option as Option).examples?.[0] ?? exampleOf(option.items as Option))}`,
        ),
      )
    return node.items.map((item, at) => {
      const before = found.length
      const value = read(item as Node, option.items as Option, [...path, at])
      if (value === undefined && found.length === before)
        refuse([...path, at], new Complaint('is empty', 'A list has no empty places', 'Remove the line'))
      return value
    })
  }

  /** A list of which the environment has all, with commas between: `${NAME}` where the list would begin. */
  function readJoined(node: Node | null | undefined, item: Option, path: Path): unknown {
    const written = isScalar(node) && typeof node.value === 'string' && item.type !== 'object' ? node.value : ''
    const { text, isReplaced } = substitute(written, env)
    if (!isReplaced)
      throw new Complaint(
        'is not a list',
        'There may be several',
        'Put each of them on a line of its own, with - before it',
      )
    if (text === '') return undefined
    return text.split(',').map((piece, at) =>
      attempt([...path, at], () => {
        const one = piece.trim()
        if (one === '') throw new Complaint('is empty', 'A list has no empty places', 'Remove the comma')
        return convert(one, one, item, true)
      }),
    )
  }

  function readScalar(node: Node | null | undefined, option: Option): unknown {
    if (isNothing(node)) return undefined
    if (!isScalar(node))
      throw new Complaint('is a group or a list', 'One value is expected', `Write for example ${exampleOf(option)}`)
    const { value } = node
    if (typeof value !== 'string') return convert(value, node.source ?? String(value), option, false)
    const { text, isReplaced } = substitute(value, env)
    // As with an environment variable: empty means not set.
    if (text === '') return undefined
    return convert(text, text, option, isReplaced)
  }

  function convert(value: unknown, text: string, option: Option, isReplaced: boolean): unknown {
    if (option.type === 'integer') {
      const number = isReplaced && /^-?\d{1,15}$/.test(text) ? Number(text) : value
      const { minimum = 0, maximum = Number.MAX_SAFE_INTEGER } = option
      if (typeof number !== 'number' || !Number.isInteger(number) || !/^-?\d+$/.test(text))
        throw new Complaint(
          'is not a whole number',
          'Nothing else can be counted with',
          `Write for example ${exampleOf(option)}, without quotes`,
        )
      if (number < minimum || number > maximum)
        throw new Complaint(
          `is out of its range, ${minimum} to ${maximum}`,
          'Beyond it nothing would work as it should',
          `Write a number from ${minimum} to ${maximum}`,
        )
      return number
    }
    if (option.type === 'boolean') {
      if (value !== true && value !== false && !(isReplaced && /^(?:true|false)$/.test(text)))
        throw new Complaint('is neither true nor false', 'It is a switch', 'Write true or false, without quotes')
      return text === 'true'
    }
    if (typeof value !== 'string')
      throw new Complaint(
        'is not text',
        'YAML reads it as a number or a switch',
        'Put it in quotes, or write the unit behind the number',
      )
    if (option.enum !== undefined && !option.enum.includes(text)) {
      const { reason = 'Nothing else is known here' } = option as { reason?: string }
      throw new Complaint(
        `is none of ${option.enum.join(', ')}`,
        reason,
        `Write ${nearest(text, option.enum) ?? option.enum.join(' or ')}`,
      )
    }
    if (/\p{Cc}/u.test(text))
      throw new Complaint(
        'has line breaks or control characters',
        'It would not be read as written',
        'Write it on one line',
      )
    return option.form === undefined ? text : forms[option.form](text, option, folder)
  }

  if (!isNothing(document.contents) && !isMap(document.contents)) {
    report(
      0,
      '',
      new Complaint('is not a group of options', 'Each option has a name', 'Begin with publicOrigin: https://…'),
    )
    return result({})
  }
  return result(read(document.contents, schema as unknown as Option, []))
}

const isNothing = (node: unknown): boolean =>
  node === null || node === undefined || (isScalar(node) && node.value === null)

const exampleOf = (option: Option): string => String(option.examples?.[0] ?? option.default ?? option.enum?.[0] ?? '…')

function syntaxComplaint(code: string, message: string): Complaint {
  if (code === 'TAB_AS_INDENT')
    return new Complaint('has a tab here', 'YAML indents with spaces alone', 'Replace it with spaces')
  if (code === 'MULTIPLE_DOCS')
    return new Complaint('has a second document here', 'Only one would count', 'Remove the line ---')
  return new Complaint(
    'is not YAML here',
    message.replace(/\.?$/, ''),
    `Check the indentation, the space after each colon, and the quotes; in {…} put quotes around "\${NAME}"`,
  )
}

/** `${NAME}` and `${NAME:-default}`; what they stand for is never read for more of them. */
function substitute(text: string, env: NodeJS.ProcessEnv): { text: string; isReplaced: boolean } {
  let isReplaced = false
  const replaced = text.replace(/\$\{([^}]*)(\}?)/g, (_all, inner: string, end: string) => {
    const [, name, fallback] = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inner) ?? []
    if (name === undefined || end === '')
      throw new Complaint(
        'has a placeholder that cannot be read',
        'It would be taken as it stands',
        `Write \${NAME} or \${NAME:-default}`,
      )
    isReplaced = true
    const value = env[name] || fallback
    if (value === undefined)
      throw new Complaint(
        `needs the environment variable ${name}, which is not set`,
        'It has no default',
        `Set ${name}, or write \${${name}:-default}`,
      )
    return value
  })
  return { text: replaced, isReplaced }
}

/** Names of things that must never stand in a file of settings. */
const secretName = /secret|password|passphrase|credential|token|private.?key/i

function unknownComplaint(name: string, properties: Readonly<Record<string, unknown>>, root: TObject): Complaint {
  const names = Object.keys(properties)
  const files = names.filter(each => each.endsWith('File'))
  if (secretName.test(name) && files.length > 0) {
    const file = nearest(name, files) ?? files.find(each => secretName.test(each)) ?? files[0]
    return new Complaint(
      'is not an option',
      'Secrets in configuration end up in repositories, logs and process lists',
      `Write the secret into a file that only the edge may read, and its path here as ${file}`,
    )
  }
  const close = nearest(name, names)
  if (close !== undefined) return new Complaint('is not an option', 'What is not known has no effect', `Write ${close}`)
  const home = Object.entries(
    root.properties as Record<string, { properties?: object; items?: { properties?: object } }>,
  ).find(([, group]) => Object.hasOwn(group.properties ?? group.items?.properties ?? {}, name))?.[0]
  return new Complaint(
    'is not an option',
    'What is not known has no effect',
    home === undefined ? `Here can be: ${names.join(', ')}` : `It belongs below ${home}`,
  )
}

/** The name that was most likely meant; spelling of words (`client_id`) and a few letters may differ. */
function nearest(name: string, names: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replace(/[^a-z0-9]/g, '')
  const [best] = names
    .map(each => ({ each, distance: distance(plain(name), plain(each)) }))
    .sort((one, other) => one.distance - other.distance)
  return best !== undefined && best.distance <= Math.max(1, Math.floor(best.each.length / 3)) ? best.each : undefined
}

/** Levenshtein's. */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at)
  for (let i = 1; i <= one.length; i++) {
    const next = [i]
    for (let j = 1; j <= other.length; j++)
      next[j] = Math.min(
        (row[j] as number) + 1,
        (next[j - 1] as number) + 1,
        (row[j - 1] as number) + (one[i - 1] === other[j - 1] ? 0 : 1),
      )
    row = next
  }
  return row[other.length] as number
}
