let waiting: (() => void)[] = []

function write(): void {
  const writes = waiting
  waiting = []
  for (const one of writes) one()
}

/**
 * Does what writes to a socket once the loop has dealt with all that it had read. A write wakes the one who waits for
 * it, on another core, and that is the dearest part of forwarding a small answer: writes in a row wake them once.
 */
export function afterReads(one: () => void): void {
  if (waiting.push(one) === 1) setImmediate(write)
}
