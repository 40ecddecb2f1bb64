import { join, resolve } from 'node:path'
import { apps } from '@banking/contracts'
import { appFolders } from './apps.ts'
import { type Flag, help, readFlags, unknown } from './flags.ts'
import { partNames } from './parts/part.ts'
import { chosen, type Plan, readReplicas } from './plan.ts'
import { developmentPorts, mostReplicas } from './ports.ts'
import { ignoreBrokenPipe, watchParents } from './process.ts'
import { type Stack, startStack } from './stack.ts'
import type { Status } from './status.ts'
import { type Terminal, terminal } from './terminal.ts'

export const root = resolve(import.meta.dirname, '../../..')
export const developmentState = join(root, '.dev')

const flags: Record<string, Flag> = {
  only: { value: 'a,b', text: 'start only these parts and apps, with what they need' },
  ci: { text: 'exit with 0 once everything is healthy, after stopping it again' },
  reset: { text: 'forget all data first: back to the seeded state' },
  'token-seconds': { value: 'N', text: 'lifetime of access tokens (default: as the realm says, 300)' },
  rotate: { text: 'refresh tokens are good for one use' },
  replicas: {
    value: 'bff=N',
    text: `run N processes of the edge (1 to ${mostReplicas}) behind a round-robin at its address`,
  },
  help: { text: 'this text' },
}

const usage = `Starts the whole bank on this machine: parts, databases, apps, pages.

  npx -y pnpm@10.34.9 dev [flags]

Addresses in the environment are used instead of starting a part: POSTGRES_URL (a superuser's), REDIS_URL,
KAFKA_BROKERS, KEYCLOAK_URL with KEYCLOAK_ADMIN_USERNAME and KEYCLOAK_ADMIN_PASSWORD. NO_COLOR turns colours off.`

/** `pnpm dev`. */
export async function main(args: readonly string[]): Promise<void> {
  const screen = terminal()
  ignoreBrokenPipe(process.stdout, process.stderr)
  try {
    const given = readFlags(args, flags)
    if (given.switches.has('help')) return screen.say(help(usage, flags))
    const plan = planOf(given.values, given.switches, given.rest)
    await live(plan, given.switches.has('ci'), screen)
  } catch (error) {
    screen.say(screen.style('red', (error as Error).message))
    process.exitCode = 1
  }
  process.exit()
}

function planOf(values: Map<string, string>, switches: Set<string>, rest: readonly string[]): Plan {
  if (rest.length > 0)
    throw new Error(
      `${unknown(
        String(rest[0]),
        Object.keys(flags).map(name => `--${name}`),
      )}`,
    )
  const names = (values.get('only') ?? '').split(',').filter(name => name !== '')
  const known = [...partNames, ...appFolders(root).map(({ name }) => name)]
  for (const name of names) if (!(known as string[]).includes(name)) throw new Error(unknown(name, known))
  const seconds = values.get('token-seconds')
  if (seconds !== undefined && !/^[1-9]\d{0,4}$/.test(seconds)) {
    throw new Error(`--token-seconds needs a whole number of seconds, not ${seconds}.`)
  }
  return {
    root,
    state: developmentState,
    ports: developmentPorts,
    ...chosen(root, names),
    replicas: readReplicas(values.get('replicas')) ?? 1,
    tokenSeconds: seconds === undefined ? undefined : Number(seconds),
    rotate: switches.has('rotate'),
    watch: !switches.has('ci'),
    fresh: switches.has('reset'),
  }
}

async function live(plan: Plan, isCheck: boolean, screen: Terminal): Promise<void> {
  const end = untilAsked()
  const begin = performance.now()
  const starting = startStack(plan, screen)
  const stack = await Promise.race([starting, end.asked.then(() => undefined)])
  if (stack === undefined) {
    // Asked to stop while still looking for the parts: there is at most a download, which the guard ends.
    process.exitCode = 130
    return
  }
  try {
    const outcome = await Promise.race([
      stack.healthy.then(() => 'healthy' as const),
      end.asked.then(() => 'asked' as const),
    ]).catch((error: Error) => {
      screen.say(screen.style('red', error.message))
      return 'failed' as const
    })
    if (outcome !== 'asked') summary(stack.status(), screen, performance.now() - begin)
    const isFatal = outcome === 'failed' && (isCheck || partsFailed(stack, plan))
    if (isFatal) process.exitCode = 1
    else if (!isCheck && outcome !== 'asked') await end.asked
  } finally {
    screen.say('Stopping …')
    await stack.stop()
    screen.say('Everything is stopped.')
  }
}

/** An app that does not start may be mended while the rest runs; a part that does not start may not. */
const partsFailed = (stack: Stack, plan: Plan): boolean =>
  plan.parts.some(name => !stack.status().parts.some(part => part.name === name && part.readyMs > 0))

/** Resolves when a signal or the end of a parent process asks us to stop; the second signal ends us at once. */
export function untilAsked(): { asked: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>()
  let count = 0
  const ask = () => {
    if (count++ > 0) process.exit(130) // the guard does the rest
    resolve()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, ask)
  watchParents(resolve)
  return { asked: promise }
}

function summary(status: Status, screen: Terminal, elapsed: number): void {
  const { style } = screen
  const known = new Map<string, string>(apps.map(({ name, summary }) => [name, summary]))
  screen.say('')
  screen.table(
    ['part', 'program', 'from', 'address', 'ready in'],
    [
      ...status.parts.map(part => [
        style('bold', part.name),
        `${part.program} ${part.version}`,
        part.kind === 'external' ? `your ${part.source}` : part.source,
        part.url.replace(/:[^:@/]*@/, ':…@'),
        part.readyMs > 0 ? `${part.readyMs} ms` : style('red', 'not ready'),
      ]),
      ...status.apps.map(({ name, url, readyMs }) => [
        style('bold', name),
        known.get(name.replace(/-\d$/, '')) ?? '',
        /^bff/.test(name) ? 'bff' : `services/${name}`,
        url,
        readyMs > 0 ? `${readyMs} ms` : style('red', 'not ready'),
      ]),
    ],
  )
  screen.say('')
  if (status.parts.some(({ name }) => name === 'keycloak')) {
    screen.table(
      ['login', 'password', 'may', 'for'],
      status.logins.map(({ username, password, roles, note }) => [
        style('bold', username),
        password,
        roles.join(', '),
        note,
      ]),
    )
    screen.say(
      `\nKeycloak's console: ${status.issuer.replace('/realms/banking', '/admin')} as ${status.admin.username}, password ${status.admin.password}`,
    )
  }
  const seconds = (elapsed / 1000).toFixed(1)
  if (!status.ready) screen.say(style('yellow', `\nNot everything is ready after ${seconds} s: see above.`))
  else if (status.apps.some(({ name }) => /^bff/.test(name))) {
    screen.say(`\nReady after ${seconds} s. Open ${style('bold', status.baseUrl)}   (Ctrl-C stops everything)`)
  } else screen.say(`\nReady after ${seconds} s.   (Ctrl-C stops everything)`)
}
