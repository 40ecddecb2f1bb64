import { type Bank, runningBank, signIn } from '@banking/devstack'
import { parts } from '@banking/testkit'
import type { Test } from 'tap'

/** The whole running bank, or the file is skipped with the remedy. */
export function wholeBank(t: Test): Bank {
  parts(t, 'postgres', 'redis', 'kafka', 'keycloak')
  return runningBank()
}

type Answer = { status: number; headers: Headers; body: string; json: () => Record<string, unknown> }

/** What a script of the page may ask the edge for, in the name of one person. */
export type Client = {
  get(path: string, headers?: Record<string, string>): Promise<Answer>
  post(path: string, body: object, headers?: Record<string, string>): Promise<Answer>
  cookie: string
}

/** Logs a person in through the edge and Keycloak's own form. */
export async function asPerson(bank: Bank, username: string): Promise<Client> {
  return clientAt(bank.status.baseUrl, await signIn(bank, username))
}

/** The same person at one address: the edge's own, or that of one replica. */
export function clientAt(address: string, cookie: string): Client {
  const ask = async (method: string, path: string, headers: Record<string, string>, body?: object): Promise<Answer> => {
    const response = await fetch(new URL(path, address), {
      method,
      redirect: 'manual',
      signal: AbortSignal.timeout(60_000),
      headers: {
        cookie,
        'x-csrf': '1',
        'sec-fetch-site': 'same-origin',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: text, json: () => JSON.parse(text) }
  }
  return {
    cookie,
    get: (path, headers = {}) => ask('GET', path, headers),
    post: (path, body, headers = {}) => ask('POST', path, headers, body),
  }
}

/** The processes of the edge, one by one; a single one without replicas. */
export const replicasOf = (bank: Bank): Bank['status']['apps'] =>
  bank.status.apps.filter(({ name }) => /^bff(-\d)?$/.test(name))

export type Account = {
  id: string
  name: string
  kind: string
  iban: string
  currency: string
  available: { amount: string }
  posted: { amount: string }
}

export async function accountsOf(client: Client): Promise<Account[]> {
  const { items } = (await client.get('/api/payments/accounts')).json() as { items: Account[] }
  return items
}

/** The account that everything is paid from and to. */
export async function currentAccountOf(client: Client): Promise<Account> {
  const found = (await accountsOf(client)).find(({ kind }) => kind === 'current')
  if (found === undefined) throw new Error('this person has no current account')
  return found
}

/** Asks until the answer is as wished, for things that arrive by themselves. */
export async function eventually<T>(ask: () => Promise<T>, isReached: (value: T) => boolean, seconds = 30): Promise<T> {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const value = await ask()
    if (isReached(value) || Date.now() > end) return value
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}
