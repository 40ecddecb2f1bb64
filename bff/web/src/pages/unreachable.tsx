import { useEffect } from 'preact/hooks'
import { Failure } from '../components/failure.tsx'
import { Brand, Footer } from '../components/layout.tsx'
import { OfflineBanner } from '../components/offline-banner.tsx'
import { Refusal } from '../refusal.ts'
import { checkSession } from '../session.ts'
import { pageTitle } from '../title.ts'

const firstWait = 5

/** The session could not be asked for: nobody is sent to a login for that. It keeps asking by itself. */
export function UnreachablePage({ refusal }: { refusal: Refusal }) {
  useEffect(() => {
    pageTitle.value = 'Not reachable'
  }, [])
  const shown =
    refusal.retryAfter === undefined
      ? new Refusal({ ...refusal, title: refusal.message, retryAfter: firstWait })
      : refusal
  return (
    <div class="shell shell-plain">
      <header class="top">
        <div class="top-inner">
          <Brand />
        </div>
      </header>
      <main id="main">
        <div class="page page-narrow">
          <OfflineBanner />
          <h1>The bank does not answer right now</h1>
          <Failure
            refusal={shown}
            text="Nothing was lost, and if you were signed in, you still are. It usually takes a few seconds."
            onRetry={retry}
          />
        </div>
      </main>
      <Footer />
    </div>
  )
}

const retry = () => void checkSession()
