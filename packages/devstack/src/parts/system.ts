import { access } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { complete } from '../process.ts'
import type { Site } from './part.ts'

/** Debian's names of what the launcher needs of the system; where a release has renamed one, the newest first. */
const packages = {
  java: ['openjdk-21-jre-headless openjdk-17-jre-headless default-jre-headless'],
  maven: ['maven'],
  // What a headless Chromium links to, and letters for it to show.
  chromium: [
    ...['libnss3', 'libnspr4', 'libatk1.0-0t64 libatk1.0-0', 'libatk-bridge2.0-0t64 libatk-bridge2.0-0'],
    ...[
      'libcups2t64 libcups2',
      'libdrm2',
      'libxkbcommon0',
      'libxcomposite1',
      'libxdamage1',
      'libxfixes3',
      'libxrandr2',
    ],
    ...['libgbm1', 'libpango-1.0-0', 'libcairo2', 'libasound2t64 libasound2', 'libatspi2.0-0t64 libatspi2.0-0'],
    ...['libdbus-1-3', 'libexpat1', 'libx11-6', 'libxcb1', 'libxext6', 'fontconfig', 'fonts-liberation'],
  ],
} as const
type Need = keyof typeof packages

export const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

/** First match on PATH. */
export async function onPath(site: Pick<Site, 'environment'>, name: string): Promise<string | undefined> {
  for (const folder of (site.environment['PATH'] ?? '').split(delimiter)) {
    if (folder === '' || folder.includes('node_modules')) continue
    const path = join(folder, name)
    if (await exists(path)) return path
  }
  return undefined
}

/** What to type so that nothing is missing any more, Java and Maven together. */
export async function remedy(site: Site): Promise<string> {
  const wanted = (await onPath(site, 'mvn')) === undefined ? ['java', 'maven'] : ['java']
  if (process.platform === 'darwin')
    return `brew install ${wanted.map(name => (name === 'java' ? 'openjdk@21' : name)).join(' ')}`
  const names = wanted.map(name => (name === 'java' ? 'openjdk-17-jre-headless' : name)).join(' ')
  return `sudo apt-get install -y ${names}   (or your system's own way)`
}

/** One apt at a time: it holds a lock. */
let turn: Promise<unknown> = Promise.resolve()

/**
 * Installs what is missing, where that may be done without asking anybody: as root on a system with apt, which a fresh
 * container is. Elsewhere nothing happens.
 *
 * @throws Error with apt's last lines
 */
export async function installSystemPackages(site: Site, need: Need): Promise<void> {
  const apt = await onPath(site, 'apt-get')
  if (apt === undefined || process.getuid?.() !== 0) return
  const mine = turn.catch(() => undefined).then(() => install(site, apt, packages[need]))
  turn = mine
  await mine
}

async function install(site: Site, apt: string, wanted: readonly string[]): Promise<void> {
  const env = { PATH: site.environment['PATH'], DEBIAN_FRONTEND: 'noninteractive' }
  const ask = (command: string, ...args: string[]): Promise<string> =>
    complete(site.guard, { name: command, command, args, env }).catch(() => '')
  const first = async (names: readonly string[], test: (name: string) => Promise<boolean>) => {
    for (const name of names) if (await test(name)) return name
    return undefined
  }
  const isInstalled = async (name: string) =>
    (await ask('dpkg-query', '--show', '--showformat', `\${Status}`, name)).includes('ok installed')
  const isKnown = async (name: string) => (await ask('apt-cache', 'show', name)) !== ''
  const missing: string[][] = []
  for (const names of wanted.map(text => text.split(' ')))
    if ((await first(names, isInstalled)) === undefined) missing.push(names)
  if (missing.length === 0) return
  site.progress('apt-get', 'reading the lists of packages …')
  await complete(site.guard, { name: 'apt-get update', command: apt, args: ['update', '-qq'], env })
  const chosen: string[] = []
  for (const names of missing) {
    const name = await first(names, isKnown)
    if (name === undefined) throw new Error(`apt-get knows no package ${names.join(' or ')}.`)
    chosen.push(name)
  }
  site.progress('apt-get', `installing ${chosen.join(' ')} …`)
  const args = ['install', '-y', '--no-install-recommends', ...chosen]
  await complete(site.guard, { name: 'apt-get install', command: apt, args, env }, line => {
    if (/^(?:Need to get|Setting up) /.test(line)) site.progress('apt-get', line)
  })
  site.progress('apt-get', `installed ${chosen.join(' ')}`)
}
