import { problem } from '@banking/contracts'
import { lists, page, refusals, type Server } from '@banking/http'
import Type from 'typebox'
import type { LedgerStore } from '../ledger-store.ts'
import { Account, IdParams, Posting } from './schemas.ts'

const tags = ['accounts']
const access = { roles: ['customer'], scope: 'payment-api', owner: 'the account’s owner is the caller' } as const

const PostingQuery = Type.Object({
  ...page.properties,
  after: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,17}$', description: '`next` of the page before' })),
  from: Type.Optional(Type.String({ format: 'date-time', description: 'inclusive' })),
  to: Type.Optional(Type.String({ format: 'date-time', description: 'exclusive' })),
})

/** A customer's accounts and what happened in them. */
export async function accountRoutes(app: Server, { ledger }: { ledger: LedgerStore }): Promise<void> {
  app.get(
    '/accounts',
    {
      config: { access },
      schema: {
        operationId: 'listAccounts',
        summary: 'Your accounts',
        tags,
        response: { 200: lists(Account), ...refusals },
      },
    },
    async request => ({ items: await ledger.accountsOf(request.user.sub) }),
  )

  app.get(
    '/accounts/:id',
    {
      config: { access },
      schema: {
        operationId: 'getAccount',
        summary: 'One account',
        tags,
        params: IdParams,
        response: { 200: Account, ...refusals },
      },
    },
    async request => {
      const account = await ledger.account(request.params.id, request.user.sub)
      if (account === undefined) throw problem('not_found')
      return account
    },
  )

  app.get(
    '/accounts/:id/postings',
    {
      config: { access },
      schema: {
        operationId: 'listPostings',
        summary: 'What was booked, newest first, with the balance after each',
        tags,
        params: IdParams,
        querystring: PostingQuery,
        response: { 200: lists(Posting), ...refusals },
      },
    },
    async request => {
      const { after, from, to, limit = 50 } = request.query
      const account = await ledger.account(request.params.id, request.user.sub)
      if (account === undefined) throw problem('not_found')
      const items = await ledger.postingsOf(account.id, account.currency, {
        limit,
        ...(after === undefined ? {} : { before: BigInt(after) }),
        ...(from === undefined ? {} : { from: instant(from) }),
        ...(to === undefined ? {} : { to: instant(to) }),
      })
      const last = items[limit - 1]
      if (items.length <= limit || last === undefined) return { items }
      return { items: items.slice(0, limit), next: String(last.seq) }
    },
  )
}

/** The format lets leap seconds and years through that neither a Date nor the database knows. */
function instant(text: string): Date {
  const date = new Date(text)
  const year = date.getUTCFullYear()
  if (Number.isNaN(year) || year < 1900 || year > 9999)
    throw problem('request_invalid', 'A time is between the years 1900 and 9999, without leap seconds.')
  return date
}
