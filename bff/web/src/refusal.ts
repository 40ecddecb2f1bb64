/** Why a call gave no result: the problem document of the API, or no answer at all (`no_answer`, status 0). */
export class Refusal extends Error {
  readonly code: string
  readonly status: number
  /** Seconds, from Retry-After. */
  readonly retryAfter: number | undefined
  readonly requestId: string | undefined
  /** How a session ended, with `login_required`. */
  readonly reason: string | undefined

  constructor(fields: {
    code: string
    status: number
    title: string
    retryAfter?: number | undefined
    requestId?: string | undefined
    reason?: string | undefined
    cause?: unknown
  }) {
    super(fields.title, fields.cause === undefined ? undefined : { cause: fields.cause })
    this.name = 'Refusal'
    this.code = fields.code
    this.status = fields.status
    this.retryAfter = fields.retryAfter
    this.requestId = fields.requestId
    this.reason = fields.reason
  }

  /** Nobody knows whether the request took effect: there was no answer, or one that is not the service's own verdict. */
  get isUncertain(): boolean {
    return this.status === 0 || this.status >= 500 || this.code === 'key_in_flight' || this.code === 'rate_limited'
  }
}

export const noAnswer = (cause: unknown): Refusal =>
  new Refusal({ code: 'no_answer', status: 0, title: 'There was no answer.', cause })

/** Retry-After in seconds (RFC 9110 §10.2.3: a number, or a date), at most five minutes. */
export function retryAfterSeconds(value: string | null, now: number): number | undefined {
  if (value === null) return undefined
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - now) / 1000
  return Number.isFinite(seconds) ? Math.min(300, Math.max(0, Math.ceil(seconds))) : undefined
}

/** Where a refused payment is put right: at a field of the form, or nowhere on it. */
type RefusedField = 'from' | 'iban' | 'amount' | 'form'

type Explanation = { field: RefusedField; text: string }

const paymentRefusals: Readonly<Record<string, Explanation>> = {
  insufficient_funds: { field: 'amount', text: 'There is not enough money in the account for this payment.' },
  account_frozen: {
    field: 'from',
    text: 'This account is frozen, so nothing can leave it. Choose another account, or call us to find out why.',
  },
  currency_mismatch: { field: 'from', text: 'The two accounts have different currencies. Choose another account.' },
  iban_invalid: { field: 'iban', text: 'This IBAN is not valid: its check digits do not match. Compare it again.' },
  creditor_unknown: {
    field: 'iban',
    text: 'We found no account with this IBAN. Check it with the person you want to pay.',
  },
  same_account: { field: 'iban', text: 'This is the account the money would come from. Choose another one.' },
  amount_invalid: { field: 'amount', text: 'This amount cannot be sent. Check it and try again.' },
  not_found: { field: 'from', text: 'This account is not available any more. Choose another one.' },
  role_missing: { field: 'form', text: 'Your role does not allow you to send payments.' },
  key_reused: {
    field: 'form',
    text: 'This payment does not match the one that was started. Check the details and confirm again.',
  },
  request_invalid: { field: 'form', text: 'The bank did not accept these details. Check each field and try again.' },
}

/** What a refused payment means for the person and which field puts it right. The money did not move. */
export function explainPayment(refusal: { code: string }): Explanation {
  return (
    paymentRefusals[refusal.code] ?? {
      field: 'form',
      text: 'The bank did not accept this payment. No money was moved.',
    }
  )
}

/** What a failed read means for the person. */
export function explainRead(refusal: { code: string; status: number }): { title: string; text: string } {
  if (refusal.status === 0)
    return {
      title: 'We could not reach the bank',
      text: 'Check your connection. Your money and your session are safe.',
    }
  if (refusal.status === 404 || refusal.status === 400)
    return { title: 'There is nothing here', text: 'It does not exist, or it belongs to somebody else.' }
  if (refusal.status === 403) return { title: 'You may not see this', text: 'Your role does not include this page.' }
  if (refusal.status === 429)
    return { title: 'That was a little too fast', text: 'Please wait a moment, then try again.' }
  if (refusal.status === 503 || refusal.status === 502 || refusal.status === 504)
    return {
      title: 'This part of the bank is busy',
      text: 'Nothing was lost and you are still signed in. It usually takes a few seconds.',
    }
  return { title: 'Something went wrong on our side', text: 'Please try again. If it stays, tell us the number below.' }
}

/** Why a payment is held, for people; a reason this page does not know is left to the general text. */
const holdReasons: Readonly<Record<string, string>> = {
  large_amount: 'The amount is above the limit up to which payments go out without a second look.',
}

export const explainHold = (reasons: readonly string[]): string[] => [
  ...new Set(reasons.map(reason => holdReasons[reason] ?? (/\s/.test(reason) ? reason : 'It needs a second look.'))),
]
