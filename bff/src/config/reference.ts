import type { TSchema } from 'typebox'
import { Options } from './options.ts'

type Shown = TSchema & {
  type: string
  form?: string
  description?: string
  protects?: string
  default?: unknown
  examples?: readonly unknown[]
  enum?: readonly string[]
  minimum?: number
  maximum?: number
  pattern?: string
  required?: readonly string[]
  properties?: Readonly<Record<string, Shown>>
  items?: Shown
}

const kinds: Readonly<Record<string, string>> = {
  duration: 'duration',
  size: 'size',
  publicOrigin: 'origin',
  issuer: 'URL',
  upstreamOrigin: 'origin',
  redisUrl: 'URL',
  hostAndPort: 'host:port',
  keyPrefix: 'prefix',
  path: 'path',
  proxies: 'CIDR',
  colour: 'colour',
  secretFile: 'secret file',
  folder: 'folder',
}

const kindOf = ({ type, form, enum: choices, items }: Shown): string =>
  type === 'array'
    ? `list of ${kindOf(items as Shown)}`
    : choices !== undefined
      ? choices.map(choice => `\`${choice}\``).join(', ')
      : (kinds[form ?? ''] ??
        (type === 'string' ? 'text' : type === 'integer' ? 'number' : type === 'boolean' ? 'switch' : type))

const isRequired = (group: Shown, name: string): boolean =>
  group.required?.includes(name) === true && group.properties?.[name]?.default === undefined

function defaultOf(group: Shown, name: string): string {
  const value = group.properties?.[name]?.default
  if (value === undefined) return isRequired(group, name) ? '**required**' : 'none'
  if (Array.isArray(value)) return value.length === 0 ? 'empty' : value.map(each => `\`${each}\``).join(', ')
  return `\`${value}\``
}

/** Every option as a row; groups within are rows with a dot in their name. */
function rowsOf(group: Shown, prefix: string): string[] {
  return Object.entries(group.properties ?? {}).flatMap(([name, option]) => {
    if (option.type === 'object') return rowsOf(option, `${prefix}${name}.`)
    const cells = [
      `\`${prefix}${name}\``,
      kindOf(option),
      defaultOf(group, name),
      option.description ?? '',
      option.protects ?? '',
    ]
    return [`| ${cells.map(cell => cell.replace(/\|/g, '\\|')).join(' | ')} |`]
  })
}

const head = `| option | type | default | what it does | what it protects |
|---|---|---|---|---|`

/** docs/configuration.md: every option with its type, default, effect and what it protects. */
export function reference(): string {
  const root = Options as unknown as Shown
  const isSection = ({ type, items }: Shown) => type === 'object' || items?.type === 'object'
  const entries = Object.entries(root.properties ?? {})
  const alone = { ...root, properties: Object.fromEntries(entries.filter(([, option]) => !isSection(option))) }
  const sections = entries
    .filter(([, option]) => isSection(option))
    .map(([name, option]) => {
      const group = option.type === 'array' ? (option.items as Shown) : option
      return `## ${name}\n\n${option.description}\n\n${head}\n${rowsOf(group, '').join('\n')}\n`
    })
  return `# Configuration of the edge

<!-- Made by \`pnpm edge --print-reference\` from bff/src/config/options.ts; a test compares them. -->

One file in YAML (JSON is a part of YAML), named by \`--config\` or \`CONFIG_FILE\`. \`pnpm edge --config edge.yaml --check\` says whether it is good and what it means; whatever is wrong stops the start with exit code 78
and one line per problem: file, line, column, what, why, and what to write instead. There is no other source of settings, and none is changed while the edge runs, but the client's key or secret file is read again when it changes.

- \`\${NAME}\` and \`\${NAME:-default}\` stand for variables of the environment, inside values only. An empty value counts as not set. Where a list of single values begins, one variable may hold all of them with commas between: \`brokers: \${KAFKA_BROKERS}\`.
- A duration is a whole number and \`ms\`, \`s\`, \`m\`, \`h\` or \`d\`: \`15m\`. A size is one and \`B\`, \`KB\`, \`MB\` or \`GB\` (1 KB is 1024 bytes): \`1MB\`.
- Relative paths begin at the folder of the configuration file.
- Secrets are only ever in files. A secret file that every user of the machine can read or change stops the start; in Kubernetes mount it with \`defaultMode: 0440\`. Certificates of a private authority are given to Node.js by \`NODE_EXTRA_CA_CERTS\`.
- In an editor, \`# yaml-language-server: $schema=…/bff/configuration.schema.json\` as the first line completes and explains options.

[The ten-minute start](ten-minute-start.md) has the smallest file that works; [bff/bank.yaml](../bff/bank.yaml) is the bank's own.

## At the top

${head}
${rowsOf(alone, '').join('\n')}

${sections.join('\n')}`
}

/** A placeholder stands for any value: only the start knows what it becomes. */
const placeholder = { type: 'string', pattern: '\\$\\{' }

/** bff/configuration.schema.json: JSON Schema for editors. Looser than the start: what one value means for another it does not know. */
export function editorSchema(): string {
  const schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Configuration of the edge',
    ...editorOption(Options as unknown as Shown),
  }
  return `${JSON.stringify(schema, undefined, 2)}\n`
}

function editorOption(option: Shown): Record<string, unknown> {
  const {
    type,
    description,
    protects,
    default: initial,
    examples,
    enum: choices,
    minimum,
    maximum,
    pattern,
    properties,
    items,
  } = option
  const about = {
    ...(description === undefined
      ? {}
      : { description: [description, protects].filter(text => text !== undefined).join(' Protects: ') }),
    ...(initial === undefined ? {} : { default: initial }),
    ...(examples === undefined ? {} : { examples }),
  }
  if (type === 'object')
    return {
      ...about,
      type,
      additionalProperties: false,
      required: Object.keys(properties ?? {}).filter(
        name => isRequired(option, name) && !isWithoutNeeds(properties?.[name] as Shown),
      ),
      properties: Object.fromEntries(
        Object.entries(properties ?? {}).map(([name, each]) => [name, editorOption(each)]),
      ),
    }
  if (type === 'array') {
    const list = { type, items: editorOption(items as Shown) }
    return items?.type === 'object' ? { ...about, ...list } : { ...about, anyOf: [list, placeholder] }
  }
  const value = Object.fromEntries(
    Object.entries({ type, enum: choices, minimum, maximum, pattern }).filter(([, each]) => each !== undefined),
  )
  return type === 'string' && choices === undefined && pattern === undefined
    ? { ...about, ...value }
    : { ...about, anyOf: [value, placeholder] }
}

/** A group that may be left out because everything in it may. */
const isWithoutNeeds = (option: Shown): boolean =>
  option.type === 'object' &&
  Object.entries(option.properties ?? {}).every(([name, each]) => !isRequired(option, name) || isWithoutNeeds(each))
