import { checkIban } from './iban.ts'
import { formatMoney, type Money, parseAmount } from './money.ts'

/** The form as the person left it: every value is the text of its field. */
export type Draft = {
  kind: 'other' | 'own'
  from: string
  to: string
  name: string
  iban: string
  amount: string
  reference: string
}

export type DraftField = Exclude<keyof Draft, 'kind'>

type Creditor = { iban: string; name: string } | { accountId: string; name: string }

/** The body of `POST /api/payments`. */
export type PaymentOrder = { debtorAccountId: string; creditor: Creditor; amount: Money; reference?: string }

/** What the check needs to know of an account. */
export type PayableAccount = {
  id: string
  name: string
  iban: string
  currency: Money['currency']
  available: Money
  status: string
}

export type DraftCheck = { ok: true; order: PaymentOrder } | { ok: false; errors: Partial<Record<DraftField, string>> }

export const emptyDraft: Draft = { kind: 'other', from: '', to: '', name: '', iban: '', amount: '', reference: '' }

export const referenceLimit = 140
export const nameLimit = 70

/** What is wrong with a typed IBAN, in words; undefined while there is nothing to say. */
export function ibanError(text: string): string | undefined {
  const check = checkIban(text)
  switch (check.state) {
    case 'valid':
      return undefined
    case 'empty':
      return 'Enter the IBAN of the account you want to pay.'
    case 'incomplete':
      if (check.missing === undefined) return 'This IBAN is not complete.'
      return `This IBAN is not complete: ${check.missing} more ${check.missing === 1 ? 'character' : 'characters'}.`
    case 'invalid':
      return {
        characters: 'An IBAN starts with two letters and two digits, followed by letters and digits only.',
        too_long: 'This IBAN is too long for its country.',
        check_digits: 'This IBAN has a typing error: its check digits do not match.',
      }[check.why]
  }
}

function amountError(why: 'empty' | 'malformed' | 'negative' | 'zero' | 'too_precise' | 'too_large'): string {
  return {
    empty: 'Enter the amount you want to send.',
    malformed: 'This is not an amount we can read.',
    negative: 'The amount cannot be negative.',
    zero: 'The amount must be more than zero.',
    too_precise: 'This amount has too many decimal places.',
    too_large: 'This amount is too large.',
  }[why]
}

/** One line of text: what a statement cannot print, or what would turn its direction of writing, is left out. */
const printable = (text: string): string =>
  text
    .replace(/[\p{Cs}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '')
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim()

/** Every field of the form judged at once, so that a person corrects them in one go. */
export function checkDraft(draft: Draft, accounts: readonly PayableAccount[], locale: string): DraftCheck {
  const errors: Partial<Record<DraftField, string>> = {}
  const from = accounts.find(account => account.id === draft.from)
  if (from === undefined) errors.from = 'Choose the account to pay from.'
  else if (from.status !== 'active') errors.from = 'This account is frozen, so nothing can leave it.'

  let creditor: Creditor | undefined
  if (draft.kind === 'own') {
    const to = accounts.find(account => account.id === draft.to)
    if (to === undefined) errors.to = 'Choose the account to pay into.'
    else if (to.id === from?.id) errors.to = 'Choose a different account from the one the money comes from.'
    else if (from !== undefined && to.currency !== from.currency)
      errors.to = 'The two accounts have different currencies.'
    else creditor = { accountId: to.id, name: to.name }
  } else {
    const name = printable(draft.name)
    if (name === '') errors.name = 'Enter the name of the person or company you want to pay.'
    const problem = ibanError(draft.iban)
    const check = checkIban(draft.iban)
    if (problem !== undefined) errors.iban = problem
    else if (check.state === 'valid') {
      if (check.iban === from?.iban) errors.iban = 'This is the account the money would come from.'
      else creditor = { iban: check.iban, name }
    }
  }

  const amount = parseAmount(draft.amount, from?.currency ?? 'EUR', locale)
  if (!amount.ok) errors.amount = amountError(amount.why)
  else if (from !== undefined && amount.minor > BigInt(from.available.amount))
    errors.amount = `You have ${formatMoney(from.available, locale)} available in this account.`

  const reference = printable(draft.reference)
  if (reference.length > referenceLimit) errors.reference = `A reference has at most ${referenceLimit} characters.`

  if (Object.keys(errors).length > 0 || from === undefined || creditor === undefined || !amount.ok)
    return { ok: false, errors }
  return {
    ok: true,
    order: {
      debtorAccountId: from.id,
      creditor,
      amount: { amount: amount.minor.toString(), currency: from.currency },
      ...(reference === '' ? {} : { reference }),
    },
  }
}

/** Equal orders share one idempotency key, so the comparison must not depend on how the object was built. */
export const sameOrder = (one: PaymentOrder, other: PaymentOrder): boolean => fingerprint(one) === fingerprint(other)

function fingerprint(order: PaymentOrder): string {
  const { debtorAccountId, creditor, amount, reference } = order
  const target = 'iban' in creditor ? creditor.iban : creditor.accountId
  return JSON.stringify([debtorAccountId, target, creditor.name, amount.amount, amount.currency, reference ?? ''])
}
