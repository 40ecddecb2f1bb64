import { readFileSync, statSync } from 'node:fs'
import type { Logger } from '@banking/telemetry'

/** ms between two looks at the file. */
const lookEvery = 2_000

/**
 * Reads a file that holds a key or a secret, and reads it again once it has changed. A file that became unusable is
 * logged and what was read before stays in use.
 *
 * @param parse throws when the text is of no use; its message must not hold the text
 * @returns the current value, to be asked for at each use
 * @throws Error at once when the file cannot be used
 */
export async function readCredentialFile<T>(
  file: string,
  parse: (text: string) => T | Promise<T>,
  logger: Logger,
): Promise<() => Promise<T>> {
  let changedAt = statSync(file).mtimeMs
  let lookedAt = performance.now()
  let current = await parse(readFileSync(file, 'utf8'))
  return async () => {
    if (performance.now() - lookedAt < lookEvery) return current
    lookedAt = performance.now()
    try {
      const { mtimeMs } = statSync(file)
      if (mtimeMs !== changedAt) {
        current = await parse(readFileSync(file, 'utf8'))
        changedAt = mtimeMs
        logger.info({ file }, 'client credential read again')
      }
    } catch (err) {
      logger.error({ err, file }, 'client credential cannot be read again: the old one is used')
    }
    return current
  }
}
