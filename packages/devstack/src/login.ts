import { once } from 'node:events'
import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import https from 'node:https'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { type AppName, apps, audienceOf, scopeOf, webClient } from '@banking/contracts'
import { importJWK } from 'jose'
import * as client from 'openid-client'
import { clientKeys } from './keys.ts'
import { developmentPassword } from './parts/part.ts'
import { keysFolder, readStatus, type Status } from './status.ts'

/** A running stack, as its development-only tools see it. */
export type Bank = { status: Status; state: string }

/**
 * The stack that `STACK` names, else the one of `pnpm dev`.
 * @throws Error with the remedy when none runs
 */
export function runningBank(
  file = process.env['STACK'] ?? resolve(import.meta.dirname, '../../../.dev/status.json'),
): Bank {
  const status = readStatus(file)
  if (status === undefined) throw new Error('The bank is not running. Start it: npx -y pnpm@10.34.9 dev')
  return { status, state: join(file, '..') }
}

/**
 * Logs a person in at the BFF as a browser would, without one.
 * @returns the session cookie, `__Host-session=…`
 */
export async function signIn(
  { status }: Bank,
  username: string,
  password = passwordOf(status, username),
): Promise<string> {
  const browser = new Browser()
  const landing = await browser.logIn(
    new URL('/oauth2/start?return_to=/', status.baseUrl),
    username,
    password,
    status.baseUrl,
  )
  const callback = await browser.visit(landing)
  const value = browser.cookie(landing, '__Host-session')
  if (value === undefined) throw new Error(`The BFF did not log ${username} in: ${callback.status} ${callback.text}`)
  return `__Host-session=${value}`
}

export type PersonTokens = { accessToken: string; idToken: string; refreshToken: string | undefined }

/** A person's own tokens, as the BFF gets and hides them: the code flow with its client id and key. */
export async function personTokens(bank: Bank, username: string): Promise<PersonTokens> {
  const { status } = bank
  const redirectUri = `${status.baseUrl}/oauth2/callback`
  const config = await asClient(bank, webClient, 'bff')
  const verifier = client.randomPKCECodeVerifier()
  const state = client.randomState()
  const nonce = client.randomNonce()
  const address = await client.buildAuthorizationUrlWithPAR(config, {
    redirect_uri: redirectUri,
    scope: 'openid',
    state,
    nonce,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  })
  const answer = await new Browser().logIn(address, username, passwordOf(status, username), redirectUri)
  const tokens = await client.authorizationCodeGrant(config, answer, {
    pkceCodeVerifier: verifier,
    expectedState: state,
    expectedNonce: nonce,
  })
  return { accessToken: tokens.access_token, idToken: tokens.id_token ?? '', refreshToken: tokens.refresh_token }
}

/** That person's access token for one service: the session's token exchanged (RFC 8693), as the BFF does it. */
export async function personToken(bank: Bank, username: string, service: string): Promise<string> {
  const name = appName(service)
  const { accessToken } = await personTokens(bank, username)
  const config = await asClient(bank, webClient, 'bff')
  const exchanged = await client.genericGrantRequest(config, 'urn:ietf:params:oauth:grant-type:token-exchange', {
    subject_token: accessToken,
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    audience: audienceOf(name),
    scope: scopeOf(name),
  })
  return exchanged.access_token
}

/** A service's own token (client credentials), for another service if one is named. */
export async function clientToken(bank: Bank, clientId: string, service?: string): Promise<string> {
  const config = await asClient(bank, clientId, clientId)
  // The edge is no service to people, but it is one to services.
  const name = service === undefined || service === 'bff' ? service : appName(service)
  const scope = name === undefined ? {} : { scope: scopeOf(name) }
  const tokens = await client.clientCredentialsGrant(config, scope)
  return tokens.access_token
}

function appName(service: string): AppName {
  const found = apps.find(({ name }) => name === service || audienceOf(name) === service)
  if (found === undefined || found.name === 'bff') {
    const names = apps.map(({ name }) => name).filter(name => name !== 'bff')
    throw new Error(`There is no service ${service}. There are: ${names.join(', ')}.`)
  }
  return found.name
}

function passwordOf(status: Status, username: string): string {
  const login = status.logins.find(candidate => candidate.username === username)
  if (login !== undefined) return login.password
  if (status.logins.length === 0) return developmentPassword
  throw new Error(`There is no ${username}. There are: ${status.logins.map(({ username: name }) => name).join(', ')}.`)
}

async function asClient({ status, state }: Bank, clientId: string, keyFile: string): Promise<client.Configuration> {
  const { keys } = await clientKeys(keysFolder(state), keyFile)
  const [jwk] = keys
  if (jwk === undefined) throw new Error(`There is no key for ${clientId} in ${keysFolder(state)}.`)
  const key = (await importJWK(jwk, 'ES256')) as CryptoKey
  const authentication = client.PrivateKeyJwt({ key, ...(jwk.kid === undefined ? {} : { kid: jwk.kid }) })
  const metadata = { id_token_signed_response_alg: 'ES256' }
  return await client.discovery(new URL(status.issuer), clientId, metadata, authentication, {
    // Only ever this machine's own loopback.
    execute: [client.allowInsecureRequests],
  })
}

/** As much of a browser as a login needs: cookies by host, redirects one at a time, one form. */
export class Browser {
  readonly #jars = new Map<string, Map<string, string>>()

  cookie(address: URL, name: string): string | undefined {
    return this.#jars.get(address.hostname)?.get(name)
  }

  async visit(address: URL, form?: URLSearchParams): Promise<Page> {
    const jar = this.#jars.get(address.hostname) ?? new Map<string, string>()
    this.#jars.set(address.hostname, jar)
    const page = await navigate(address, [...jar].map(([name, value]) => `${name}=${value}`).join('; '), form)
    for (const line of page.headers['set-cookie'] ?? []) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (/max-age=0/i.test(line) || value === '') jar.delete(name)
      else jar.set(name, value)
    }
    return page
  }

  /**
   * Goes where the provider sends it, fills in its login form, and stops at the first redirect to `end`.
   * @returns the address of that redirect, not visited
   */
  async logIn(start: URL, username: string, password: string, end: string): Promise<URL> {
    let answer = await this.visit(start)
    let address = start
    let hasAnswered = false
    for (let step = 0; step < 12; step++) {
      const { location } = answer.headers
      if (location !== undefined) {
        address = new URL(location, address)
        if (address.href.startsWith(end)) return address
        answer = await this.visit(address)
        continue
      }
      const page = answer.text
      const action = /<form[^>]*id="kc-form-login"[^>]*action="([^"]+)"/.exec(page)?.[1]
      if (action === undefined || hasAnswered) {
        const said = /class="[^"]*(?:kc-feedback-text|input-error|instruction)[^"]*"[^>]*>\s*([^<]+)/.exec(page)?.[1]
        throw new Error(
          `${username} was not logged in: ${answer.status} at ${address.pathname}: ${said?.trim() ?? page.slice(0, 300)}`,
        )
      }
      hasAnswered = true
      address = new URL(action.replaceAll('&amp;', '&'), address)
      answer = await this.visit(address, new URLSearchParams({ username, password, credentialId: '' }))
    }
    throw new Error(`The login of ${username} goes round in circles at ${address.href}.`)
  }
}

type Page = { status: number; headers: IncomingHttpHeaders; text: string }

/** Asks for a page as a browser's address bar does, which `fetch` cannot: it always calls itself a script. */
async function navigate(address: URL, cookie: string, form?: URLSearchParams): Promise<Page> {
  const { request } = address.protocol === 'https:' ? https : http
  const outgoing = request(address, {
    method: form === undefined ? 'GET' : 'POST',
    agent: false,
    timeout: 30_000,
    headers: {
      accept: 'text/html',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
      ...(cookie === '' ? {} : { cookie }),
      ...(form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
    },
  })
  outgoing.once('timeout', () => outgoing.destroy(new Error(`${address.origin} does not answer.`)))
  outgoing.end(form?.toString())
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]
  return { status: answer.statusCode ?? 0, headers: answer.headers, text: await text(answer) }
}
