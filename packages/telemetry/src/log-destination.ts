import { write as writeFile, writeSync } from 'node:fs'

/** Where lines of the log go. */
export type LogDestination = {
  write(line: string): void
  /** Hands over what is there: pino's `flush`. */
  flush(done?: (error?: Error) => void): void
  /** Writes what is there before it returns: after a fatal line, and as the process exits. */
  flushSync(): void
}

/** Bytes of lines that leave together. Their characters are copied at once, so that no string outlives its line. */
const blockSize = 64 * 1024
/** ms after which lines leave, however few they are. */
const patience = 200
/** ms until what could not be written is tried again, and how often as the process ends. */
const again = 100
const lastTries = 10

/**
 * Lines for a file descriptor, written by another thread in blocks: handing work to it costs more than a line does.
 * Whoever does not read them holds nobody: beyond a limit lines are lost, and counted.
 *
 * @param options.lost told how many lines were lost, once lines can be written again
 * @param options.most bytes that may wait
 */
export function logDestination(
  fd: number,
  { lost, most = 8 * 1024 * 1024 }: { lost?: (lines: number) => void; most?: number } = {},
): LogDestination {
  let block = Buffer.allocUnsafe(blockSize)
  let used = 0
  let timer: NodeJS.Timeout | undefined
  let waiting: Buffer[] = []
  let bytes = 0
  let isWriting = false
  let lostLines = 0
  /** Nobody will ever read again. */
  let isOver = false

  const queue = (lines: Buffer): void => {
    if (isOver) return
    if (bytes + lines.length > most) lostLines += count(lines)
    else {
      waiting.push(lines)
      bytes += lines.length
    }
  }
  const close = (): void => {
    clearTimeout(timer)
    timer = undefined
    if (used === 0) return
    queue(block.subarray(0, used))
    block = Buffer.allocUnsafe(blockSize)
    used = 0
  }
  const leave = (): void => {
    close()
    next()
  }
  const next = (): void => {
    const [lines] = waiting
    if (isWriting || lines === undefined) return
    isWriting = true
    writeFile(fd, lines, written)
  }
  const written = (error: NodeJS.ErrnoException | null, length: number): void => {
    isWriting = false
    if (error !== null) {
      if (error.code === 'EPIPE') {
        isOver = true
        waiting = []
      } else setTimeout(next, again).unref()
      return
    }
    advance(length)
    next()
    if (lostLines === 0) return
    const lines = lostLines
    lostLines = 0
    lost?.(lines)
  }
  const advance = (length: number): void => {
    const [lines] = waiting as [Buffer]
    bytes -= length
    if (length === lines.length) waiting.shift()
    else waiting[0] = lines.subarray(length)
  }

  const flushSync = (): void => {
    close()
    // The other thread has the first block, and the process waits for it.
    const first = isWriting ? waiting.splice(0, 1) : []
    for (let tries = 0; waiting.length > 0 && tries < lastTries; ) {
      try {
        advance(writeSync(fd, waiting[0] as Buffer))
      } catch {
        tries++
        Atomics.wait(pause, 0, 0, again / lastTries)
      }
    }
    waiting.unshift(...first)
  }
  process.once('exit', flushSync)

  return {
    write(line) {
      // No character takes more than three bytes.
      const longest = 3 * line.length
      if (used + longest > blockSize) leave()
      if (longest > blockSize) {
        queue(Buffer.from(line))
        return next()
      }
      if (used === 0) timer = setTimeout(leave, patience).unref()
      used += block.write(line, used)
    },
    flush(done) {
      leave()
      done?.()
    },
    flushSync,
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4))

function count(lines: Buffer): number {
  let found = 0
  for (const byte of lines) if (byte === 0x0a) found++
  return found
}
