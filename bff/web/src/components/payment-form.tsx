import { useEffect, useRef, useState } from 'preact/hooks'
import type { Account } from '../accounts.ts'
import { changeDraft, draft } from '../draft.ts'
import { checkIban, groupIban, typeIban } from '../iban.ts'
import { formatRegion, locale } from '../locale.ts'
import { currencySymbol, formatAmount, formatMoney, parseAmount } from '../money.ts'
import {
  checkDraft,
  type Draft,
  type DraftField,
  ibanError,
  nameLimit,
  type PaymentOrder,
  referenceLimit,
} from '../payment-order.ts'
import { Field } from './field.tsx'
import { Icon } from './icon.tsx'
import { Notice } from './notice.tsx'
import { Segments } from './segments.tsx'

type Errors = Partial<Record<DraftField, string>>

type Props = {
  sub: string
  accounts: readonly Account[]
  /** Why the bank refused the payment that was sent from this form. */
  refused: { field: DraftField | 'form'; text: string } | undefined
  onComplete: (order: PaymentOrder) => void
}

const kinds = [
  { value: 'other', text: 'To somebody else' },
  { value: 'own', text: 'Between my accounts' },
] as const

const fieldNames: Record<DraftField, string> = {
  from: 'From',
  to: 'To',
  name: 'Name',
  iban: 'IBAN',
  amount: 'Amount',
  reference: 'Reference',
}

const optionText = (account: Account): string =>
  `${account.name} · ${formatMoney(account.available, locale)} available${account.status === 'frozen' ? ' · frozen' : ''}`

/** The account to begin with: the one the link named, else the first from which money can leave. */
function withDefaults(current: Draft, accounts: readonly Account[]): Draft {
  const isKnown = accounts.some(account => account.id === current.from)
  const first = accounts.find(account => account.status === 'active') ?? accounts[0]
  const from = isKnown ? current.from : (first?.id ?? '')
  const others = accounts.filter(account => account.id !== from)
  const isToKnown = others.some(account => account.id === current.to)
  return { ...current, from, to: isToKnown ? current.to : others.length === 1 ? (others[0]?.id ?? '') : '' }
}

function IbanHint({ text }: { text: string }) {
  const check = checkIban(text)
  if (check.state === 'valid')
    return (
      <span class="hint-good">
        <Icon name="check" /> The check digits are right ({formatRegion(check.country)}).
      </span>
    )
  if (check.state === 'incomplete' && check.missing !== undefined && check.country !== undefined)
    return (
      <>
        {formatRegion(check.country)}: {check.missing} more {check.missing === 1 ? 'character' : 'characters'}.
      </>
    )
  return <>Spaces do not matter.</>
}

export function PaymentForm({ sub, accounts, refused, onComplete }: Props) {
  const values = withDefaults(draft.value, accounts)
  const [errors, setErrors] = useState<Errors>({})
  const summary = useRef<HTMLDivElement>(null)
  const from = accounts.find(account => account.id === values.from)
  const currency = from?.currency ?? 'EUR'

  useEffect(() => {
    if (refused !== undefined && refused.field !== 'form') setErrors({ [refused.field]: refused.text })
    if (refused !== undefined) summary.current?.focus()
  }, [refused])

  function change(update: Partial<Draft>): void {
    // Not from this render's values: two events may come before the next one.
    const next = withDefaults({ ...draft.peek(), ...update }, accounts)
    changeDraft(sub, next)
    // What was complained about is judged again while it is corrected; the rest only when the form is sent.
    const changed = Object.keys(update) as (keyof Draft)[]
    if (changed.includes('kind')) setErrors({})
    else if (Object.keys(errors).length > 0) {
      const check = checkDraft(next, accounts, locale)
      const still: Errors = {}
      for (const field of Object.keys(errors) as DraftField[]) {
        const error = check.ok ? undefined : check.errors[field]
        const kept = changed.includes(field) || (field === 'amount' && changed.includes('from')) ? error : errors[field]
        if (kept !== undefined) still[field] = kept
      }
      setErrors(still)
    }
  }

  function submit(event: Event): void {
    event.preventDefault()
    const check = checkDraft(values, accounts, locale)
    if (check.ok) {
      changeDraft(sub, values)
      onComplete(check.order)
      return
    }
    setErrors(check.errors)
    // After the summary is on the page.
    requestAnimationFrame(() => summary.current?.focus())
  }

  const failed = (Object.keys(fieldNames) as DraftField[]).filter(field => errors[field] !== undefined)
  const general = refused?.field === 'form' ? refused.text : undefined
  return (
    <form class="card form" noValidate onSubmit={submit}>
      {(failed.length > 0 || general !== undefined) && (
        <div ref={summary} tabIndex={-1} class="form-summary">
          <Notice
            tone="bad"
            live
            title={general ?? (failed.length === 1 ? 'One field needs a look' : `${failed.length} fields need a look`)}
          >
            {failed.length > 0 && (
              <ul>
                {failed.map(field => (
                  <li key={field}>
                    <a
                      href={`#pay-${field}`}
                      onClick={event => {
                        event.preventDefault()
                        document.getElementById(`pay-${field}`)?.focus()
                      }}
                    >
                      {fieldNames[field]}: {errors[field]}
                    </a>
                  </li>
                ))}
              </ul>
            )}
          </Notice>
        </div>
      )}

      {accounts.length > 1 && (
        <Segments
          legend="Where to"
          name="kind"
          value={values.kind}
          options={kinds}
          onChange={kind => change({ kind })}
        />
      )}

      <Field id="pay-from" label="From" error={errors.from}>
        {control => (
          <select {...control} value={values.from} onChange={event => change({ from: event.currentTarget.value })}>
            {accounts.map(account => (
              <option key={account.id} value={account.id}>
                {optionText(account)}
              </option>
            ))}
          </select>
        )}
      </Field>

      {values.kind === 'own' ? (
        <Field id="pay-to" label="To" error={errors.to}>
          {control => (
            <select {...control} value={values.to} onChange={event => change({ to: event.currentTarget.value })}>
              {values.to === '' && <option value="">Choose an account</option>}
              {accounts
                .filter(account => account.id !== values.from)
                .map(account => (
                  <option key={account.id} value={account.id}>
                    {optionText(account)}
                  </option>
                ))}
            </select>
          )}
        </Field>
      ) : (
        <>
          <Field id="pay-name" label="Name of the recipient" error={errors.name}>
            {control => (
              <input
                {...control}
                type="text"
                autocomplete="off"
                maxLength={nameLimit}
                value={values.name}
                onInput={event => change({ name: event.currentTarget.value })}
              />
            )}
          </Field>
          <Field
            id="pay-iban"
            label="IBAN of the recipient"
            error={errors.iban}
            hint={errors.iban === undefined ? <IbanHint text={values.iban} /> : undefined}
          >
            {control => (
              <input
                {...control}
                class="iban"
                type="text"
                autocomplete="off"
                autocapitalize="characters"
                spellcheck={false}
                maxLength={60}
                value={groupIban(values.iban)}
                onInput={event => {
                  const input = event.currentTarget
                  const typed = typeIban(input.value, input.selectionStart ?? input.value.length)
                  input.value = typed.text
                  input.setSelectionRange(typed.caret, typed.caret)
                  change({ iban: typed.text })
                }}
                onBlur={() => {
                  const error = values.iban === '' ? undefined : ibanError(values.iban)
                  if (error !== undefined) setErrors({ ...errors, iban: error })
                }}
              />
            )}
          </Field>
        </>
      )}

      <Field
        id="pay-amount"
        label="Amount"
        error={errors.amount}
        hint={
          from === undefined || errors.amount !== undefined
            ? undefined
            : `${formatMoney(from.available, locale)} available`
        }
      >
        {control => (
          <span class="money-input">
            <span class="money-sign" aria-hidden="true">
              {currencySymbol(currency, locale)}
            </span>
            <input
              {...control}
              type="text"
              inputMode="decimal"
              autocomplete="off"
              maxLength={30}
              value={values.amount}
              onInput={event => change({ amount: event.currentTarget.value })}
              onBlur={() => {
                const amount = parseAmount(values.amount, currency, locale)
                if (amount.ok) change({ amount: formatAmount(amount.minor, currency, locale) })
              }}
            />
          </span>
        )}
      </Field>

      <Field
        id="pay-reference"
        label="Reference"
        optional
        error={errors.reference}
        hint={`The recipient sees it. ${referenceLimit - values.reference.length} characters left.`}
      >
        {control => (
          <input
            {...control}
            type="text"
            autocomplete="off"
            maxLength={referenceLimit}
            value={values.reference}
            onInput={event => change({ reference: event.currentTarget.value })}
          />
        )}
      </Field>

      <div class="actions">
        <button type="submit" class="button">
          Continue
        </button>
        <span class="small muted">Nothing is sent before you confirm.</span>
      </div>
    </form>
  )
}
