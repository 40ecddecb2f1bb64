import type { Account } from '../accounts.ts'
import { groupIban } from '../iban.ts'
import { Amount, BigAmount } from './amount.tsx'
import { Icon } from './icon.tsx'

/** One account of the overview; the whole card leads to its feed, the link's text is the account's name. */
export function AccountCard({ account }: { account: Account }) {
  return (
    <li class="card account-card">
      <div class="account-head">
        <span class="account-icon">
          <Icon name={account.kind === 'savings' ? 'savings' : 'wallet'} />
        </span>
        <div>
          <h3>
            <a class="card-link" href={`/accounts/${account.id}`}>
              {account.name}
            </a>
          </h3>
          <p class="iban muted">{groupIban(account.iban)}</p>
        </div>
        {account.status === 'frozen' && <span class="tag tag-warning">Frozen</span>}
      </div>
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
      </dl>
    </li>
  )
}
