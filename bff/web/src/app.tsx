import { useEffect } from 'preact/hooks'
import { ErrorBoundary } from './components/error-boundary.tsx'
import { Layout } from './components/layout.tsx'
import { OfflineBanner } from './components/offline-banner.tsx'
import { SessionDialog } from './components/session-dialog.tsx'
import { Toasts } from './components/toasts.tsx'
import { place, route } from './navigation.ts'
import { AccountPage } from './pages/account.tsx'
import { LoadingPage } from './pages/loading.tsx'
import { NotFoundPage } from './pages/not-found.tsx'
import { NotificationsPage } from './pages/notifications.tsx'
import { OverviewPage } from './pages/overview.tsx'
import { PayPage } from './pages/pay.tsx'
import { PaymentPage } from './pages/payment.tsx'
import { SecurityPage } from './pages/security.tsx'
import { UnreachablePage } from './pages/unreachable.tsx'
import { WelcomePage } from './pages/welcome.tsx'
import type { Route } from './router.ts'
import { type Person, session } from './session.ts'
import { pageTitle } from './title.ts'

function CurrentPage({ current, person }: { current: Route; person: Person }) {
  switch (current.name) {
    case 'overview':
      return <OverviewPage person={person} />
    case 'account':
      return <AccountPage id={current.id} />
    case 'pay':
      return <PayPage person={person} />
    case 'payment':
      return <PaymentPage id={current.id} />
    case 'notifications':
      return <NotificationsPage />
    case 'security':
      return <SecurityPage person={person} />
    case 'not-found':
      return <NotFoundPage />
  }
}

function Leaving() {
  useEffect(() => {
    pageTitle.value = 'Signing out'
  }, [])
  return <LoadingPage text="Signing you out…" />
}

/** Which of the app's faces is shown: that is decided by the session alone, and the page by the address. */
export function App() {
  const state = session.value
  if (state.kind === 'loading') return <LoadingPage text="Opening your bank…" />
  if (state.kind === 'signing-out') return <Leaving />
  if (state.kind === 'unreachable') return <UnreachablePage refusal={state.refusal} />
  if (state.kind === 'signed-out') return <WelcomePage reason={state.reason} />
  const { person } = state
  return (
    <>
      <Layout person={person}>
        <OfflineBanner />
        <ErrorBoundary key={place.value.pathname}>
          <CurrentPage key={place.value.pathname} current={route.value} person={person} />
        </ErrorBoundary>
      </Layout>
      <Toasts />
      <SessionDialog />
    </>
  )
}
