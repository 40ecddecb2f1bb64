import { useEffect, useRef } from 'preact/hooks'
import { Icon, type IconName } from '../components/icon.tsx'
import { Brand, Footer } from '../components/layout.tsx'
import { Notice } from '../components/notice.tsx'
import { OfflineBanner } from '../components/offline-banner.tsx'
import { place, route } from '../navigation.ts'
import { loginAddress, type Route } from '../router.ts'
import type { EndReason } from '../session.ts'
import { pageTitle } from '../title.ts'

const reasons: Record<EndReason, { title: string; text: string } | undefined> = {
  none: undefined,
  idle: {
    title: 'You were signed out',
    text: 'Nothing happened here for a while, so we closed your session. A payment form that you had not sent is still in this tab.',
  },
  absolute: {
    title: 'Your session has reached its end',
    text: 'A session lasts some hours and not longer, even while it is used. Sign in again to go on where you were.',
  },
  ended: {
    title: 'Your session is over',
    text: 'You signed out, or signed in anew, in another tab or window of this browser.',
  },
  revoked: {
    title: 'Your session was ended',
    text: 'It was ended from another place: by you on another device, or by the bank for your security. A payment form that you had not sent is still in this tab. If this surprises you, sign in and look at Security.',
  },
  limit: {
    title: 'You are signed in on too many devices',
    text: 'Only so many can be signed in at once, so the oldest session, this one, was ended. A payment form that you had not sent is still in this tab.',
  },
  'signed-out': { title: 'You are signed out', text: 'On a shared computer, please close this window as well.' },
}

const destinations: Partial<Record<Route['name'], string>> = {
  account: 'your account',
  pay: 'your payment',
  payment: 'the payment',
  notifications: 'your messages',
  security: 'the security page',
}

const promises: readonly { icon: IconName; title: string; text: string }[] = [
  {
    icon: 'lock',
    title: 'No keys in your browser',
    text: 'This page never holds a token that opens your accounts. They stay with the bank.',
  },
  {
    icon: 'clock',
    title: 'Sessions end by themselves',
    text: 'After a while without activity, and some hours after you signed in. We tell you before.',
  },
  {
    icon: 'shield',
    title: 'Checked at every door',
    text: 'Each part of the bank checks every request again, even those that come from inside.',
  },
]

/** The page of somebody who is not signed in: where to sign in, why they are here, and where they will come back to. */
export function WelcomePage({ reason }: { reason: EndReason }) {
  const heading = useRef<HTMLHeadingElement>(null)
  const notice = reasons[reason]
  const destination = destinations[route.value.name]
  useEffect(() => {
    pageTitle.value = 'Sign in'
  }, [])
  useEffect(() => {
    // The page was locked under the person's hands: the focus must not be lost with what had it.
    if (reason !== 'none') heading.current?.focus()
  }, [reason])
  return (
    <div class="shell welcome">
      <header class="top">
        <div class="top-inner">
          <Brand />
        </div>
      </header>
      <main id="main" class="welcome-main">
        <OfflineBanner />
        <div class="welcome-grid">
          <section class="welcome-card" aria-labelledby="welcome-title">
            <h1 id="welcome-title" ref={heading} tabIndex={-1}>
              {destination === undefined ? 'Sign in to your bank' : 'Sign in to continue'}
            </h1>
            {notice !== undefined && (
              <Notice tone={reason === 'signed-out' ? 'good' : 'info'} title={notice.title} live>
                <p>{notice.text}</p>
              </Notice>
            )}
            <p class="lead">
              {destination === undefined
                ? 'See your accounts, send money, and watch it arrive as it happens.'
                : `After signing in you come back to ${destination}.`}
            </p>
            <a class="button button-large" href={loginAddress(place.value)}>
              <Icon name="lock" />
              <span>Sign in</span>
            </a>
            <p class="small muted">
              You enter your password on our identity service’s own page, never here. Check the address before you type
              it.
            </p>
          </section>
          <section class="welcome-promises" aria-labelledby="promises-title">
            <h2 id="promises-title">How we keep your money yours</h2>
            <ul>
              {promises.map(({ icon, title, text }) => (
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
        </div>
      </main>
      <Footer />
    </div>
  )
}
