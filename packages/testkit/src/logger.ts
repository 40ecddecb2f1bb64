import { Writable } from 'node:stream'
import { createLogger, type Logger } from '@banking/telemetry'

/** A logger whose lines a test can read. */
export function testLogger(): { logger: Logger; lines: () => Record<string, unknown>[]; text: () => string } {
  const written: string[] = []
  const destination = new Writable({
    write(chunk, _encoding, done) {
      written.push(String(chunk))
      done()
    },
  })
  return {
    logger: createLogger({ name: 'test', level: 'debug', destination }),
    lines: () => written.map(line => JSON.parse(line) as Record<string, unknown>),
    text: () => written.join(''),
  }
}
