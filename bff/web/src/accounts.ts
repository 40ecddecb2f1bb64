import { callJson } from './api.ts'
import type { Money } from './money.ts'
import { Refusal } from './refusal.ts'
import { createSharedResource } from './resource.ts'

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

/** The person's own accounts. Staff have none, and a role without accounts is no failure. */
export const accounts = createSharedResource<readonly Account[]>(async options => {
  try {
    const { items } = await callJson<{ items: Account[] }>('/api/payments/accounts', options)
    return items
  } catch (error) {
    if (error instanceof Refusal && error.code === 'role_missing') return []
    throw error
  }
})

export const isCustomer = (roles: readonly string[]): boolean => roles.includes('customer')
