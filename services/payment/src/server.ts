import { loadConfig, start } from '@banking/config'
import { openDatabase } from '@banking/db'
import { serve } from '@banking/http'
import { createKafkaTransport, startRelay } from '@banking/messaging'
import { createLogger, createMetrics } from '@banking/telemetry'
import { buildApp } from './app.ts'
import { Config } from './config.ts'
import { createLedgerStore } from './ledger-store.ts'
import { holdAbove } from './payment.ts'
import { createPaymentStore } from './payment-store.ts'

await start(async () => {
  const config = loadConfig(Config)
  const logger = createLogger({ name: 'payment', level: config.LOG_LEVEL })
  const metrics = createMetrics('payment')
  const database = openDatabase({ url: config.DATABASE_URL, name: 'payment' })
  const transport = createKafkaTransport({
    brokers: config.KAFKA_BROKERS.split(','),
    clientId: 'payment',
    prefix: config.TOPIC_PREFIX,
    logger,
  })
  const relay = startRelay({ sql: database.sql, transport, logger, metrics })
  const payments = createPaymentStore(database, metrics, relay.wake)
  const app = await buildApp({
    issuer: config.ISSUER,
    ledger: createLedgerStore(database),
    payments,
    decide: holdAbove(BigInt(config.HOLD_ABOVE)),
    logger,
    metrics,
  })
  const forgetting = setInterval(
    () => void payments.forgetKeys().catch(error => logger.warn({ err: error }, 'old idempotency keys stay for now')),
    60 * 60_000,
  )

  await serve(app, {
    host: config.HOST,
    port: config.PORT,
    healthPort: config.HEALTH_PORT,
    checks: [
      { name: 'database', check: database.check },
      // Without the broker money still moves; its events wait in the outbox.
      { name: 'kafka', check: transport.check, optional: true },
    ],
    metrics,
    logger,
    onClose: async () => {
      clearInterval(forgetting)
      await relay.close()
      await transport.close()
      await database.close()
    },
  })
})
