import { stripVTControlCharacters, styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

/** Everything the launcher shows. Plain text when nobody watches, or when colours are not wanted. */
export type Terminal = {
  say(text: string): void
  /** What takes long; in a terminal the line is written over. */
  progress(source: string, text: string): void
  /** One line of a part or an app. */
  log(source: string, line: string): void
  table(head: readonly string[], rows: readonly (readonly string[])[]): void
  style(style: Style, text: string): string
}

const palette: Style[] = ['cyan', 'magenta', 'green', 'yellow', 'blue', 'cyanBright', 'magentaBright', 'greenBright']
const levels: Record<string, Style> = {
  trace: 'gray',
  debug: 'gray',
  info: 'green',
  warn: 'yellow',
  error: 'red',
  fatal: 'red',
}
const width = 12

export function terminal(
  stream: NodeJS.WriteStream = process.stdout,
  environment: NodeJS.ProcessEnv = process.env,
): Terminal {
  const isColoured = stream.isTTY === true && !environment['NO_COLOR']
  const style = (name: Style, text: string) => (isColoured ? styleText(name, text, { validateStream: false }) : text)
  const colours = new Map<string, Style>()
  const told = new Map<string, number>()
  let open = false

  const write = (text: string) => {
    if (open) stream.write('\n')
    open = false
    stream.write(`${text}\n`)
  }
  const prefix = (source: string) => {
    const colour = colours.get(source) ?? palette[colours.size % palette.length] ?? 'cyan'
    colours.set(source, colour)
    return `${style(colour, source.padEnd(width))} ${style('gray', '|')} `
  }

  return {
    style,
    say: write,
    progress(source, text) {
      const line = prefix(source) + text
      if (stream.isTTY === true && isSize(text)) {
        stream.write(`\r\u001b[K${line}`)
        open = true
        return
      }
      // A log file wants to know that it goes on, not each megabyte.
      const now = Date.now()
      if (isSize(text) && now - (told.get(source) ?? 0) < 5_000) return
      told.set(source, now)
      write(line)
    },
    log(source, line) {
      for (const part of readable(line, style).split('\n')) write(prefix(source) + part)
    },
    table(head, rows) {
      const all = [head, ...rows]
      const widths = head.map((_, column) => Math.max(...all.map(row => plainLength(row[column] ?? ''))))
      const line = (row: readonly string[]) =>
        row
          .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - plainLength(cell)))
          .join('   ')
          .trimEnd()
      write(style('gray', line(head)))
      for (const row of rows) write(line(row))
    },
  }
}

const isSize = (text: string): boolean => text.startsWith('fetching ') && !text.endsWith('…')
const plainLength = (text: string): number => stripVTControlCharacters(text).length

/** A line of pino's JSON as people read it; any other line as it is. */
export function readable(line: string, style: Terminal['style'] = (_, text) => text): string {
  if (!line.startsWith('{')) return line
  let entry: Record<string, unknown>
  try {
    entry = JSON.parse(line) as Record<string, unknown>
  } catch {
    return line
  }
  const { level, time, msg, app: _app, err, ...facts } = entry
  if (typeof level !== 'string' || typeof time !== 'string') return line
  const clock = time.slice(11, 23)
  const fields = Object.entries(facts).map(([key, value]) => `${style('gray', `${key}=`)}${text(value)}`)
  const head = [
    style('gray', clock),
    style(levels[level] ?? 'white', level.padEnd(5)),
    String(msg ?? ''),
    ...fields,
  ].join(' ')
  return err === undefined ? head : `${head}\n${failure(err)}`
}

const text = (value: unknown): string =>
  typeof value === 'string' && !/\s/.test(value) ? value : (JSON.stringify(value) ?? '')

function failure(err: unknown): string {
  if (typeof err !== 'object' || err === null) return `  ${text(err)}`
  const { stack, message, type, ...more } = err as Record<string, unknown>
  const lines = String(stack ?? `${type}: ${message}`).split('\n')
  const rest = Object.keys(more).length === 0 ? [] : [text(more)]
  return [...lines, ...rest].map(line => `  ${line.trim()}`).join('\n')
}
