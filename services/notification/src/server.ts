import { loadConfig, start } from '@banking/config'
import { openDatabase } from '@banking/db'
import { serve } from '@banking/http'
import { createKafkaTransport, startConsumer, startRelay } from '@banking/messaging'
import { createLogger, createMetrics } from '@banking/telemetry'
import { buildApp } from './app.ts'
import { Config } from './config.ts'
import { group, handlers, topics } from './consumers.ts'
import { createNotificationStore } from './notification-store.ts'
import { createStreams } from './streams.ts'

await start(async () => {
  const config = loadConfig(Config)
  const logger = createLogger({ name: 'notification', level: config.LOG_LEVEL })
  const metrics = createMetrics('notification')
  const database = openDatabase({ url: config.DATABASE_URL, name: 'notification' })
  const { sql } = database
  const transport = createKafkaTransport({
    brokers: config.KAFKA_BROKERS.split(','),
    clientId: 'notification',
    prefix: config.TOPIC_PREFIX,
    logger,
  })
  const store = createNotificationStore(database)
  const streams = createStreams({ sql, store, logger, metrics })
  const app = await buildApp({ issuer: config.ISSUER, store, streams, logger, metrics })
  const relay = startRelay({ sql, transport, logger, metrics })
  const consumer = startConsumer({ sql, transport, group, topics, handlers, logger, metrics })

  await serve(app, {
    host: config.HOST,
    port: config.PORT,
    healthPort: config.HEALTH_PORT,
    checks: [
      { name: 'database', check: database.check },
      // Without the broker the inbox still answers; what happens meanwhile arrives when it is back.
      { name: 'kafka', check: transport.check, optional: true },
    ],
    metrics,
    logger,
    onDrain: () => streams.close(),
    onClose: async () => {
      await consumer.close()
      await relay.close()
      await transport.close()
      await database.close()
    },
  })
})
