export type ServerEvent = { id: string; event: string; data: string }

/**
 * A parser of `text/event-stream` (HTML Standard §9.2.6), fed with decoded text in any cut. EventSource cannot send
 * the header that every API call carries, so the page reads the stream itself.
 * @returns a function that takes the next piece and returns the events it completes
 */
export function createEventParser(): (piece: string) => ServerEvent[] {
  let buffer = ''
  let afterReturn = false
  let id = ''
  let event = ''
  let data: string[] = []
  let isFirst = true

  function field(name: string, value: string): void {
    if (name === 'event') event = value
    else if (name === 'data') data.push(value)
    else if (name === 'id' && !value.includes('\0')) id = value
  }

  return piece => {
    const events: ServerEvent[] = []
    let text = piece
    if (isFirst && text !== '') {
      if (text.startsWith('\uFEFF')) text = text.slice(1)
      isFirst = false
    }
    // A CR ended the last line; its LF, come with this piece, must not end another.
    if (afterReturn && text.startsWith('\n')) text = text.slice(1)
    if (text !== '') afterReturn = text.endsWith('\r')
    buffer += text
    const lines = buffer.split(/\r\n|\n|\r/)
    buffer = lines.pop() ?? ''
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) events.push({ id, event: event || 'message', data: data.join('\n') })
        event = ''
        data = []
        continue
      }
      const colon = line.indexOf(':')
      if (colon === 0) continue
      if (colon < 0) field(line, '')
      else field(line.slice(0, colon), line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1))
    }
    return events
  }
}
