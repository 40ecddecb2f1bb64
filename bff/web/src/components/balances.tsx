import type { ComponentChildren } from 'preact'
import type { Account } from '../accounts.ts'
import { Amount, BigAmount } from './amount.tsx'

/** What can be spent, what is booked, and what is set aside; `children` are further facts of the same list. */
export function Balances({ account, children }: { account: Account; children?: ComponentChildren }) {
  return (
    <>
      <p class="account-available">
        <BigAmount money={account.available} />
        <span class="muted">available</span>
      </p>
      <dl class="account-facts">
        <div>
          <dt>Booked</dt>
          <dd>
            <Amount money={account.posted} />
          </dd>
        </div>
        {account.held.amount !== '0' && (
          <div>
            <dt>On hold</dt>
            <dd>
              <Amount money={account.held} />
            </dd>
          </div>
        )}
        {children}
      </dl>
    </>
  )
}
