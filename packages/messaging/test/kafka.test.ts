import { randomBytes } from 'node:crypto'
import { parts, testLogger, testTransport, transportConformance } from '@banking/testkit'
import t from 'tap'
import { createKafkaTransport, createTopics, deleteTopics } from '../src/index.ts'

await transportConformance(t, async t => {
  const topics = ['one', 'two'] as const
  const { open } = await testTransport(t, topics)
  return {
    topics,
    open,
    openUnreachable: () => {
      // Port 9 (discard) of the loopback interface: nothing listens there.
      const { logger } = testLogger()
      const transport = createKafkaTransport({ brokers: ['127.0.0.1:9'], clientId: 'test', logger })
      t.teardown(() => transport.close())
      return transport
    },
  }
})

t.test('creates topics once and may be asked again', async t => {
  const brokers = parts(t, 'kafka').kafka.split(',')
  const prefix = `test-${randomBytes(6).toString('hex')}.`
  const { logger } = testLogger()
  await Promise.all([1, 2].map(() => createTopics({ brokers, prefix, topics: ['one'], logger })))
  await createTopics({ brokers, prefix, topics: ['one', 'two'], logger })
  t.teardown(() => deleteTopics({ brokers, prefix, topics: ['one', 'two'], logger }))
  const transport = createKafkaTransport({ brokers, clientId: 'test', prefix, logger })
  t.teardown(() => transport.close())
  for (const topic of ['one', 'one.dlq', 'two', 'two.dlq'])
    await t.resolves(transport.publish(topic, [{ key: 'a', value: 'x' }]))
})

t.test('reports a subscription that no retry can mend, and stays not ready', async t => {
  const { brokers, prefix } = await testTransport(t, ['one'])
  let report = (_error: Error): void => {}
  const crashed = new Promise<Error>(resolve => {
    report = resolve
  })
  const transport = createKafkaTransport({
    brokers,
    prefix,
    clientId: 'test',
    logger: testLogger().logger,
    // Below the broker's minimum: it refuses the join for good (INVALID_SESSION_TIMEOUT).
    sessionTimeout: 100,
    onCrash: error => report(error),
  })
  t.teardown(() => transport.close())
  await t.resolves(transport.check())
  transport.subscribe({ group: 'g', topics: ['one'], onEvent: async () => {} })
  t.match(await crashed, /session timeout/i)
  await t.rejects(transport.check(), { message: 'a subscription ended for good' })
})
