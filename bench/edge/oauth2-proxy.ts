import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Browser, type Status } from '../../packages/devstack/src/index.ts'
import { answering, cores, findProgram, freePort, type Running, run } from './programs.ts'

const version = '7.15.4'

/** oauth2-proxy from the Go module, built once and kept. @returns undefined with a remedy on the console without Go */
export async function oauth2Proxy(): Promise<string | undefined> {
  const program = join(homedir(), '.cache/zero-trust-banking', `oauth2-proxy-${version}`, 'oauth2-proxy')
  if (existsSync(program)) return program
  const go = findProgram('go')
  if (go === undefined) {
    console.log('oauth2-proxy skipped: install Go (https://go.dev/dl), it is built from its module')
    return undefined
  }
  console.log(`building oauth2-proxy ${version}, once (about a minute) …`)
  const folder = await mkdtemp(join(tmpdir(), 'oauth2-proxy-'))
  const name = 'github.com/oauth2-proxy/oauth2-proxy/v7'
  await writeFile(join(folder, 'go.mod'), `module bench\n\ngo 1.24\n\nrequire ${name} v${version}\n`)
  const built = join(folder, 'oauth2-proxy')
  await promisify(execFile)(go, ['build', '-mod=mod', '-o', built, name], { cwd: folder, maxBuffer: 1 << 26 })
  await mkdir(join(program, '..'), { recursive: true })
  await rename(built, program)
  await rm(folder, { recursive: true, force: true })
  return program
}

/**
 * oauth2-proxy with sessions in Redis and a realm of its own in the running Keycloak, and a person logged in there
 * by the login form. It passes the access token on, as the edge does.
 *
 * @returns the running program, its address and the cookies of the person
 */
export async function startOauth2Proxy(
  folder: string,
  program: string,
  place: { status: Status; redis: string; upstream: string },
): Promise<{ running: Running; port: number; cookie: string; forget: () => Promise<void> }> {
  const { status } = place
  const port = await freePort()
  const url = `http://localhost:${port}`
  const secret = randomBytes(24).toString('base64url')
  const { issuer, forget } = await provideRealm(status, { secret, redirectUri: `${url}/oauth2/callback` })
  const options = {
    'http-address': `127.0.0.1:${port}`,
    provider: 'oidc',
    'oidc-issuer-url': issuer,
    'client-id': 'bench-oauth2-proxy',
    'client-secret': secret,
    'redirect-url': `${url}/oauth2/callback`,
    'code-challenge-method': 'S256',
    'email-domain': '*',
    'insecure-oidc-allow-unverified-email': 'true',
    'skip-provider-button': 'true',
    'cookie-secret': randomBytes(16).toString('hex'),
    'cookie-secure': 'false',
    'cookie-expire': '8h',
    'session-store-type': 'redis',
    'redis-connection-url': place.redis,
    'pass-access-token': 'true',
    upstream: place.upstream,
  }
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`)
  const running = run(folder, 'oauth2-proxy', cores.tested, [program, ...args])
  await answering(`${url}/ping`)
  const browser = new Browser()
  const back = await browser.logIn(new URL('/', url), person.username, person.password, `${url}/oauth2/callback`)
  await browser.visit(back)
  const cookie = browser.cookie(back, '_oauth2_proxy')
  if (cookie === undefined) throw new Error('oauth2-proxy did not log the person in')
  return { running, port, cookie: `_oauth2_proxy=${cookie}`, forget }
}

const person = { username: 'bench', password: randomBytes(12).toString('base64url') }

/**
 * A realm of its own in the running Keycloak: the bank's takes clients with a key only, and oauth2-proxy has a secret.
 *
 * @returns its issuer, and what removes it again
 */
async function provideRealm(
  { issuer, admin }: Status,
  client: { secret: string; redirectUri: string },
): Promise<{ issuer: string; forget: () => Promise<void> }> {
  const base = issuer.slice(0, issuer.indexOf('/realms/'))
  const realm = 'bench-oauth2-proxy'
  const ask = async (method: string, path: string, body?: object): Promise<Response> => {
    const answer = await fetch(`${base}/realms/master/protocol/openid-connect/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'password', client_id: 'admin-cli', ...admin }),
    })
    const { access_token } = (await answer.json()) as { access_token: string }
    return fetch(`${base}/admin/realms${path}`, {
      method,
      headers: { authorization: `Bearer ${access_token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  }
  const forget = async (): Promise<void> => {
    await ask('DELETE', `/${realm}`)
  }
  await forget()
  const made = await ask('POST', '', {
    realm,
    enabled: true,
    sslRequired: 'none',
    // No refresh falls into a measurement.
    accessTokenLifespan: 3600,
    users: [
      {
        username: person.username,
        enabled: true,
        firstName: 'Alice',
        lastName: 'Adams',
        email: 'alice@example.test',
        emailVerified: true,
        credentials: [{ type: 'password', value: person.password, temporary: false }],
      },
    ],
    clients: [
      {
        clientId: realm,
        secret: client.secret,
        redirectUris: [client.redirectUri],
        publicClient: false,
        protocolMappers: [
          {
            name: 'audience',
            protocol: 'openid-connect',
            protocolMapper: 'oidc-audience-mapper',
            config: { 'included.client.audience': realm, 'access.token.claim': 'true', 'id.token.claim': 'false' },
          },
        ],
      },
    ],
  })
  if (!made.ok) throw new Error(`Keycloak answered ${made.status} to a new realm: ${await made.text()}`)
  return { issuer: `${base}/realms/${realm}`, forget }
}
