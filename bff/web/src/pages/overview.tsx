import { useEffect } from 'preact/hooks'
import { type Account, accounts, isCustomer } from '../accounts.ts'
import { AccountCard } from '../components/account-card.tsx'
import { Amount, BigAmount } from '../components/amount.tsx'
import { Empty } from '../components/empty.tsx'
import { Failure } from '../components/failure.tsx'
import { Icon } from '../components/icon.tsx'
import { Page } from '../components/page.tsx'
import { Postings } from '../components/postings.tsx'
import { Skeleton } from '../components/skeleton.tsx'
import { feeds } from '../feed.ts'
import { formatDay } from '../locale.ts'
import { totals } from '../money.ts'
import { unread } from '../notifications.ts'
import { roleText } from '../roles.ts'
import type { Person } from '../session.ts'

const shownPostings = 6

function greeting(hour: number): string {
  if (hour < 5) return 'Good night'
  if (hour < 12) return 'Good morning'
  if (hour < 18) return 'Good afternoon'
  return 'Good evening'
}

function Unread() {
  const count = unread.value ?? 0
  if (count === 0) return null
  return (
    <a class="pill" href="/notifications">
      <Icon name="bell" />
      <span>
        {count} unread {count === 1 ? 'message' : 'messages'}
      </span>
    </a>
  )
}

function Total({ items }: { items: readonly Account[] }) {
  const held = totals(items.map(account => account.held)).filter(money => money.amount !== '0')
  return (
    <section class="hero" aria-labelledby="total-title">
      <div>
        <h2 id="total-title">Available in all accounts</h2>
        {totals(items.map(account => account.available)).map(money => (
          <p key={money.currency} class="hero-sum">
            <BigAmount money={money} />
          </p>
        ))}
        {held.map(money => (
          <p key={money.currency} class="hero-note">
            <Icon name="clock" />
            <span>
              <Amount money={money} /> on hold
            </span>
          </p>
        ))}
      </div>
      <div class="hero-actions">
        <a class="button button-light" href="/pay">
          <Icon name="send" />
          <span>Send money</span>
        </a>
        {items.length > 1 && (
          <a class="button button-ghost" href="/pay?between=own">
            <Icon name="swap" />
            <span>Between my accounts</span>
          </a>
        )}
      </div>
    </section>
  )
}

function Latest({ account }: { account: Account }) {
  const feed = feeds.of(account.id)
  useEffect(() => {
    void feed.refresh()
  }, [feed])
  const { data, refusal } = feed.state.value
  return (
    <section class="block" aria-labelledby="latest-title">
      <div class="block-head">
        <h2 id="latest-title">Latest on {account.name}</h2>
        <a href={`/accounts/${account.id}`}>
          See all<span class="visually-hidden"> activity of {account.name}</span>
        </a>
      </div>
      {refusal !== undefined && <Failure refusal={refusal} onRetry={feed.refresh} />}
      {data === undefined && refusal === undefined && <Skeleton shape="row" count={4} />}
      {data?.items.length === 0 && (
        <Empty icon="clock" title="Nothing has happened here yet">
          <p>Your first payment will show up at this place.</p>
        </Empty>
      )}
      {data !== undefined && <Postings items={data.items.slice(0, shownPostings)} level={3} />}
    </section>
  )
}

function Staff({ person }: { person: Person }) {
  return (
    <section class="block">
      <Empty icon="person" title="You have no accounts here">
        <p>You are signed in as a member of staff. This page shows people’s own accounts only.</p>
        <ul class="tags" aria-label="Your roles">
          {person.roles.map(role => (
            <li key={role} class="tag">
              {roleText(role)}
            </li>
          ))}
        </ul>
      </Empty>
    </section>
  )
}

export function OverviewPage({ person }: { person: Person }) {
  useEffect(() => {
    void accounts.refresh()
  }, [])
  const { data, refusal } = accounts.state.value
  const now = new Date()
  const main = data?.find(account => account.kind === 'current') ?? data?.[0]
  const hasRole = isCustomer(person.roles)
  return (
    <Page
      title={`${greeting(now.getHours())}, ${person.givenName || person.name}`}
      tabTitle="Overview"
      lead={formatDay(now.getTime())}
      actions={<Unread />}
    >
      {refusal !== undefined && <Failure refusal={refusal} onRetry={accounts.refresh} />}
      {data === undefined && refusal === undefined && (
        <>
          {hasRole && <Skeleton shape="hero" />}
          <Skeleton shape="card" count={hasRole ? 2 : 1} />
        </>
      )}
      {data !== undefined && data.length > 0 && (
        <>
          <Total items={data} />
          <section class="block" aria-labelledby="accounts-title">
            <h2 id="accounts-title">Your accounts</h2>
            <ul class="cards">
              {data.map(account => (
                <AccountCard key={account.id} account={account} />
              ))}
            </ul>
          </section>
        </>
      )}
      {data?.length === 0 && !hasRole && <Staff person={person} />}
      {data?.length === 0 && hasRole && (
        <Empty icon="wallet" title="You have no accounts yet">
          <p>As soon as the bank has opened one for you, it appears here.</p>
        </Empty>
      )}
      {main !== undefined && <Latest key={main.id} account={main} />}
    </Page>
  )
}
