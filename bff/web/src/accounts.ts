import { callJson } from './api.ts'
import type { Money } from './money.ts'
import { createSharedResource } from './resource.ts'
import { session } from './session.ts'

/** `GET /api/payments/accounts`: `posted` is booked, `held` is set aside, `available` is what can be spent. */
export type Account = {
  id: string
  name: string
  kind: 'current' | 'savings'
  iban: string
  currency: Money['currency']
  posted: Money
  held: Money
  available: Money
  status: 'active' | 'frozen'
}

export const isCustomer = (roles: readonly string[]): boolean => roles.includes('customer')

/** The person's own accounts. Staff have none and need not ask to be refused. */
export const accounts = createSharedResource<readonly Account[]>(async options => {
  const state = session.peek()
  if (state.kind === 'signed-in' && !isCustomer(state.person.roles)) return []
  const { items } = await callJson<{ items: Account[] }>('/api/payments/accounts', options)
  return items
})
