import auth from '@banking/auth'
import { audienceOf } from '@banking/contracts'
import { asDatabaseProblem } from '@banking/db'
import { createServer, type Server } from '@banking/http'
import type { Logger, Metrics } from '@banking/telemetry'
import type { NotificationStore } from './notification-store.ts'
import { notificationRoutes } from './routes/notifications.ts'
import { streamRoutes } from './routes/stream.ts'
import type { Streams } from './streams.ts'

export type Deps = {
  issuer: string
  store: NotificationStore
  streams: Streams
  logger: Logger
  metrics: Metrics
}

/** The whole service but its process: routes over an inbox. */
export async function buildApp({ issuer, store, streams, logger, metrics }: Deps): Promise<Server> {
  const app = await createServer({
    title: 'Notifications',
    description: 'The inbox of each person, and the same live.',
    logger,
    metrics,
    translators: [asDatabaseProblem],
  })
  await app.register(auth, { issuer, audience: audienceOf('notification'), logger, metrics })
  await app.register(notificationRoutes, { prefix: '/api/notifications', store })
  await app.register(streamRoutes, { prefix: '/api/notifications', streams })
  return app
}
