import { callJson } from './api.ts'
import type { Intention } from './draft.ts'
import type { PaymentState } from './payments.ts'
import { Refusal } from './refusal.ts'

export type Sent = { id: string; state: PaymentState }

/** How often a payment that the bank is still working on is asked for again before the person is told. */
const patience = 8

/**
 * Sends a confirmed payment. While the first request with its key is still being worked on, it asks again by itself.
 * @throws Refusal; whether the payment may have happened all the same says `isUncertain`
 */
export async function sendPayment(intention: Intention, wait: (ms: number) => Promise<void> = pause): Promise<Sent> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await callJson<Sent>('/api/payments', {
        method: 'POST',
        body: intention.order,
        headers: { 'Idempotency-Key': intention.key },
        timeout: 20_000,
      })
    } catch (error) {
      const isInFlight = error instanceof Refusal && error.code === 'key_in_flight'
      if (!isInFlight || attempt >= patience) throw error
      await wait((error.retryAfter ?? 0) * 1_000 || 400 + Math.random() * 400)
    }
  }
}

const pause = (milliseconds: number): Promise<void> => new Promise(resolve => setTimeout(resolve, milliseconds))
