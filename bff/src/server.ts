import { start } from '@banking/config'
import { serve } from '@banking/http'
import { createLogger, createMetrics } from '@banking/telemetry'
import { buildApp } from './app.ts'
import { readCommand, summary } from './config/command.ts'
import { readConfig } from './config/config.ts'
import { loggedEvents } from './events/events.ts'
import { buildInternal } from './internal.ts'
import { readClientAuthentication } from './provider/client-authentication.ts'
import { createProvider } from './provider/oidc.ts'
import { connectRedis } from './redis.ts'

await start(async () => {
  const command = await readCommand(process.argv.slice(2), process.env)
  if (command.run === 'print') return void process.stdout.write(command.text)
  const config = await readConfig(command.file, process.env)
  if (command.run === 'check') return void process.stdout.write(summary(command.file, config))
  const logger = createLogger({ name: 'bff', level: config.logLevel })
  const metrics = createMetrics('bff')
  const authentication = await readClientAuthentication(config.provider.credential, logger)
  const redis = connectRedis({ ...config.redis, logger, metrics })
  const provider = createProvider({
    ...config.provider,
    authentication,
    publicOrigin: config.publicOrigin,
    logger,
  })
  // Who needs no broker loads no client for one.
  const events =
    config.events === undefined
      ? loggedEvents(logger)
      : (await import('./events/published-events.ts')).connectEvents({ ...config.events, logger, metrics })
  const { app, sessions, streams } = await buildApp({
    config,
    provider,
    keys: authentication.keys,
    redis,
    events,
    logger,
    metrics,
  })
  const { issuer, clientId } = config.provider
  const jwksUrl = provider.jwksUri
  const internal =
    config.internal &&
    (await buildInternal({
      issuer,
      clientId,
      jwksUrl,
      ...config.internal,
      sessions,
      events,
      logger,
      metrics,
      now: Date.now,
    }))
  await serve(app, {
    host: config.host,
    port: config.port,
    healthPort: config.healthPort,
    drainDelay: config.drainDelay,
    logger,
    metrics,
    checks: [
      { name: 'redis', check: redis.check },
      // Running sessions do not need it at once: a provider that is away must not take all replicas out.
      { name: 'provider', check: provider.check, optional: true },
    ],
    onDrain: () => streams.closeAll(),
    onClose: async () => {
      await internal?.close()
      await events.close()
      await redis.close()
    },
  })
  if (config.internal !== undefined) await internal?.listen({ host: config.internal.host, port: config.internal.port })
})
