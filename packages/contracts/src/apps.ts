/** The name from which everything else about an app is derived. */
export type AppName = 'bff' | 'customer' | 'loan' | 'payment' | 'risk' | 'audit' | 'notification' | 'admin'

/** One deployable program. */
export type App = {
  name: AppName
  /** Public HTTP port in development; health and metrics answer at {@link healthPort}. */
  port: number
  /** The path prefix under which a browser reaches it through the BFF. */
  path: string
  summary: string
}

/** Every app of the bank, in the order of its ports. */
export const apps: readonly App[] = [
  { name: 'bff', port: 3000, path: '/', summary: 'login, sessions, proxy and the web app' },
  { name: 'customer', port: 3010, path: '/api/customers', summary: 'who the customer is' },
  { name: 'loan', port: 3020, path: '/api/loans', summary: 'applications, decisions, schedules' },
  { name: 'payment', port: 3030, path: '/api/payments', summary: 'accounts, ledger, payments' },
  { name: 'risk', port: 3040, path: '/api/risk', summary: 'decisions, alerts, cases' },
  { name: 'audit', port: 3050, path: '/api/audit', summary: 'the tamper-evident log' },
  { name: 'notification', port: 3060, path: '/api/notifications', summary: 'inbox and live messages' },
  { name: 'admin', port: 3070, path: '/api/admin', summary: 'approvals, incidents, playbooks' },
]

/** @throws Error when no app has this name. */
export function app(name: AppName): App {
  const found = apps.find(candidate => candidate.name === name)
  if (found === undefined) throw new Error(`no app is called ${name}`)
  return found
}

/** The `aud` of tokens for this app and, when it calls others, its own client id. */
export const audienceOf = (name: AppName): string => `${name}-service`
/** The OAuth scope that opens this app's API. */
export const scopeOf = (name: AppName): string => `${name}-api`
/** The Kafka topic this app alone writes. */
export const topicOf = (name: AppName): string => `banking.${name}`
/** The port of `/ping`, `/ready` and `/metrics`; never reachable from outside. */
export const healthPortOf = (port: number): number => port + 1000

/** Realm roles of people. */
export const roles = ['customer', 'loan-officer', 'banking-admin', 'risk-analyst', 'compliance-officer'] as const
export type Role = (typeof roles)[number]

/** The BFF's client at the identity provider. */
export const webClient = 'banking-web-app'
/** The one topic with many writers: every service records what it did there, keyed by its own name. */
export const auditTopic = 'banking.audit'
