/** One flag of a command: without a value it is a switch. */
export type Flag = { value?: string; text: string }

export type Given = { switches: Set<string>; values: Map<string, string>; rest: string[] }

/**
 * Reads `--name`, `--name value` and `--name=value`.
 * @throws Error that names the nearest flag when one is unknown
 */
export function readFlags(args: readonly string[], flags: Readonly<Record<string, Flag>>): Given {
  const given: Given = { switches: new Set(), values: new Map(), rest: [] }
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? ''
    if (arg === '--') continue // pnpm passes it on
    if (!arg.startsWith('-')) {
      given.rest.push(arg)
      continue
    }
    const [name = '', inline] = splitOnce(arg.replace(/^--?/, ''), '=')
    const flag = flags[name]
    if (flag === undefined)
      throw new Error(
        unknown(
          `--${name}`,
          Object.keys(flags).map(known => `--${known}`),
        ),
      )
    if (flag.value === undefined) {
      if (inline !== undefined) throw new Error(`--${name} takes no value.`)
      given.switches.add(name)
      continue
    }
    const value = inline ?? args[++at]
    if (value === undefined || value.startsWith('--'))
      throw new Error(`--${name} needs a value: --${name} ${flag.value}`)
    given.values.set(name, value)
  }
  return given
}

/** "There is no --onyl. Did you mean --only?" */
export function unknown(name: string, candidates: readonly string[]): string {
  const nearest = [...candidates].sort((a, b) => distance(name, a) - distance(name, b))[0] ?? ''
  const hint = distance(name, nearest) <= 3 ? `Did you mean ${nearest}?` : `There are: ${candidates.join(', ')}.`
  return `There is no ${name}. ${hint}`
}

export function help(usage: string, flags: Readonly<Record<string, Flag>>): string {
  const rows = Object.entries(flags).map(([name, { value, text }]) => [`--${name}${value ? ` ${value}` : ''}`, text])
  const width = Math.max(...rows.map(([left = '']) => left.length))
  return [usage, '', ...rows.map(([left = '', text]) => `  ${left.padEnd(width)}  ${text}`)].join('\n')
}

/** How many letters must be inserted, removed or changed (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, change))
    }
    row = next
  }
  return row[b.length] ?? 0
}

const splitOnce = (text: string, separator: string): [string, string | undefined] => {
  const at = text.indexOf(separator)
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
}
