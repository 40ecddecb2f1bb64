import type { ComponentChildren } from 'preact'
import { isCustomer } from '../accounts.ts'
import logo from '../logo.svg'
import { route } from '../navigation.ts'
import { unread } from '../notifications.ts'
import type { Route } from '../router.ts'
import { type Person, session, signOut, signOutRefusal } from '../session.ts'
import { Icon, type IconName } from './icon.tsx'
import { Notice } from './notice.tsx'

type Entry = { href: string; text: string; icon: IconName; covers: readonly Route['name'][]; customersOnly?: boolean }

const entries: readonly Entry[] = [
  { href: '/', text: 'Overview', icon: 'home', covers: ['overview', 'account'] },
  { href: '/pay', text: 'Send money', icon: 'send', covers: ['pay', 'payment'], customersOnly: true },
  { href: '/notifications', text: 'Messages', icon: 'bell', covers: ['notifications'] },
  { href: '/security', text: 'Security', icon: 'shield', covers: ['security'] },
]

function Badge() {
  const count = unread.value ?? 0
  if (count === 0) return null
  return (
    <span class="badge">
      {count > 99 ? '99+' : count}
      <span class="visually-hidden"> unread</span>
    </span>
  )
}

export function Brand() {
  return (
    <a class="brand" href="/">
      <img src={logo} alt="" width="32" height="32" />
      <span>Banking Local</span>
    </a>
  )
}

export function Footer() {
  return (
    <footer class="foot">
      <p>Banking Local is a demonstration bank. No real money moves here.</p>
    </footer>
  )
}

/** Everything around the page of somebody who is signed in. */
export function Layout({ person, children }: { person: Person; children: ComponentChildren }) {
  const current = route.value.name
  const shown = entries.filter(entry => entry.customersOnly !== true || isCustomer(person.roles))
  return (
    <div class="shell">
      <a class="skip" href="#main">
        Skip to content
      </a>
      <header class="top">
        <div class="top-inner">
          <Brand />
          <nav class="nav" aria-label="Main">
            <ul>
              {shown.map(({ href, text, icon, covers }) => (
                <li key={href}>
                  <a href={href} aria-current={covers.includes(current) ? 'page' : undefined}>
                    <span class="nav-icon">
                      <Icon name={icon} />
                    </span>
                    <span>{text}</span>
                    {icon === 'bell' && <Badge />}
                  </a>
                </li>
              ))}
            </ul>
          </nav>
          <div class="who">
            <span class="who-name">{person.name}</span>
            <button
              type="button"
              class="button button-quiet button-small"
              disabled={session.value.kind !== 'signed-in'}
              onClick={() => void signOut()}
            >
              <Icon name="leave" />
              <span>Sign out</span>
            </button>
          </div>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {signOutRefusal.value !== undefined && (
          <div class="page page-notice">
            <Notice tone="bad" title="You are still signed in" live>
              <p>We could not sign you out just now. Please try again before you leave this device.</p>
            </Notice>
          </div>
        )}
        {children}
      </main>
      <Footer />
    </div>
  )
}
