import { type CloudEvent, formatMoney } from '@banking/contracts'
import type { Draft } from './notification.ts'

type PaymentEvent =
  | CloudEvent<'payment.posted'>
  | CloudEvent<'payment.held'>
  | CloudEvent<'payment.declined'>
  | CloudEvent<'payment.cancelled'>
  | CloudEvent<'payment.reversed'>
  | CloudEvent<'payment.expired'>
type Side = 'debtor' | 'creditor'
type Words = { title: string; text: (facts: { amount: string; account: string; reference: string }) => string }

/**
 * Every text about a payment, by event and side. A side without words is not told. `account` is the reader's own
 * account, shortened; the other side's account, name and balance are in no text.
 */
const words: Record<PaymentEvent['type'], Partial<Record<Side | 'both', Words>>> = {
  'payment.posted': {
    debtor: {
      title: 'Money sent',
      text: it => `${it.amount} left your account ${it.account}${it.reference}.`,
    },
    creditor: {
      title: 'Money received',
      text: it => `${it.amount} arrived in your account ${it.account}${it.reference}.`,
    },
    both: {
      title: 'Transfer between your accounts',
      text: it => `${it.amount} moved out of your account ${it.account} into another of yours${it.reference}.`,
    },
  },
  'payment.held': {
    debtor: {
      title: 'Payment on hold',
      text: it =>
        `We are checking your payment of ${it.amount} from account ${it.account}${it.reference}. The amount is reserved.`,
    },
  },
  'payment.declined': {
    debtor: {
      title: 'Payment declined',
      text: it =>
        `Your payment of ${it.amount} from account ${it.account}${it.reference} was not made. No money left the account.`,
    },
  },
  'payment.cancelled': {
    debtor: {
      title: 'Payment cancelled',
      text: it =>
        `Your payment of ${it.amount} from account ${it.account}${it.reference} was cancelled. The amount is available again.`,
    },
  },
  'payment.expired': {
    debtor: {
      title: 'Payment expired',
      text: it =>
        `Your payment of ${it.amount} from account ${it.account}${it.reference} was not released in time. The amount is available again.`,
    },
  },
  'payment.reversed': {
    debtor: {
      title: 'Payment returned to you',
      text: it => `${it.amount} came back to your account ${it.account}${it.reference}.`,
    },
    creditor: {
      title: 'Payment taken back',
      text: it => `${it.amount} was taken back from your account ${it.account}${it.reference}.`,
    },
    both: {
      title: 'Transfer taken back',
      text: it => `${it.amount} came back to your account ${it.account}${it.reference}.`,
    },
  },
}

/** Who is told what about a payment event. The bank's own accounts have no owner and are told nothing. */
export function draftsOf(event: PaymentEvent): Draft[] {
  const { debtor, creditor } = event.data
  const own = debtor.ownerId !== null && debtor.ownerId === creditor.ownerId
  const readers: { side: Side | 'both'; party: typeof debtor }[] = own
    ? [{ side: words[event.type].both === undefined ? 'debtor' : 'both', party: debtor }]
    : [
        { side: 'debtor', party: debtor },
        { side: 'creditor', party: creditor },
      ]
  return readers.flatMap(({ side, party }) => {
    const template = words[event.type][side]
    if (template === undefined || party.ownerId === null) return []
    return [
      {
        userId: party.ownerId,
        category: 'payment' as const,
        title: template.title,
        text: template.text({
          amount: formatMoney(event.data.amount),
          account: `••${party.ibanLast4}`,
          reference: quoted(event.data.reference),
        }),
        data: { paymentId: event.data.paymentId, accountId: party.accountId, amount: event.data.amount },
      },
    ]
  })
}

/**
 * A reference is the payer's text in the payee's inbox: nothing invisible that reorders or breaks the line, and no
 * whole account or card number.
 */
function quoted(reference: string): string {
  const safe = reference
    .replace(/[\p{C}\u2028\u2029]/gu, '')
    .replace(
      /\b(?:[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?|\d(?:[ -]?\d){11,18})\b/g,
      it => `••${it.replaceAll(' ', '').slice(-4)}`,
    )
    .trim()
  return safe === '' ? '' : ` (“${safe}”)`
}

/** The first message in a new inbox. */
export const welcome = (userId: string): Draft => ({
  userId,
  category: 'welcome',
  title: 'Welcome',
  text: 'Here you will read about every payment to and from your accounts, the moment it happens.',
  data: {},
})
