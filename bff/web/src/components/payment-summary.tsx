import type { Account } from '../accounts.ts'
import { groupIban } from '../iban.ts'
import type { PaymentOrder } from '../payment-order.ts'
import { Amount } from './amount.tsx'

/** What will be sent, in full: nobody should have to remember what they typed. */
export function PaymentSummary({ order, accounts }: { order: PaymentOrder; accounts: readonly Account[] }) {
  const from = accounts.find(account => account.id === order.debtorAccountId)
  const { creditor } = order
  const iban = 'iban' in creditor ? creditor.iban : accounts.find(account => account.id === creditor.accountId)?.iban
  return (
    <dl class="facts">
      <div class="facts-total">
        <dt>Amount</dt>
        <dd>
          <Amount money={order.amount} />
        </dd>
      </div>
      <div>
        <dt>To</dt>
        <dd>
          {creditor.name}
          {iban !== undefined && <span class="iban muted">{groupIban(iban)}</span>}
        </dd>
      </div>
      <div>
        <dt>From</dt>
        <dd>
          {from?.name ?? 'Your account'}
          {from !== undefined && <span class="iban muted">{groupIban(from.iban)}</span>}
        </dd>
      </div>
      <div>
        <dt>Reference</dt>
        <dd>{order.reference ?? <span class="muted">None</span>}</dd>
      </div>
      <div>
        <dt>When</dt>
        <dd>At once</dd>
      </div>
    </dl>
  )
}
