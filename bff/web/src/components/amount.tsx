import { locale } from '../locale.ts'
import { formatMoney, type Money, splitMoney } from '../money.ts'

/** Money in running text and tables; `signed` marks what came in and what left. */
export function Amount({ money, signed = false }: { money: Money; signed?: boolean }) {
  const isIncoming = signed && !money.amount.startsWith('-') && money.amount !== '0'
  return <span class={isIncoming ? 'amount amount-in' : 'amount'}>{formatMoney(money, locale, { signed })}</span>
}

/** Money as the largest thing of its card: the fraction is smaller, the reading stays one number. */
export function BigAmount({ money }: { money: Money }) {
  const [before, fraction, after] = splitMoney(money, locale)
  return (
    <span class="amount big-amount">
      <span aria-hidden="true">
        {before}
        <span class="fraction">{fraction}</span>
        {after}
      </span>
      <span class="visually-hidden">{formatMoney(money, locale)}</span>
    </span>
  )
}
