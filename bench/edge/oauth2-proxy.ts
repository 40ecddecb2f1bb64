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
 * oauth2-proxy with sessions in Redis and a client of its own at the running Keycloak, and a person logged in there
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
  const forget = await registerClient(status, {
    clientId: 'bench-oauth2-proxy',
    secret,
    redirectUri: `${url}/oauth2/callback`,
  })
  const options = {
    'http-address': `127.0.0.1:${port}`,
    provider: 'oidc',
    'oidc-issuer-url': status.issuer,
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
  const [login] = status.logins
  const back = await browser.logIn(
    new URL('/', url),
    login?.username ?? '',
    login?.password ?? '',
    `${url}/oauth2/callback`,
  )
  await browser.visit(back)
  const cookie = browser.cookie(back, '_oauth2_proxy')
  if (cookie === undefined) throw new Error('oauth2-proxy did not log the person in')
  return { running, port, cookie: `_oauth2_proxy=${cookie}`, forget }
}

/** A confidential client of its own in the running realm. @returns what removes it again */
async function registerClient(
  { issuer, admin }: Status,
  client: { clientId: string; secret: string; redirectUri: string },
): Promise<() => Promise<void>> {
  const at = issuer.indexOf('/realms/')
  const [base, realm] = [issuer.slice(0, at), issuer.slice(at + '/realms/'.length)]
  const ask = async (method: string, path: string, body?: object): Promise<Response> => {
    const credentials = { grant_type: 'password', client_id: 'admin-cli', ...admin }
    const answer = await fetch(`${base}/realms/master/protocol/openid-connect/token`, {
      method: 'POST',
      body: new URLSearchParams(credentials),
    })
    const { access_token } = (await answer.json()) as { access_token: string }
    const done = await fetch(`${base}/admin/realms/${realm}${path}`, {
      method,
      headers: { authorization: `Bearer ${access_token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    if (!done.ok) throw new Error(`Keycloak answered ${done.status} to ${method} ${path}: ${await done.text()}`)
    return done
  }
  const remove = async (): Promise<void> => {
    const found = (await (await ask('GET', `/clients?clientId=${client.clientId}`)).json()) as { id: string }[]
    for (const { id } of found) await ask('DELETE', `/clients/${id}`)
  }
  await remove()
  await ask('POST', '/clients', {
    clientId: client.clientId,
    secret: client.secret,
    redirectUris: [client.redirectUri],
    protocol: 'openid-connect',
    publicClient: false,
    clientAuthenticatorType: 'client-secret',
    standardFlowEnabled: true,
    directAccessGrantsEnabled: false,
    attributes: { 'pkce.code.challenge.method': 'S256' },
    protocolMappers: [
      {
        name: 'audience',
        protocol: 'openid-connect',
        protocolMapper: 'oidc-audience-mapper',
        config: { 'included.client.audience': client.clientId, 'access.token.claim': 'true' },
      },
    ],
  })
  return remove
}
