/**
 * Whether valid JSON text reads the same everywhere: no member twice in one object (parsers differ in which one they
 * take, RFC 8259 §4) and no deeper nesting than `maxDepth`.
 *
 * @param text what `JSON.parse` has accepted
 */
export function isUnambiguous(text: string, maxDepth: number): boolean {
  const members: Set<string>[] = []
  for (const [lexeme, , colon] of text.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|[{}[\]]/g)) {
    if (lexeme === '{' || lexeme === '[') {
      if (members.push(new Set()) > maxDepth) return false
    } else if (lexeme === '}' || lexeme === ']') members.pop()
    else if (colon !== undefined) {
      const name: string = JSON.parse(lexeme.slice(0, -colon.length))
      if (members.at(-1)?.has(name)) return false
      members.at(-1)?.add(name)
    }
  }
  return true
}
