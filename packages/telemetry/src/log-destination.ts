import sonicBoom from 'sonic-boom'

/** Bytes of lines that leave together; their bytes are copied at once, so that no string outlives its line. */
const blockSize = 64 * 1024
/** ms after which lines leave, however few they are. */
const patience = 200
/** Bytes that wait for whoever reads the output. */
const defaultMost = 8 * 1024 * 1024

/** Where lines of the log go. */
export type LogDestination = {
  write(line: string): void
  /** Hands over what is there, and calls back: pino's `flush`. */
  flush(done?: (error?: Error) => void): void
  /** Writes what is there before it returns: after a fatal line, and as the process exits. */
  flushSync(): void
}

/**
 * Lines for a file descriptor, written by another thread in blocks. Handing work to that thread costs more than the
 * line itself; sonic-boom alone joins lines as strings and measures the whole again for each, so that larger batches
 * are dearer. Who does not read the output never holds anybody: beyond a limit lines are lost, and counted.
 *
 * @param options.lost told how many lines were lost, once lines can be written again
 */
export function logDestination(
  fd: number,
  options: { lost?: (lines: number) => void; most?: number } = {},
): LogDestination {
  /** At the end nobody waits for a reader that does not read. */
  let tries = Number.POSITIVE_INFINITY
  const out = new sonicBoom.SonicBoom({
    fd,
    sync: false,
    minLength: 0,
    maxLength: options.most ?? defaultMost,
    contentMode: 'buffer',
    retryEAGAIN: () => tries-- > 0,
  })
  let block = Buffer.allocUnsafe(blockSize)
  let used = 0
  let timer: NodeJS.Timeout | undefined
  let lost = 0

  const leave = (): void => {
    clearTimeout(timer)
    timer = undefined
    if (used === 0) return
    const lines = block.subarray(0, used)
    block = Buffer.allocUnsafe(blockSize)
    used = 0
    out.write(lines as unknown as string)
  }
  const write = (line: string): void => {
    // No character takes more than three bytes.
    if (used + 3 * line.length > blockSize) {
      leave()
      if (3 * line.length > blockSize) return void out.write(Buffer.from(line) as unknown as string)
    }
    if (used === 0) {
      timer = setTimeout(leave, patience)
      timer.unref()
    }
    used += block.write(line, used)
  }

  out.on('drop', lines => {
    for (const byte of lines as unknown as Buffer) if (byte === 0x0a) lost++
  })
  out.on('write', () => {
    if (lost === 0) return
    const count = lost
    lost = 0
    options.lost?.(count)
  })
  // Nobody reads any more, or the disk is full. What waits is tried again with the next block; work goes on.
  out.on('error', () => undefined)

  const flushSync = (): void => {
    leave()
    out.flushSync()
  }
  process.once('exit', () => {
    tries = 10
    try {
      flushSync()
    } catch {
      // There is no way left to say so.
    }
  })
  return {
    write,
    flush(done) {
      leave()
      done?.()
    },
    flushSync,
  }
}
