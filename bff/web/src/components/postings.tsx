import { groupByDay } from '../day.ts'
import type { Posting } from '../feed.ts'
import { formatDay, formatTime } from '../locale.ts'
import { useNow } from '../now.ts'
import { Amount } from './amount.tsx'
import { Icon } from './icon.tsx'

const initials = (name: string): string =>
  name
    .split(/\s+/)
    .map(word => Array.from(word)[0] ?? '')
    .filter(letter => /\p{L}|\p{N}/u.test(letter))
    .slice(0, 2)
    .join('')
    .toUpperCase()

/** Who the money went to or came from; bookings of the bank itself have no other side. */
export const counterpartyName = (posting: Posting): string =>
  posting.counterparty?.name || (posting.kind === 'opening' ? 'Opening balance' : 'Banking Local')

function PostingRow({ posting, hasBalance }: { posting: Posting; hasBalance: boolean }) {
  const name = counterpartyName(posting)
  const isOut = posting.amount.amount.startsWith('-')
  const target = isOut && posting.paymentId != null ? `/payments/${posting.paymentId}` : undefined
  return (
    <li class="posting">
      <span class="avatar" aria-hidden="true">
        {initials(name) || <Icon name={isOut ? 'out' : 'in'} />}
      </span>
      <div class="posting-who">
        <p class="posting-name">
          {target === undefined ? (
            name
          ) : (
            <a class="card-link" href={target}>
              {name}
            </a>
          )}
        </p>
        <p class="small muted posting-note">
          <time dateTime={posting.at}>{formatTime(posting.at)}</time>
          {posting.reference ? <span> · {posting.reference}</span> : null}
        </p>
      </div>
      <div class="posting-sum">
        <p>
          <Amount money={posting.amount} signed />
        </p>
        {hasBalance && (
          <p class="small muted">
            <span class="visually-hidden">Balance after: </span>
            <Amount money={posting.balanceAfter} />
          </p>
        )}
      </div>
    </li>
  )
}

/** Postings under the day they happened on, where the reader is. `level` is that of the day's heading. */
export function Postings(props: { items: readonly Posting[]; level: 2 | 3; hasBalance?: boolean }) {
  const { items, level, hasBalance = true } = props
  const now = useNow(60_000)
  const Heading = level === 2 ? 'h2' : 'h3'
  return (
    <>
      {groupByDay(items, new Date(now)).map(day => (
        <section key={day.key} class="day">
          <Heading class="day-name">
            {day.name === 'today' ? 'Today' : day.name === 'yesterday' ? 'Yesterday' : formatDay(day.at)}
          </Heading>
          <ul class="card rows">
            {day.items.map(posting => (
              <PostingRow key={posting.seq} posting={posting} hasBalance={hasBalance} />
            ))}
          </ul>
        </section>
      ))}
    </>
  )
}
