import { loadConfig, start } from '@banking/config'
import { openDatabase } from '@banking/db'
import { serve } from '@banking/http'
import { createKafkaTransport, startRelay } from '@banking/messaging'
import { createLogger, createMetrics } from '@banking/telemetry'
import { buildApp } from './app.ts'
import { Config } from './config.ts'
import { createCustomerStore } from './customer-store.ts'
import { readWrappingKeys } from './pii.ts'

await start(async () => {
  const config = loadConfig(Config)
  const logger = createLogger({ name: 'customer', level: config.LOG_LEVEL })
  const metrics = createMetrics('customer')
  const keys = readWrappingKeys(config.PII_KEY_FILE)
  const database = openDatabase({ url: config.DATABASE_URL, name: 'customer' })
  const { sql } = database
  const transport = createKafkaTransport({
    brokers: config.KAFKA_BROKERS.split(','),
    clientId: 'customer',
    prefix: config.TOPIC_PREFIX,
    logger,
  })
  const app = await buildApp({ issuer: config.ISSUER, store: createCustomerStore(database, keys), logger, metrics })
  const relay = startRelay({ sql, transport, logger, metrics })

  await serve(app, {
    host: config.HOST,
    port: config.PORT,
    healthPort: config.HEALTH_PORT,
    checks: [
      { name: 'database', check: database.check },
      // Without the broker the service still answers; its events wait in the outbox.
      { name: 'kafka', check: transport.check, optional: true },
    ],
    metrics,
    logger,
    onClose: async () => {
      await relay.close()
      await transport.close()
      await database.close()
    },
  })
})
