import { audienceOf } from '@banking/contracts'
import { refusals, type Server } from '@banking/http'
import type { LedgerStore } from '../ledger-store.ts'
import { TrialBalance } from './schemas.ts'

/** The books as a whole, for those who check them. */
export async function ledgerRoutes(app: Server, { ledger }: { ledger: LedgerStore }): Promise<void> {
  app.get(
    '/trial-balance',
    {
      config: {
        access: {
          roles: ['compliance-officer', 'banking-admin'],
          services: [audienceOf('audit'), audienceOf('admin')],
          scope: 'payment-api',
        },
      },
      schema: {
        operationId: 'getTrialBalance',
        summary: 'The sum of all postings per currency',
        tags: ['ledger'],
        response: { 200: TrialBalance, ...refusals },
      },
    },
    async () => ledger.trialBalance(),
  )
}
