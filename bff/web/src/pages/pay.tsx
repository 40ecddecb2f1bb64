import { useEffect, useState } from 'preact/hooks'
import { accounts } from '../accounts.ts'
import { Empty } from '../components/empty.tsx'
import { Failure } from '../components/failure.tsx'
import { Page } from '../components/page.tsx'
import { PaymentForm } from '../components/payment-form.tsx'
import { PaymentReview } from '../components/payment-review.tsx'
import { PaymentUncertain } from '../components/payment-uncertain.tsx'
import { Skeleton } from '../components/skeleton.tsx'
import { closeIntention, confirmIntention, dropDraft, keptIntention, openDraft } from '../draft.ts'
import { navigate, place } from '../navigation.ts'
import type { Draft, DraftField, PaymentOrder } from '../payment-order.ts'
import { payments } from '../payments.ts'
import { explainPayment, noAnswer, Refusal } from '../refusal.ts'
import { sendPayment } from '../send-payment.ts'
import type { Person } from '../session.ts'

type Step =
  | { at: 'form'; refused?: { field: DraftField | 'form'; text: string } }
  | { at: 'review'; order: PaymentOrder }
  | { at: 'sending'; order: PaymentOrder }
  | { at: 'uncertain'; order: PaymentOrder; refusal?: Refusal }

const titles: Record<Step['at'], string> = {
  form: 'Send money',
  review: 'Check and confirm',
  sending: 'Check and confirm',
  uncertain: 'We do not know yet',
}

/** What a link into the form has chosen already: `?from=…`, `?between=own`. */
function preset(search: string): Partial<Draft> {
  const query = new URLSearchParams(search)
  const from = query.get('from')
  return {
    ...(from === null ? {} : { from }),
    ...(query.get('between') === 'own' ? { kind: 'own' as const } : {}),
  }
}

/** Form, confirmation, and what happens when the answer is lost; the receipt is a page of its own. */
export function PayPage({ person }: { person: Person }) {
  const { sub } = person
  const [step, setStep] = useState<Step>(() => {
    openDraft(sub, preset(place.peek().search))
    const unfinished = keptIntention(sub)
    return unfinished === undefined ? { at: 'form' } : { at: 'uncertain', order: unfinished.order }
  })
  useEffect(() => {
    // The link's choice is in the draft now: loading the page again must not undo what the person changes.
    if (window.location.search !== '') navigate('/pay', { replace: true })
    void accounts.refresh()
  }, [])
  const { data, refusal } = accounts.state.value

  async function send(order: PaymentOrder): Promise<void> {
    setStep({ at: 'sending', order })
    try {
      const sent = await sendPayment(confirmIntention(sub, order))
      closeIntention()
      dropDraft()
      payments.of(sent.id).change({
        debtorAccountId: order.debtorAccountId,
        creditor: { name: order.creditor.name },
        amount: order.amount,
        reference: order.reference ?? '',
        createdAt: new Date().toISOString(),
        ...sent,
      })
      void accounts.refresh()
      navigate(`/payments/${sent.id}`, { replace: true })
    } catch (error) {
      const refused = error instanceof Refusal ? error : noAnswer(error)
      // The page is locked by now; after the next login the unfinished intention is offered again.
      if (refused.status === 401) return
      if (refused.isUncertain) {
        setStep({ at: 'uncertain', order, refusal: refused })
        return
      }
      closeIntention()
      void accounts.refresh()
      const { field, text } = explainPayment(refused)
      const place = field === 'iban' && 'accountId' in order.creditor ? 'to' : field
      setStep({ at: 'form', refused: { field: place, text } })
    }
  }

  function startOver(): void {
    closeIntention()
    setStep({ at: 'form' })
  }

  const stepName = step.at === 'sending' ? 'review' : step.at
  return (
    <Page
      title={titles[step.at]}
      step={stepName}
      lead={stepName === 'form' ? 'To anybody with an IBAN at this bank, or between your own accounts.' : undefined}
      narrow
    >
      {refusal !== undefined && <Failure refusal={refusal} onRetry={accounts.refresh} />}
      {data === undefined && refusal === undefined && <Skeleton shape="card" count={1} />}
      {data?.length === 0 && (
        <Empty icon="wallet" title="You have no account to pay from">
          <p>As soon as the bank has opened one for you, you can send money from here.</p>
        </Empty>
      )}
      {data !== undefined && data.length > 0 && (
        <>
          {step.at === 'form' && (
            <PaymentForm
              sub={sub}
              accounts={data}
              refused={step.refused}
              onComplete={order => setStep({ at: 'review', order })}
            />
          )}
          {(step.at === 'review' || step.at === 'sending') && (
            <PaymentReview
              order={step.order}
              accounts={data}
              isSending={step.at === 'sending'}
              onEdit={() => setStep({ at: 'form' })}
              onConfirm={() => void send(step.order)}
            />
          )}
          {step.at === 'uncertain' && (
            <PaymentUncertain
              order={step.order}
              accounts={data}
              refusal={step.refusal}
              onRetry={() => void send(step.order)}
              onStartOver={startOver}
            />
          )}
        </>
      )}
    </Page>
  )
}
