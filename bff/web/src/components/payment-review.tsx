import type { Account } from '../accounts.ts'
import { locale } from '../locale.ts'
import { formatMoney } from '../money.ts'
import type { PaymentOrder } from '../payment-order.ts'
import { PaymentSummary } from './payment-summary.tsx'

type Props = {
  order: PaymentOrder
  accounts: readonly Account[]
  isSending: boolean
  onEdit: () => void
  onConfirm: () => void
}

/** The last look before the money moves. */
export function PaymentReview({ order, accounts, isSending, onEdit, onConfirm }: Props) {
  return (
    <div class="card" aria-busy={isSending}>
      <PaymentSummary order={order} accounts={accounts} />
      <div class="actions card-actions">
        <button type="button" class="button" disabled={isSending} onClick={onConfirm}>
          {isSending ? 'Sending…' : `Send ${formatMoney(order.amount, locale)}`}
        </button>
        <button type="button" class="button button-quiet" disabled={isSending} onClick={onEdit}>
          Change
        </button>
        <span class="small muted" role="status">
          {isSending ? 'Please wait. It cannot be sent twice.' : ''}
        </span>
      </div>
    </div>
  )
}
