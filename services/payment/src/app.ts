import auth from '@banking/auth'
import { audienceOf } from '@banking/contracts'
import { asDatabaseProblem } from '@banking/db'
import { createServer, type Server } from '@banking/http'
import type { Logger, Metrics } from '@banking/telemetry'
import type { LedgerStore } from './ledger-store.ts'
import type { Decide } from './payment.ts'
import type { PaymentStore } from './payment-store.ts'
import { accountRoutes } from './routes/accounts.ts'
import { ledgerRoutes } from './routes/ledger.ts'
import { paymentRoutes } from './routes/payments.ts'

export type Deps = {
  issuer: string
  ledger: LedgerStore
  payments: PaymentStore
  decide: Decide
  logger: Logger
  metrics: Metrics
}

/** The whole service but its process: routes over a ledger. */
export async function buildApp({ issuer, ledger, payments, decide, logger, metrics }: Deps): Promise<Server> {
  const app = await createServer({
    title: 'Payments',
    description: 'Accounts, the double-entry ledger behind them, and payments.',
    logger,
    metrics,
    translators: [asDatabaseProblem],
  })
  await app.register(auth, { issuer, audience: audienceOf('payment'), logger, metrics })
  await app.register(accountRoutes, { prefix: '/api/payments', ledger })
  await app.register(ledgerRoutes, { prefix: '/api/payments', ledger })
  await app.register(paymentRoutes, { prefix: '/api/payments', payments, decide })
  return app
}
