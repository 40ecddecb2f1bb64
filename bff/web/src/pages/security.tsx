import { useEffect } from 'preact/hooks'
import { isCustomer } from '../accounts.ts'
import { Failure } from '../components/failure.tsx'
import { Icon, type IconName } from '../components/icon.tsx'
import { Page } from '../components/page.tsx'
import { SessionList } from '../components/session-list.tsx'
import { Skeleton } from '../components/skeleton.tsx'
import { formatDistance, formatExactTime, formatRegion } from '../locale.ts'
import { useNow } from '../now.ts'
import { profile } from '../profile.ts'
import { roleText } from '../roles.ts'
import { checkSession, type Person, serverNow, signOut } from '../session.ts'

const protections: readonly { icon: IconName; title: string; text: string }[] = [
  {
    icon: 'lock',
    title: 'This browser holds no token',
    text: 'It only has a cookie that scripts cannot read. What opens your accounts stays on the bank’s side, sealed.',
  },
  {
    icon: 'shield',
    title: 'Every part of the bank checks again',
    text: 'Accounts, payments and messages each verify who is asking, for each request, for that part alone.',
  },
  {
    icon: 'leave',
    title: 'Signing out is thorough',
    text: 'It ends the session at the bank and at the identity service, and closes all tabs of this browser.',
  },
]

function Moment({ label, at, note, isPast = false }: { label: string; at: string; note?: string; isPast?: boolean }) {
  const clock = useNow(15_000, serverNow)
  // The two clocks are compared to the second only: what has happened is not in the future.
  const now = isPast ? Math.max(clock, Date.parse(at)) : clock
  return (
    <div>
      <dt>
        {label}
        {note !== undefined && <span class="small muted">{note}</span>}
      </dt>
      <dd>
        <time dateTime={at}>{formatExactTime(at)}</time>
        <span class="small muted">{formatDistance(at, now)}</span>
      </dd>
    </div>
  )
}

function Details() {
  useEffect(() => {
    void profile.refresh()
  }, [])
  const { data, refusal } = profile.state.value
  if (refusal !== undefined && data === undefined) return <Failure refusal={refusal} onRetry={profile.refresh} />
  if (data === undefined) return <Skeleton shape="card" />
  const { street, postalCode, city, country } = data.address
  return (
    <dl class="facts card">
      <div>
        <dt>Name</dt>
        <dd>
          {data.givenName} {data.familyName}
        </dd>
      </div>
      <div>
        <dt>Address</dt>
        <dd>
          {street}, {postalCode} {city}, {formatRegion(country)}
        </dd>
      </div>
      <div>
        <dt>E-mail</dt>
        <dd>{data.email}</dd>
      </div>
      <div>
        <dt>Phone</dt>
        <dd>{data.phone}</dd>
      </div>
      <div>
        <dt>Date of birth</dt>
        <dd>{data.birthDate}</dd>
      </div>
    </dl>
  )
}

export function SecurityPage({ person }: { person: Person }) {
  useEffect(() => {
    void checkSession()
  }, [])
  const { session: own } = person
  return (
    <Page title="Security" lead="Where you are signed in, and how your sessions are protected." narrow>
      <section class="block" aria-labelledby="session-heading">
        <h2 id="session-heading">This session</h2>
        <div class="card">
          <dl class="facts">
            <div>
              <dt>Signed in as</dt>
              <dd>
                {person.name}
                <span class="small muted">{person.roles.map(roleText).join(', ')}</span>
              </dd>
            </div>
            <Moment label="Password entered" at={own.authTime} isPast />
            <Moment label="Session started" at={own.createdAt} isPast />
            <Moment label="Last activity" at={own.lastSeenAt} note="noted once a minute" isPast />
            <Moment label="Ends without activity" at={own.idleTimeoutAt} />
            <Moment label="Ends in any case" at={own.absoluteTimeoutAt} />
          </dl>
          <p class="actions card-actions">
            <button type="button" class="button" onClick={() => void signOut()}>
              <Icon name="leave" />
              <span>Sign out everywhere in this browser</span>
            </button>
          </p>
        </div>
      </section>
      <SessionList />
      <section class="block" aria-labelledby="protection-heading">
        <h2 id="protection-heading">What protects it</h2>
        <ul class="protections card">
          {protections.map(({ icon, title, text }) => (
            <li key={title}>
              <Icon name={icon} />
              <div>
                <h3>{title}</h3>
                <p>{text}</p>
              </div>
            </li>
          ))}
        </ul>
      </section>
      {isCustomer(person.roles) && (
        <section class="block" aria-labelledby="details-heading">
          <h2 id="details-heading">Your details</h2>
          <p class="muted block-note">Partly hidden, in case somebody looks over your shoulder.</p>
          <Details />
        </section>
      )}
    </Page>
  )
}
