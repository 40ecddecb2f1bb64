export type TestResult = { file: string; name: string; outcome: 'passed' | 'failed' | 'skipped'; reason: string }
export type FileResult = { file: string; ok: boolean; passed: number; failed: number; skipped: number; ms: number }

export type Tally = {
  /** One line of tap's output. */
  line(text: string): void
  results: TestResult[]
}

/**
 * Counts tests in the output of `tap --reporter=tap` (TAP version 14). Each file is a subtest of the run and each
 * `t.test()` of a file a subtest of the file: those are what counts. A file that fails although none of its tests did
 * (it crashed, ran out of time, or ended in the middle) counts as one failed test of its own.
 * @param onTest called with what tap said about a test that failed
 * @param onFile called at the end of each file
 */
export function createTally(
  onTest: (result: TestResult, details: string[]) => void,
  onFile: (result: FileResult) => void,
): Tally {
  const results: TestResult[] = []
  let file = ''
  let ofFile: TestResult[] = []
  /** What was said since the last test ended. */
  let details: string[] = []
  /** Indentation of the YAML block we are in. */
  let block = -1
  /** A failed assertion outside a test: what explains it comes after it. */
  let late: TestResult | undefined

  const add = (name: string, outcome: TestResult['outcome'], reason: string) => {
    const result = { file, name, outcome, reason }
    results.push(result)
    ofFile.push(result)
    return result
  }
  const count = (outcome: TestResult['outcome']) => ofFile.filter(result => result.outcome === outcome).length

  function line(text: string): void {
    const indent = text.length - text.trimStart().length
    if (block >= 0) {
      details.push(text)
      if (indent !== block || text.trim() !== '...') return
      block = -1
      if (late !== undefined) report(late)
      late = undefined
      return
    }
    if (/^\s*---$/.test(text)) {
      block = indent
      details.push(text)
      return
    }
    if (late !== undefined) report(late)
    late = undefined
    const opened = /^# Subtest: (.*)$/.exec(text)?.[1]
    if (opened !== undefined) {
      file = opened
      ofFile = []
      details = []
      return
    }
    const point = /^( {4})?(not ok|ok)\b(?: \d+)?(?: - )?(.*)$/.exec(text)
    if (point === null) {
      details.push(text)
      return
    }
    const [, nested, verdict, rest = ''] = point
    const [name = '', directive = ''] = split(rest)
    if (nested === undefined) endFile(verdict === 'ok', name, directive, rest)
    else endTest(verdict === 'ok', name, directive)
  }

  function endTest(ok: boolean, name: string, directive: string): void {
    const skip = /^(?:SKIP|TODO)\S*\s*(.*)/i.exec(directive)
    if (skip !== null) add(name, 'skipped', skip[1] || 'no reason given')
    else if (ok) add(name, 'passed', '')
    else {
      const result = add(name, 'failed', '')
      if (details.some(entry => /^\s+not ok /.test(entry))) report(result)
      else late = result
      return
    }
    details = []
  }

  function endFile(ok: boolean, name: string, directive: string, rest: string): void {
    if (!name.endsWith('.ts')) {
      // Not a file's own verdict: tap says so of the run, after a file had to be ended.
      file = 'tap'
      if (!ok) report(add(name, 'failed', ''))
      ofFile = []
      return
    }
    file = name
    const skip = /^SKIP\S*\s*(.*)/i.exec(directive)
    if (skip !== null && ofFile.length === 0) add(file, 'skipped', skip[1] || 'no reason given')
    else if (!ok && count('failed') === 0) report(add('the file itself', 'failed', ''))
    else if (ok && ofFile.length === 0) report(add('has no tests', 'failed', ''))
    const ms = Number(/# time=([0-9.]+)ms/.exec(rest)?.[1] ?? 0)
    onFile({ file, ok, passed: count('passed'), failed: count('failed'), skipped: count('skipped'), ms })
    ofFile = []
    details = []
  }

  function report(result: TestResult): void {
    onTest(result, concise(details))
    details = []
  }

  return { line, results }
}

/** "name # SKIP reason" and "name # time=3ms" in two. */
function split(text: string): [string, string] {
  const at = text.search(/\s# ?(?:SKIP|TODO|time=)/i)
  return at < 0
    ? [text.replace(/ \{$/, '').trim(), '']
    : [
        text.slice(0, at).trim(),
        text
          .slice(at)
          .replace(/^\s# ?/, '')
          .trim(),
      ]
}

/** Leaves out what passed, the plan, and the excerpts of source, which the place already names. */
function concise(lines: readonly string[]): string[] {
  const kept: string[] = []
  let skipping = -1
  for (const line of lines) {
    const indent = line.length - line.trimStart().length
    if (line.trim() === '' || /^\s*(ok |1\.\.\d|TAP version|# (Subtest|time))/.test(line)) continue
    if (skipping >= 0 && indent > skipping) continue
    skipping = /^\s*(source|test|args|command|typeName|isToplevel|methodName|functionName|compare):/.test(line)
      ? indent
      : -1
    if (skipping < 0 && !/^\s*(---|\.\.\.)$/.test(line)) kept.push(line)
  }
  const margin = Math.min(...kept.map(line => line.length - line.trimStart().length))
  return kept.map(line => line.slice(margin))
}
