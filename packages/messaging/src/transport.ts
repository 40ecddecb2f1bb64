/** One message to send. Messages with one key keep their order. */
export type Message = {
  key: string
  value: string | Buffer
  headers?: Readonly<Record<string, string>>
}

/** One message received, as bytes: it may be anything. */
export type Delivery = {
  topic: string
  partition: number
  /** Position in the partition, as the transport writes it. */
  offset: string
  key: string | undefined
  /** Undefined for a message without a body. */
  value: Buffer | undefined
  headers: Readonly<Record<string, string>>
  /** 1 at the first try; counted by this process alone, so a restart begins at 1 again. */
  attempt: number
}

export type Subscription = {
  /** Stops taking messages, waits for the one that is being handled, leaves the group. */
  close(): Promise<void>
}

/**
 * What the bank asks of a message broker. Every implementation passes `transportConformance` of `@banking/testkit`:
 * order per key, at least once, redelivery until the handler has finished, refusal within a bounded time.
 */
export type Transport = {
  /**
   * Resolves when the broker has the messages durably, in the given order per key; rejects within 10 s otherwise.
   * After a rejection the messages may have arrived all the same.
   */
  publish(topic: string, messages: readonly Message[]): Promise<void>
  /**
   * Hands every message of the topics to `onEvent`, one after the other within a partition. A message counts as
   * handled when `onEvent` resolves; when it rejects, the same message comes again after a pause that grows to 10 s,
   * and the later ones of its partition wait. Waits for a broker that is away; resolves at once.
   */
  subscribe(options: {
    group: string
    topics: readonly string[]
    onEvent(delivery: Delivery): Promise<void>
  }): Subscription
  /** Rejects while the broker does not answer, and for ever once a subscription has broken beyond repair. */
  check(): Promise<void>
  /** Ends every subscription and connection. */
  close(): Promise<void>
}

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
