import { useEffect, useState } from 'preact/hooks'
import { type Account, accounts } from '../accounts.ts'
import { Balances } from '../components/balances.tsx'
import { CopyButton } from '../components/copy-button.tsx'
import { Empty } from '../components/empty.tsx'
import { Failure } from '../components/failure.tsx'
import { Icon } from '../components/icon.tsx'
import { Notice } from '../components/notice.tsx'
import { Page } from '../components/page.tsx'
import { counterpartyName, Postings } from '../components/postings.tsx'
import { Segments } from '../components/segments.tsx'
import { Skeleton } from '../components/skeleton.tsx'
import { feeds, loadOlder, type Posting } from '../feed.ts'
import { groupIban } from '../iban.ts'
import { locale } from '../locale.ts'
import { formatMoney } from '../money.ts'
import { noAnswer, Refusal } from '../refusal.ts'

type Direction = 'all' | 'in' | 'out'

const directions = [
  { value: 'all', text: 'All' },
  { value: 'in', text: 'Money in' },
  { value: 'out', text: 'Money out' },
] as const

function isShown(posting: Posting, direction: Direction, words: readonly string[]): boolean {
  const isOut = posting.amount.amount.startsWith('-')
  if (direction === 'in' && isOut) return false
  if (direction === 'out' && !isOut) return false
  const text = [
    counterpartyName(posting),
    posting.reference ?? '',
    posting.counterparty?.ibanMasked ?? '',
    formatMoney(posting.amount, locale),
  ]
    .join(' ')
    .toLowerCase()
  return words.every(word => text.includes(word))
}

function Summary({ account }: { account: Account }) {
  return (
    <section class="card account-summary" aria-label="Balances">
      <div>
        <Balances account={account}>
          <div>
            <dt>IBAN</dt>
            <dd class="with-copy">
              <span class="iban">{groupIban(account.iban)}</span>
              <CopyButton text={account.iban} what="IBAN" />
            </dd>
          </div>
        </Balances>
      </div>
      {account.status === 'active' && (
        <a class="button" href={`/pay?from=${account.id}`}>
          <Icon name="send" />
          <span>Send money</span>
        </a>
      )}
    </section>
  )
}

function Older({ id, count, isFiltered }: { id: string; count: number; isFiltered: boolean }) {
  const [isBusy, setBusy] = useState(false)
  const [refusal, setRefusal] = useState<Refusal>()
  async function load(options: { background: boolean }) {
    setBusy(true)
    setRefusal(undefined)
    try {
      await loadOlder(id, options)
    } catch (error) {
      setRefusal(error instanceof Refusal ? error : noAnswer(error))
    }
    setBusy(false)
  }
  if (refusal !== undefined) return <Failure refusal={refusal} onRetry={load} />
  return (
    <div class="older">
      {isFiltered && <p class="small muted">Searched the latest {count} entries.</p>}
      <button
        type="button"
        class="button button-quiet"
        disabled={isBusy}
        onClick={() => void load({ background: false })}
      >
        {isBusy ? 'Loading…' : 'Load older entries'}
      </button>
    </div>
  )
}

function FeedOf({ id }: { id: string }) {
  const [direction, setDirection] = useState<Direction>('all')
  const [search, setSearch] = useState('')
  const feed = feeds.of(id)
  useEffect(() => {
    void feed.refresh()
  }, [feed])
  const { data, refusal } = feed.state.value
  const words = search.toLowerCase().split(/\s+/).filter(Boolean)
  const isFiltered = direction !== 'all' || words.length > 0
  const shown = data?.items.filter(posting => isShown(posting, direction, words))
  return (
    <>
      <search class="filters">
        <Segments
          legend="Which entries"
          name="direction"
          value={direction}
          options={directions}
          onChange={setDirection}
        />
        <div class="search">
          <label class="visually-hidden" for="search">
            Search in the loaded entries
          </label>
          <Icon name="search" />
          <input
            id="search"
            type="search"
            placeholder="Name, reference or amount"
            autocomplete="off"
            value={search}
            onInput={event => setSearch(event.currentTarget.value)}
          />
        </div>
      </search>
      <p class="visually-hidden" role="status">
        {isFiltered && shown !== undefined && `${shown.length} ${shown.length === 1 ? 'entry' : 'entries'} found`}
      </p>
      {refusal !== undefined && <Failure refusal={refusal} onRetry={feed.refresh} />}
      {data === undefined && refusal === undefined && <Skeleton shape="row" count={6} />}
      {data?.items.length === 0 && (
        <Empty icon="clock" title="Nothing has happened here yet">
          <p>Payments from and to this account will show up at this place, newest first.</p>
        </Empty>
      )}
      {data !== undefined && data.items.length > 0 && shown?.length === 0 && (
        <Empty icon="search" title="Nothing matches">
          <p>None of the latest {data.items.length} entries fits what you are looking for.</p>
        </Empty>
      )}
      {shown !== undefined && <Postings items={shown} level={2} />}
      {data?.next !== undefined && <Older id={id} count={data.items.length} isFiltered={isFiltered} />}
    </>
  )
}

export function AccountPage({ id }: { id: string }) {
  useEffect(() => {
    void accounts.refresh()
  }, [])
  const { data, refusal } = accounts.state.value
  const account = data?.find(item => item.id === id)
  const kind = account && (account.kind === 'savings' ? 'Savings account' : 'Current account')
  if (data !== undefined && account === undefined) {
    return (
      <Page title="This account is not yours to see" tabTitle="Account not found" narrow>
        <p class="lead">It does not exist, or it belongs to somebody else.</p>
        <p class="actions">
          <a class="button" href="/">
            Go to your accounts
          </a>
        </p>
      </Page>
    )
  }
  return (
    <Page title={account?.name ?? 'Account'} lead={kind === account?.name ? undefined : kind}>
      {account?.status === 'frozen' && (
        <Notice tone="warning" title="This account is frozen">
          <p>Money can arrive, but nothing can leave it. Please call us to find out why.</p>
        </Notice>
      )}
      {refusal !== undefined && <Failure refusal={refusal} onRetry={accounts.refresh} />}
      {account === undefined ? refusal === undefined && <Skeleton shape="card" /> : <Summary account={account} />}
      {(account !== undefined || refusal === undefined) && <FeedOf id={id} />}
    </Page>
  )
}
