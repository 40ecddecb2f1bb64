import { buildApp } from '../../bff/src/app.ts'
import { readClientAuthentication } from '../../bff/src/provider/client-authentication.ts'
import { createProvider } from '../../bff/src/provider/oidc.ts'
import { connectRedis } from '../../bff/src/redis.ts'
import { createLogger, createMetrics } from '../../packages/telemetry/src/index.ts'
import { type EdgeSettings, edgeConfig } from './settings.ts'
import { createUndiciClient } from './undici-client.ts'

/* The edge as it is, in a process of its own. `SETTINGS` says where everything is. */
const settings = JSON.parse(process.env['SETTINGS'] ?? '') as EdgeSettings
const config = edgeConfig(settings)
const logger = createLogger({ name: 'bff' })
const metrics = createMetrics('bff')
const authentication = await readClientAuthentication(config.provider.credential, logger)
const { keys } = authentication
const provider = createProvider({ ...config.provider, authentication, publicOrigin: config.publicOrigin, logger })
const redis = connectRedis({ ...config.redis, logger, metrics })
const client = settings.undici === true ? { client: createUndiciClient } : {}
const { app } = await buildApp({ config, provider, keys, redis, logger, metrics, ...client })
await app.listen({ host: config.host, port: config.port })

// What is still in use, apart from what is only waiting to be collected.
process.on('message', () => {
  globalThis.gc?.()
  process.send?.(process.memoryUsage())
})
