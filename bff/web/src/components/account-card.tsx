import type { Account } from '../accounts.ts'
import { groupIban } from '../iban.ts'
import { Balances } from './balances.tsx'
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
      <Balances account={account} />
    </li>
  )
}
