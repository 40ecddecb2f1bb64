import { useEffect, useRef, useState } from 'preact/hooks'
import { formatDistance, formatShortTime } from '../locale.ts'
import { useNow } from '../now.ts'
import { endOtherSessions, endSession, type OwnSession, ownSessions } from '../own-sessions.ts'
import { Refusal } from '../refusal.ts'
import { serverNow } from '../session.ts'
import { ConfirmDialog } from './confirm-dialog.tsx'
import { Failure } from './failure.tsx'
import { Icon } from './icon.tsx'
import { Skeleton } from './skeleton.tsx'

/** What is asked about: one session, or all but this one. */
type Question = OwnSession | 'others'

/** Everywhere the person is signed in, with the means to end what is not theirs any more. */
export function SessionList() {
  const heading = useRef<HTMLHeadingElement>(null)
  const hasEnded = useRef(false)
  const [question, setQuestion] = useState<Question>()
  const [said, setSaid] = useState('')
  useEffect(() => {
    void ownSessions.refresh()
    const look = () => {
      if (document.visibilityState === 'visible') void ownSessions.refresh({ background: true })
    }
    document.addEventListener('visibilitychange', look)
    return () => document.removeEventListener('visibilitychange', look)
  }, [])
  const { data, refusal } = ownSessions.state.value
  const others = data?.filter(({ current }) => !current) ?? []

  async function end(asked: Question): Promise<void> {
    if (asked === 'others') {
      const ended = await endOtherSessions()
      setSaid(ended === 1 ? 'One other session was ended.' : `${ended} other sessions were ended.`)
    } else {
      await endSession(asked.id).catch(error => {
        // Over already: by itself, or from another tab. That is what was wanted.
        if (!(error instanceof Refusal) || error.status !== 404) throw error
      })
      setSaid(`The session on ${asked.device} was ended.`)
    }
    hasEnded.current = true
    await ownSessions.refresh()
  }

  function close(): void {
    setQuestion(undefined)
    // The button that was pressed is gone; the focus stays near it. While the dialog is open it cannot leave it.
    if (hasEnded.current) heading.current?.focus()
    hasEnded.current = false
  }

  return (
    <section class="block" aria-labelledby="sessions-heading">
      <h2 id="sessions-heading" ref={heading} tabIndex={-1}>
        Where you are signed in
      </h2>
      <p class="muted block-note">A device that you do not know? End its session, then change your password.</p>
      <p role="status" class={said === '' ? 'visually-hidden' : 'session-said'}>
        {said}
      </p>
      {refusal !== undefined && <Failure refusal={refusal} onRetry={ownSessions.refresh} />}
      {data === undefined && refusal === undefined && <Skeleton shape="card" />}
      {data !== undefined && (
        <div class="card">
          <ul class="session-list">
            {data.map(item => (
              <Row key={item.id} item={item} onEnd={() => setQuestion(item)} />
            ))}
          </ul>
          {others.length === 0 ? (
            <p class="session-alone">
              <Icon name="check" />
              <span>You are signed in nowhere else.</span>
            </p>
          ) : (
            <p class="actions card-actions">
              <button type="button" class="button button-quiet" onClick={() => setQuestion('others')}>
                Sign out everywhere else
              </button>
            </p>
          )}
        </div>
      )}
      {question !== undefined && (
        <ConfirmDialog
          title={question === 'others' ? 'Sign out everywhere else?' : `End the session on ${question.device}?`}
          confirm={question === 'others' ? 'Sign out everywhere else' : 'End session'}
          cancel="Cancel"
          onConfirm={() => end(question)}
          onClose={close}
        >
          <p>
            {question === 'others'
              ? `${others.length === 1 ? 'One other session ends' : `${others.length} other sessions end`} at once. You stay signed in here.`
              : `It was begun ${formatShortTime(question.createdAt)} and ends at once; whoever uses it sees the sign-in page.`}
          </p>
        </ConfirmDialog>
      )}
    </section>
  )
}

function Row({ item, onEnd }: { item: OwnSession; onEnd: () => void }) {
  const clock = useNow(15_000, serverNow)
  const { device, createdAt, lastSeenAt, current } = item
  return (
    <li>
      <Icon name={/iPhone|Android|iPad/.test(device) ? 'phone' : 'screen'} />
      <div class="session-what">
        <p class="session-device">
          {device}
          {current && <span class="session-current">This device</span>}
        </p>
        <p class="small muted">
          Last active <Moment at={lastSeenAt} clock={clock} />
        </p>
        <p class="small muted">
          Signed in <Moment at={createdAt} clock={clock} />
        </p>
      </div>
      {!current && (
        <button type="button" class="button button-quiet" onClick={onEnd}>
          End
          <span class="visually-hidden">
            {' '}
            the session on {device}, signed in {formatShortTime(createdAt)}
          </span>
        </button>
      )}
    </li>
  )
}

/** Both: how long ago, and when. What has happened is not in the future, whatever two clocks say. */
function Moment({ at, clock }: { at: string; clock: number }) {
  return (
    <time dateTime={at}>
      {formatDistance(at, Math.max(clock, Date.parse(at)))} <span class="session-moment">({formatShortTime(at)})</span>
    </time>
  )
}
