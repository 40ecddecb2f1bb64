import { callJson } from './api.ts'
import type { Money } from './money.ts'
import { createResources } from './resource.ts'

/** One line of an account: `amount` is negative for money that left. */
export type Posting = {
  seq: number | string
  paymentId?: string | null
  transferId: string
  at: string
  amount: Money
  balanceAfter: Money
  counterparty?: { name: string; ibanMasked?: string } | null
  reference?: string | null
  kind: string
}

export type Feed = { items: readonly Posting[]; next?: string | undefined }

type Page = { items: Posting[]; next?: string | number | null }

const pageSize = 30

const pageOf = (id: string, after: string | undefined, options: { background: boolean; signal?: AbortSignal }) =>
  callJson<Page>(
    `/api/payments/accounts/${id}/postings?limit=${pageSize}${after === undefined ? '' : `&after=${encodeURIComponent(after)}`}`,
    options,
  )

const cursor = (page: Page): string | undefined =>
  page.next === undefined || page.next === null ? undefined : String(page.next)

/** Postings by account, newest first. A refresh puts what is new before what was loaded, if the two meet. */
export const feeds = createResources<Feed>(async (id, options, known) => {
  const page = await pageOf(id, undefined, options)
  const oldest = page.items.at(-1)
  const meets = known?.items.findIndex(item => String(item.seq) === String(oldest?.seq)) ?? -1
  if (known === undefined || meets < 0) return { items: page.items, next: cursor(page) }
  return { items: [...page.items, ...known.items.slice(meets + 1)], next: known.next }
})

/**
 * The next older postings of an account, by keyset.
 * @throws Refusal
 */
export async function loadOlder(id: string, options: { background: boolean }): Promise<void> {
  const feed = feeds.of(id)
  const { data } = feed.state.peek()
  if (data?.next === undefined) return
  const page = await pageOf(id, data.next, options)
  const known = new Set(data.items.map(item => String(item.seq)))
  feed.change({
    items: [...data.items, ...page.items.filter(item => !known.has(String(item.seq)))],
    next: cursor(page),
  })
}
