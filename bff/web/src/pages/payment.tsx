import { useEffect, useRef, useState } from 'preact/hooks'
import { type Account, accounts } from '../accounts.ts'
import { Amount } from '../components/amount.tsx'
import { Failure } from '../components/failure.tsx'
import { Icon, type IconName } from '../components/icon.tsx'
import { Notice } from '../components/notice.tsx'
import { Page } from '../components/page.tsx'
import { Skeleton } from '../components/skeleton.tsx'
import { groupIban } from '../iban.ts'
import { formatExactTime } from '../locale.ts'
import { cancelPayment, type Payment, type PaymentState, payments } from '../payments.ts'
import { explainHold, explainPayment, noAnswer, Refusal } from '../refusal.ts'

type Look = { title: string; text: string; icon: IconName; tone: 'good' | 'wait' | 'bad' }

const looks: Record<PaymentState, Look> = {
  posted: { title: 'Payment sent', text: 'The money has arrived.', icon: 'check', tone: 'good' },
  held: {
    title: 'Payment on hold',
    text: 'The money is set aside but has not left your account.',
    icon: 'clock',
    tone: 'wait',
  },
  declined: { title: 'Payment declined', text: 'No money was moved.', icon: 'alert', tone: 'bad' },
  cancelled: {
    title: 'Payment cancelled',
    text: 'You took it back. The money is available again.',
    icon: 'close',
    tone: 'bad',
  },
  expired: {
    title: 'Payment expired',
    text: 'It was not released in time. The money is available again.',
    icon: 'clock',
    tone: 'bad',
  },
  reversed: { title: 'Payment reversed', text: 'The money is back in your account.', icon: 'swap', tone: 'bad' },
}

function Facts({ payment, account }: { payment: Payment; account: Account | undefined }) {
  return (
    <dl class="facts">
      <div>
        <dt>Amount</dt>
        <dd>
          <Amount money={payment.amount} />
        </dd>
      </div>
      <div>
        <dt>To</dt>
        <dd>
          {payment.creditor.name}
          {payment.creditor.ibanMasked && <span class="iban muted">{payment.creditor.ibanMasked}</span>}
        </dd>
      </div>
      <div>
        <dt>From</dt>
        <dd>
          {account?.name ?? 'Your account'}
          {account !== undefined && <span class="iban muted">{groupIban(account.iban)}</span>}
        </dd>
      </div>
      {payment.reference ? (
        <div>
          <dt>Reference</dt>
          <dd>{payment.reference}</dd>
        </div>
      ) : null}
      <div>
        <dt>Time</dt>
        <dd>
          <time dateTime={payment.createdAt}>{formatExactTime(payment.createdAt)}</time>
        </dd>
      </div>
      <div>
        <dt>Payment number</dt>
        <dd class="code">{payment.id}</dd>
      </div>
      {account !== undefined && (
        <div class="facts-total">
          <dt>{payment.state === 'held' ? 'Available now' : 'Balance now'}</dt>
          <dd>
            <Amount money={payment.state === 'held' ? account.available : account.posted} />
          </dd>
        </div>
      )}
    </dl>
  )
}

function Held({ payment }: { payment: Payment }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const [isBusy, setBusy] = useState(false)
  const [refusal, setRefusal] = useState<Refusal>()
  async function cancel() {
    setBusy(true)
    setRefusal(undefined)
    try {
      await cancelPayment(payment.id)
    } catch (error) {
      const refused = error instanceof Refusal ? error : noAnswer(error)
      if (refused.code !== 'already_resolved') setRefusal(refused)
    }
    setBusy(false)
    dialog.current?.close()
    await Promise.all([payments.of(payment.id).refresh(), accounts.refresh()])
  }
  return (
    <>
      <Notice tone="info" title="Why it waits">
        <ul>
          {explainHold(payment.reasons ?? []).map(reason => (
            <li key={reason}>{reason}</li>
          ))}
        </ul>
        <p>
          <strong>What happens next:</strong> somebody at the bank looks at it. You get a message as soon as it is sent
          or declined. You need not do anything, and you should not send it again.
        </p>
        <p class="actions no-print">
          <button type="button" class="button button-danger" onClick={() => dialog.current?.showModal()}>
            Cancel this payment
          </button>
        </p>
      </Notice>
      {refusal !== undefined && <Failure refusal={refusal} />}
      <dialog ref={dialog} class="dialog" aria-labelledby="cancel-title">
        <h2 id="cancel-title">Cancel this payment?</h2>
        <p>
          <Amount money={payment.amount} /> to {payment.creditor.name} will not be sent. The money is available to you
          again at once.
        </p>
        <div class="actions">
          <button type="button" class="button button-danger" disabled={isBusy} onClick={() => void cancel()}>
            {isBusy ? 'Cancelling…' : 'Cancel the payment'}
          </button>
          <button type="button" class="button button-quiet" onClick={() => dialog.current?.close()}>
            Keep it
          </button>
        </div>
      </dialog>
    </>
  )
}

/** The receipt of a payment, in whatever state it is; fit to be printed. */
export function PaymentPage({ id }: { id: string }) {
  const resource = payments.of(id)
  useEffect(() => {
    void resource.refresh()
    void accounts.refresh()
  }, [resource])
  const { data: payment, refusal } = resource.state.value
  const account = accounts.state.value.data?.find(item => item.id === payment?.debtorAccountId)
  if (payment === undefined) {
    return (
      <Page title={refusal?.status === 404 ? 'There is no such payment' : 'Payment'} narrow>
        {refusal === undefined ? <Skeleton shape="card" /> : <Failure refusal={refusal} onRetry={resource.refresh} />}
      </Page>
    )
  }
  const look = looks[payment.state]
  return (
    <Page title={look.title} narrow>
      <article class="card receipt" aria-label="Receipt">
        <div class={`receipt-head receipt-${look.tone}`}>
          <span class="receipt-icon">
            <Icon name={look.icon} />
          </span>
          <p class="receipt-sum">
            <Amount money={payment.amount} />
          </p>
          <p>to {payment.creditor.name}</p>
          <p class="muted" role="status">
            {look.text}
          </p>
        </div>
        <Facts payment={payment} account={account} />
      </article>
      {refusal !== undefined && <Failure refusal={refusal} onRetry={resource.refresh} />}
      {payment.state === 'held' && <Held payment={payment} />}
      {payment.state === 'declined' && payment.reasons !== undefined && payment.reasons.length > 0 && (
        <Notice tone="info" title="Why it was declined">
          {payment.reasons.map(code => (
            <p key={code}>{explainPayment({ code }).text}</p>
          ))}
        </Notice>
      )}
      <p class="actions no-print">
        <a class="button" href="/">
          Done
        </a>
        <a class="button button-quiet" href="/pay">
          Send another
        </a>
        <button type="button" class="button button-quiet" onClick={() => window.print()}>
          <Icon name="print" />
          <span>Print</span>
        </button>
      </p>
    </Page>
  )
}
