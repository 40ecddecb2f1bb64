import { call, callJson } from './api.ts'
import type { Money } from './money.ts'
import { createResources } from './resource.ts'

export type PaymentState = 'posted' | 'held' | 'declined' | 'cancelled' | 'expired' | 'reversed'

/** `GET /api/payments/{id}`. */
export type Payment = {
  id: string
  state: PaymentState
  debtorAccountId: string
  creditor: { name: string; ibanMasked?: string }
  amount: Money
  reference?: string | null
  createdAt: string
  reasons?: readonly string[]
  transferId?: string | null
}

export const payments = createResources<Payment>((id, options) => callJson<Payment>(`/api/payments/${id}`, options))

/**
 * Takes a held payment back.
 * @throws Refusal, `already_resolved` when it was released or ended in the meantime
 */
export async function cancelPayment(id: string): Promise<void> {
  await call(`/api/payments/${id}/cancel`, { method: 'POST' })
}
