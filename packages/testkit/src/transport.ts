import { randomBytes } from 'node:crypto'
import { createKafkaTransport, createTopics, deleteTopics, type Transport } from '@banking/messaging'
import type { Test } from 'tap'
import { testLogger } from './logger.ts'
import { parts } from './parts.ts'

export type TestTransport = {
  transport: Transport
  brokers: readonly string[]
  /** Stands before every topic and group of this test. */
  prefix: string
  /** Another connection to the same topics, closed at teardown. */
  open(): Transport
}

/** Topics of this test's own (and their dead letters) on the real Kafka. */
export async function testTransport(t: Test, topics: readonly string[]): Promise<TestTransport> {
  const brokers = parts(t, 'kafka').kafka.split(',')
  const prefix = `test-${randomBytes(6).toString('hex')}.`
  const { logger } = testLogger()
  await createTopics({ brokers, prefix, topics, logger })
  t.teardown(() => deleteTopics({ brokers, prefix, topics, logger }))
  const open = (): Transport => {
    const transport = createKafkaTransport({ brokers, clientId: 'test', prefix, logger })
    t.teardown(() => transport.close())
    return transport
  }
  return { transport: open(), brokers, prefix, open }
}
