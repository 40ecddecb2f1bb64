import auth from '@banking/auth'
import { audienceOf } from '@banking/contracts'
import { asDatabaseProblem } from '@banking/db'
import { createServer, type Server } from '@banking/http'
import type { Logger, Metrics } from '@banking/telemetry'
import type { CustomerStore } from './customer-store.ts'
import { customerRoutes } from './routes/customers.ts'

export type Deps = { issuer: string; store: CustomerStore; logger: Logger; metrics: Metrics }

/** The whole service but its process: routes over customers. */
export async function buildApp({ issuer, store, logger, metrics }: Deps): Promise<Server> {
  const app = await createServer({
    title: 'Customers',
    description: 'Who the customer is. Personal data leaves masked, and every look by staff is recorded.',
    logger,
    metrics,
    translators: [asDatabaseProblem],
  })
  await app.register(auth, { issuer, audience: audienceOf('customer'), logger, metrics })
  await app.register(customerRoutes, { prefix: '/api/customers', store })
  return app
}
