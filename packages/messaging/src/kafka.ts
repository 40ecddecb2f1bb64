import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '@banking/telemetry'
import {
  type Admin,
  type EachBatchPayload,
  type IHeaders,
  type ISocketFactory,
  Kafka,
  type KafkaMessage,
  logLevel,
  Partitioners,
  type Producer,
} from 'kafkajs'
import { quietIdleConnections } from './kafkajs-timers.ts'
import { type Delivery, type Message, type Subscription, type Transport, within } from './transport.ts'

export type KafkaOptions = {
  brokers: readonly string[]
  /** Shown in the broker's logs and quotas: the app's name. */
  clientId: string
  /** Put before every topic and group name, so that tests share one broker. */
  prefix?: string
  logger: Logger
  /**
   * Called once when a subscription has ended for a reason that no retry mends. The default throws outside of any
   * handler, which ends the process: a consumer that looks alive and reads nothing is worse than a restart.
   */
  onCrash?: (error: Error) => void
  /** ms after which a dead consumer's partitions go to another. */
  sessionTimeout?: number
  /** Opens the connections to brokers; tests lead them through a proxy. */
  socketFactory?: ISocketFactory
}

quietIdleConnections()

const publishDeadline = 10_000
const closeDeadline = 5_000
const longestPause = 10_000
/** First pause 100 ms, then twice as long each time. */
const pauseAfter = (attempt: number): number => Math.min(100 * 2 ** (attempt - 1), longestPause)

/** {@link Transport} over Kafka: acknowledged by all in-sync replicas, one request in flight per connection. */
export function createKafkaTransport(options: KafkaOptions): Transport {
  const { prefix = '', logger } = options
  const kafka = createClient(options)
  const subscriptions = new Set<Subscription>()
  let producer: Promise<Producer> | undefined
  let crash: Error | undefined
  let closed = false

  const connectedProducer = (): Promise<Producer> => {
    producer ??= connectProducer(kafka).catch(error => {
      producer = undefined
      throw error
    })
    return producer
  }

  const dropProducer = (): void => {
    const dropped = producer
    producer = undefined
    dropped?.then(
      it => quietly(it.disconnect(), logger),
      () => {},
    )
  }

  const onCrash = (error: Error): void => {
    crash ??= error
    logger.fatal({ err: error }, 'a subscription ended for good')
    if (options.onCrash !== undefined) options.onCrash(error)
    else
      setImmediate(() => {
        throw error
      })
  }

  return {
    publish: async (topic, messages) => {
      if (closed) throw new Error('the transport is closed')
      if (messages.length === 0) return
      const sent = connectedProducer().then(it =>
        it.send({ topic: prefix + topic, acks: -1, timeout: 5_000, messages: messages.map(toKafka) }),
      )
      try {
        await within(publishDeadline, sent)
      } catch (error) {
        // An abandoned send must not go on trying behind the back of the caller, who will publish again; and after
        // a broker that hung, kafkajs's own connection never comes back.
        dropProducer()
        throw error
      }
    },
    subscribe: subscription => {
      if (closed) throw new Error('the transport is closed')
      const running = consume(kafka, {
        ...subscription,
        group: prefix + subscription.group,
        topics: subscription.topics.map(topic => prefix + topic),
        prefix,
        logger,
        onCrash,
        sessionTimeout: options.sessionTimeout ?? 10_000,
      })
      subscriptions.add(running)
      return {
        close: async () => {
          subscriptions.delete(running)
          await running.close()
        },
      }
    },
    check: async () => {
      if (crash !== undefined) throw new Error('a subscription ended for good', { cause: crash })
      const admin = kafka.admin({ retry: { retries: 0 } })
      try {
        await within(
          publishDeadline,
          admin.connect().then(() => admin.describeCluster()),
        )
      } finally {
        await quietly(admin.disconnect(), logger)
      }
    },
    close: async () => {
      closed = true
      await Promise.all([...subscriptions].map(it => it.close()))
      subscriptions.clear()
      const last = await producer?.catch(() => undefined)
      producer = undefined
      if (last !== undefined) await quietly(last.disconnect(), logger)
    },
  }
}

/**
 * Creates the topics that are missing, each with its `<topic>.dlq`. For development and tests: in production the
 * platform owns the topics, and the broker creates none by itself.
 */
export async function createTopics(options: {
  brokers: readonly string[]
  prefix?: string
  topics: readonly string[]
  /** Consumers of one group that can work side by side. Never change it later: keys would move. */
  partitions?: number
  /** -1 is the broker's default. */
  replicas?: number
  logger: Logger
}): Promise<void> {
  const admin = createClient({ ...options, clientId: 'create-topics' }).admin()
  await admin.connect()
  try {
    const existing = new Set(await admin.listTopics())
    const missing = options.topics
      .flatMap(topic => [
        { topic: (options.prefix ?? '') + topic, numPartitions: options.partitions ?? 3 },
        { topic: `${(options.prefix ?? '') + topic}.dlq`, numPartitions: 1 },
      ])
      .filter(({ topic }) => !existing.has(topic))
      .map(topic => ({ ...topic, replicationFactor: options.replicas ?? -1 }))
    if (missing.length === 0) return
    await admin.createTopics({ topics: missing, waitForLeaders: false, timeout: 10_000 })
    await haveLeaders(
      admin,
      missing.map(({ topic }) => topic),
    )
  } finally {
    await quietly(admin.disconnect(), options.logger)
  }
}

/** kafkajs waits for leaders too, but takes a busy broker that has not heard of a new topic yet for one without it. */
async function haveLeaders(admin: Admin, names: string[]): Promise<void> {
  const deadline = Date.now() + 10_000
  for (;;) {
    try {
      const { topics } = await admin.fetchTopicMetadata({ topics: names })
      if (topics.every(({ partitions }) => partitions.length > 0 && partitions.every(({ leader }) => leader >= 0)))
        return
    } catch (error) {
      if ((error as { retriable?: boolean }).retriable !== true || Date.now() > deadline) throw error
    }
    if (Date.now() > deadline) throw new Error(`no leader for ${names.join(', ')} within 10 s`)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}

/** Removes topics and their `<topic>.dlq` with all that is in them: for tests, which leave nothing behind. */
export async function deleteTopics(options: {
  brokers: readonly string[]
  prefix: string
  topics: readonly string[]
  logger: Logger
}): Promise<void> {
  const admin = createClient({ ...options, clientId: 'delete-topics' }).admin()
  await admin.connect()
  try {
    const topics = options.topics.flatMap(topic => [options.prefix + topic, `${options.prefix + topic}.dlq`])
    await admin.deleteTopics({ topics, timeout: 10_000 })
  } finally {
    await quietly(admin.disconnect(), options.logger)
  }
}

function createClient(options: Pick<KafkaOptions, 'brokers' | 'clientId' | 'logger' | 'socketFactory'>): Kafka {
  return new Kafka({
    brokers: [...options.brokers],
    clientId: options.clientId,
    connectionTimeout: 2_000,
    requestTimeout: 5_000,
    retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 3 },
    ...(options.socketFactory === undefined ? {} : { socketFactory: options.socketFactory }),
    logLevel: logLevel.WARN,
    // Its errors are attempts that it repeats by itself; what matters is logged here, once, in our words.
    logCreator: () => {
      const log = options.logger.child({ part: 'kafkajs' })
      return ({ namespace, log: { message, error } }) => log.debug({ namespace, reason: error }, message)
    },
  })
}

async function connectProducer(kafka: Kafka): Promise<Producer> {
  const producer = kafka.producer({
    allowAutoTopicCreation: false,
    // The default one, but named: else it warns of a change since its version 1.
    createPartitioner: Partitioners.DefaultPartitioner,
    // Its own repetitions keep the order per key only when a request is never overtaken.
    maxInFlightRequests: 1,
    retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 2 },
  })
  await producer.connect()
  return producer
}

type Consumption = {
  group: string
  topics: readonly string[]
  prefix: string
  sessionTimeout: number
  logger: Logger
  onEvent(delivery: Delivery): Promise<void>
  onCrash(error: Error): void
}

/** Runs a consumer and starts another whenever it ends, until closed. */
function consume(kafka: Kafka, options: Consumption): Subscription {
  const { logger, group } = options
  const closing = new AbortController()
  const closed = once(closing.signal, 'abort').then(() => undefined)
  const timers = new Set<NodeJS.Timeout>()
  const attempts = new Map<string, { offset: string; count: number }>()

  const eachBatch = async (payload: EachBatchPayload): Promise<void> => {
    const { batch } = payload
    const place = `${batch.topic}/${batch.partition}`
    const beat = keepAlive(payload, options.sessionTimeout)
    try {
      for (const message of batch.messages) {
        if (closing.signal.aborted || !payload.isRunning() || payload.isStale() || beat.lost !== undefined) break
        const before = attempts.get(place)
        const attempt = before?.offset === message.offset ? before.count + 1 : 1
        try {
          await options.onEvent(toDelivery(batch.topic.slice(options.prefix.length), batch.partition, message, attempt))
        } catch (error) {
          attempts.set(place, { offset: message.offset, count: attempt })
          logger.warn({ err: error, group, topic: batch.topic, offset: message.offset, attempt }, 'delivery failed')
          // Pausing, instead of waiting here, lets the other partitions go on and keeps the heartbeat.
          const resume = payload.pause()
          const timer = setTimeout(() => {
            timers.delete(timer)
            resume()
          }, pauseAfter(attempt))
          timers.add(timer)
          break
        }
        attempts.delete(place)
        payload.resolveOffset(message.offset)
        await payload.commitOffsetsIfNecessary()
      }
    } finally {
      beat.stop()
    }
    if (beat.lost !== undefined) throw beat.lost
  }

  const runOnce = async (): Promise<void> => {
    const consumer = kafka.consumer({
      groupId: group,
      sessionTimeout: options.sessionTimeout,
      heartbeatInterval: Math.floor(options.sessionTimeout / 4),
      rebalanceTimeout: 30_000,
      maxWaitTimeInMs: 250,
      allowAutoTopicCreation: false,
      // It would restart a copy of itself that nobody can stop; the loop below does it.
      retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 5, restartOnFailure: async () => false },
    })
    const crashed = new Promise<Error>(resolve => {
      consumer.on(consumer.events.CRASH, ({ payload }) => resolve(payload.error))
    })
    try {
      await consumer.connect()
      await consumer.subscribe({ topics: [...options.topics], fromBeginning: true })
      await consumer.run({
        eachBatch,
        eachBatchAutoResolve: false,
        autoCommitThreshold: 100,
        autoCommitInterval: 1_000,
        partitionsConsumedConcurrently: 4,
      })
      const error = await Promise.race([crashed, closed])
      if (error !== undefined) throw error
    } finally {
      await quietly(consumer.disconnect(), logger)
    }
  }

  const loop = async (): Promise<void> => {
    for (let attempt = 1; !closing.signal.aborted; attempt++) {
      const started = Date.now()
      try {
        await runOnce()
      } catch (error) {
        if (closing.signal.aborted) return
        if (!isRetriable(error)) return options.onCrash(error as Error)
        if (Date.now() - started > 60_000) attempt = 1
        logger.warn({ err: error, group }, 'consumer lost the broker; trying again')
        await delay(Math.min(pauseAfter(attempt), 5_000), undefined, { signal: closing.signal }).catch(() => {})
      }
    }
  }

  const done = loop()
  return {
    close: async () => {
      closing.abort()
      for (const timer of timers) clearTimeout(timer)
      await within(publishDeadline + closeDeadline, done).catch(error =>
        logger.warn({ err: error, group }, 'consumer did not end in time'),
      )
    },
  }
}

/** Sends heartbeats while a handler works; remembers when the partition was taken away meanwhile. */
function keepAlive(payload: EachBatchPayload, sessionTimeout: number): { lost: unknown; stop(): void } {
  const state: { lost: unknown; stop(): void } = { lost: undefined, stop: () => clearInterval(timer) }
  const timer = setInterval(
    () => {
      payload.heartbeat().catch(error => {
        state.lost ??= error
      })
    },
    Math.floor(sessionTimeout / 4),
  )
  return state
}

/** kafkajs's own rule for what may be tried again. */
function isRetriable(error: unknown): boolean {
  if ((error as Error).name === 'KafkaJSNumberOfRetriesExceeded') return true
  let cause = error as { retriable?: boolean; cause?: unknown }
  while (cause.cause !== undefined && cause.cause !== null) cause = cause.cause as typeof cause
  // A plain error of kafkajs's own: the connection broke before its handshake was over.
  return cause.retriable === true || (cause as Error).message === 'Broker not connected'
}

function toKafka(message: Message): { key: string; value: string | Buffer; headers: IHeaders } {
  return { key: message.key, value: message.value, headers: { ...message.headers } }
}

function toDelivery(topic: string, partition: number, message: KafkaMessage, attempt: number): Delivery {
  const headers = Object.entries(message.headers ?? {}).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(Array.isArray(value) ? value[0] : value)]],
  )
  return {
    topic,
    partition,
    offset: message.offset,
    key: message.key?.toString(),
    value: message.value ?? undefined,
    headers: Object.fromEntries(headers),
    attempt,
  }
}

/** Waits for the end of a connection, but not for ever and not for its complaints. */
async function quietly(work: Promise<unknown>, logger: Logger): Promise<void> {
  await within(closeDeadline, work).catch(error => logger.debug({ err: error }, 'a connection did not end cleanly'))
}
