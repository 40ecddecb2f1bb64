import type { ProblemCode } from '@banking/contracts'

/** What a person is told beside the problem's title: why it may be so, and what they can do. */
export type Explanation = {
  why: string
  /** One thing to do per entry, the best first. */
  remedies: readonly string[]
  action: { href: string; label: string }
}

const signIn = { href: '/oauth2/start', label: 'Sign in' }
const again = { href: '/oauth2/start', label: 'Try again' }
const home = { href: '/', label: 'To the start page' }

const busy: Explanation = {
  why: 'Something that we depend on is slow or away. It is not your fault, and nothing was lost.',
  remedies: ['Wait a moment, then load the page again.', 'If it stays, tell us the reference below.'],
  action: home,
}
const broken: Explanation = {
  why: 'A part of this site did not do what it should. It has been noted under the reference below.',
  remedies: ['Try it once more.', 'If it stays, tell us the reference below.'],
  action: home,
}
const unreadable: Explanation = {
  why: 'The address or what was sent with it is not in a form that we take. A link may have been cut off or changed on its way.',
  remedies: [
    'Go to the start page and find your way from there.',
    'If a link of ours led here, tell us the reference below.',
  ],
  action: home,
}

/** For people; what programs are told is the catalog's remedy. */
const explanations: Readonly<Partial<Record<ProblemCode, Explanation>>> = {
  not_found: {
    why: 'The address may have been mistyped, or what was here is gone. What belongs to somebody else looks the same.',
    remedies: ['Check the address.', 'Go to the start page and find your way from there.'],
    action: home,
  },
  csrf_refused: {
    why: 'Your browser says that another site asked for this, or it could not say who asked. We do nothing on the word of another site.',
    remedies: [
      'Go to the start page and do it from there.',
      'If an extension hides where requests come from, allow it for this site.',
    ],
    action: home,
  },
  rate_limited: {
    why: 'More requests came from you, or from your network, than one person makes.',
    remedies: ['Wait a minute, then load the page again.'],
    action: home,
  },
  login_failed: {
    why: 'The identity service did not confirm who you are, or its answer was not one that we may trust.',
    remedies: ['Sign in again.', 'If it happens again, tell us the reference below.'],
    action: signIn,
  },
  login_expired: {
    why: 'A sign-in must be finished within ten minutes, once, in the browser that began it. It may also be that this browser keeps no cookies.',
    remedies: [
      'Sign in again, and do not use the browser’s back button on the way.',
      'Allow cookies for this site; without them no sign-in can be finished.',
    ],
    action: signIn,
  },
  login_looping: {
    why: 'You were sent to sign in many times within a minute. Most often the browser does not keep our cookies, or its clock is wrong.',
    remedies: [
      'Allow cookies for this site: check the browser’s settings, private mode and extensions.',
      'Set the date and time of this device automatically.',
      'Close other tabs of this site, wait a minute, then sign in again.',
    ],
    action: signIn,
  },
  logout_unconfirmed: {
    why: 'This browser asked for no sign-out, or asked too long ago. Another site may have sent you here.',
    remedies: [
      'Look at the start page: it says whether you are signed in.',
      'On a shared computer, close all windows of the browser.',
    ],
    action: home,
  },
  provider_unavailable: {
    why: 'The identity service, where you enter your password, is slow or away. Whoever is signed in stays signed in.',
    remedies: ['Wait a moment, then try again.', 'If it stays, tell us the reference below.'],
    action: again,
  },
  sessions_unavailable: {
    why: 'We cannot look up who is signed in at the moment. If you were signed in, you still are.',
    remedies: ['Wait a moment, then load the page again.', 'If it stays, tell us the reference below.'],
    action: { href: '/', label: 'Try again' },
  },
  upstream_unavailable: busy,
  not_carried_out: busy,
  upstream_timeout: busy,
  overloaded: busy,
  exchange_refused: broken,
  upstream_failed: broken,
  internal: broken,
}

export const explanationOf = (code: string, status: number): Explanation =>
  explanations[code as ProblemCode] ?? (status >= 500 ? broken : unreadable)
