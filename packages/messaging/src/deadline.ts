/** An answer did not come in time; whether the work was done is not known. */
export class DeadlineError extends Error {
  constructor(ms: number) {
    super(`no answer within ${ms} ms`)
    this.name = 'DeadlineError'
  }
}

/** The work's result, or a {@link DeadlineError} after `ms`. The work itself is not stopped. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new DeadlineError(ms)), ms)
  })
  // After the deadline nobody waits for the work any more; its failure is not an unhandled one.
  work.catch(() => {})
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}
