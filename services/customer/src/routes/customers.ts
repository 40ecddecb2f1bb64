import { problem } from '@banking/contracts'
import { refusals, type Server } from '@banking/http'
import Type from 'typebox'
import { Profile, profileOf } from '../customer.ts'
import type { CustomerStore } from '../customer-store.ts'

const scope = 'customer-api'
const tags = ['customers']

/** A customer's own profile, and one customer for staff. */
export async function customerRoutes(app: Server, { store }: { store: CustomerStore }): Promise<void> {
  app.get(
    '/me',
    {
      config: { access: { roles: ['customer'], scope, owner: 'the token’s subject' } },
      schema: {
        operationId: 'getOwnProfile',
        summary: 'The customer’s own profile, masked',
        tags,
        response: { 200: Profile, ...refusals },
      },
    },
    async ({ user }) => {
      const found = await store.find(user.sub)
      if (found === undefined) throw problem('not_found')
      return profileOf(found)
    },
  )

  app.get(
    '/:id',
    {
      config: {
        access: { roles: ['loan-officer', 'compliance-officer', 'risk-analyst'], scope, purpose: true },
      },
      schema: {
        operationId: 'getCustomer',
        summary: 'One customer, for staff with a purpose; every look is recorded',
        tags,
        params: Type.Object({ id: Type.String({ format: 'uuid' }) }),
        headers: Type.Object({
          'x-purpose': Type.String({ description: 'why this customer is looked at: 8 to 200 printable characters' }),
        }),
        response: { 200: Profile, ...refusals },
      },
    },
    async ({ params, user, headers, trace }) => {
      const found = await store.findForStaff(params.id, { purpose: headers['x-purpose'], actor: user, trace })
      if (found === undefined) throw problem('not_found')
      return profileOf(found)
    },
  )
}
