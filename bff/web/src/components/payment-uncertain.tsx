import type { Account } from '../accounts.ts'
import type { PaymentOrder } from '../payment-order.ts'
import type { Refusal } from '../refusal.ts'
import { Notice } from './notice.tsx'
import { PaymentSummary } from './payment-summary.tsx'

type Props = {
  order: PaymentOrder
  accounts: readonly Account[]
  /** What the last try met; undefined when the page was loaded anew or the session had ended meanwhile. */
  refusal: Refusal | undefined
  onRetry: () => void
  onStartOver: () => void
}

function whatHappened(refusal: Refusal | undefined): { title: string; text: string } {
  if (refusal === undefined)
    return {
      title: 'You confirmed this payment, but we have no answer yet',
      text: 'The page was closed or the session ended before the bank could answer.',
    }
  if (refusal.code === 'key_in_flight')
    return { title: 'The bank is still working on it', text: 'This takes longer than usual.' }
  if (refusal.status === 0)
    return {
      title: 'The connection was lost before the bank answered',
      text: 'The payment may or may not have arrived there.',
    }
  if (refusal.status === 429) return { title: 'That was a little too fast', text: 'Please wait a moment.' }
  return { title: 'The bank is busy right now', text: 'Nothing was lost: your payment is written down here.' }
}

/** No verdict about a confirmed payment: trying again is safe, since every try carries the same key. */
export function PaymentUncertain({ order, accounts, refusal, onRetry, onStartOver }: Props) {
  const { title, text } = whatHappened(refusal)
  return (
    <>
      <Notice tone="warning" title={title} live>
        <p>
          {text} <strong>You can safely try again: it will not be sent twice.</strong>
        </p>
        {refusal?.retryAfter !== undefined && refusal.retryAfter > 0 && (
          <p class="small">The bank asks to wait about {refusal.retryAfter} s.</p>
        )}
      </Notice>
      <div class="card">
        <PaymentSummary order={order} accounts={accounts} />
        <div class="actions card-actions">
          <button type="button" class="button" onClick={onRetry}>
            Try again
          </button>
          <a class="button button-quiet" href={`/accounts/${order.debtorAccountId}`}>
            Look at the account
          </a>
          <button type="button" class="button button-quiet" onClick={onStartOver}>
            Give this payment up
          </button>
        </div>
        <p class="small muted card-note">
          Before you give it up and send it anew, look at the account: the first try may have arrived.
        </p>
      </div>
    </>
  )
}
