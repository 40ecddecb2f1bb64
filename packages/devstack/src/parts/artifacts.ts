import { createWriteStream } from 'node:fs'
import { chmod, cp, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import yauzl, { type Entry, type Options, type ZipFile } from 'yauzl'
import { complete } from '../process.ts'
import type { Site } from './part.ts'
import { exists, installSystemPackages, onPath, remedy } from './system.ts'

/** The one folder that keeps what was fetched, shared by all clones of the project. */
function cacheFolder(environment: Site['environment']): string {
  return join(environment['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'zero-trust-banking')
}

/**
 * A folder of the cache, made by `fill` if it is not there. It appears at once and whole: a run that is killed half-way
 * leaves nothing that looks finished, and two runs at once end with one of the two.
 * @param name includes the version
 */
export async function cached(
  site: Pick<Site, 'environment'>,
  name: string,
  fill: (folder: string) => Promise<void>,
): Promise<string> {
  const target = join(cacheFolder(site.environment), name)
  if (await exists(target)) return target
  const draft = `${target}.${process.pid}.part`
  await rm(draft, { recursive: true, force: true })
  await mkdir(draft, { recursive: true })
  try {
    await fill(draft)
    await rename(draft, target)
  } catch (error) {
    const filledByAnother = await exists(target)
    if (!filledByAnother) throw error
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
  return target
}

/** Copies a data folder, by reference where the file system can. */
export async function copyFolder(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true, mode: 2 /* FICLONE */ })
}

/**
 * The Java that runs Kafka and Keycloak; installed where that may be done.
 * @throws Error with the remedy when there is none, or only an older one
 */
export async function java(site: Site): Promise<string> {
  const home = site.environment['JAVA_HOME']
  const own = home === undefined ? undefined : join(home, 'bin', 'java')
  if ((own === undefined || !(await exists(own))) && (await onPath(site, 'java')) === undefined)
    await installSystemPackages(site, 'java')
  const candidates = [own, await onPath(site, 'java')]
  const install = await remedy(site)
  for (const path of candidates) {
    if (path === undefined || !(await exists(path))) continue
    const text = await complete(site.guard, { name: 'java', command: path, args: ['-version'] }).catch(() => '')
    const version = /version "(?:1\.)?(\d+)/.exec(text)?.[1]
    if (version === undefined) continue
    if (Number(version) >= 17) return path
    throw new Error(`Java ${version} is too old: Kafka and Keycloak need 17 or later. Install one: ${install}`)
  }
  throw new Error(`Java is missing: Kafka and Keycloak need it (17 or later). Install it: ${install}`)
}

/**
 * Runs Maven in a folder with a file that names what to fetch.
 * @throws Error with the remedy when Maven is missing or does not get it
 */
async function maven(site: Site, source: string, folder: string, args: readonly string[]): Promise<void> {
  if ((await onPath(site, 'mvn')) === undefined) await installSystemPackages(site, 'maven')
  const command = await onPath(site, 'mvn')
  if (command === undefined)
    throw new Error(`Maven is missing: it fetches ${source}. Install it: ${await remedy(site)}`)
  site.progress(source, 'fetching with Maven …')
  let lastTold = 0
  const onLine = (line: string) => {
    // "Progress (2): 1.2/45 MB | 3.1/177 MB"
    const sizes = /Progress \(\d+\): (.+)/.exec(line.split('\r').at(-1) ?? '')?.[1]
    if (sizes === undefined || Date.now() - lastTold < 500) return
    lastTold = Date.now()
    site.progress(source, `fetching ${sizes.trim()}`)
  }
  try {
    const env = { JAVA_HOME: site.environment['JAVA_HOME'], MAVEN_OPTS: site.environment['MAVEN_OPTS'] }
    await complete(site.guard, { name: 'mvn', command, args, cwd: folder, env }, onLine)
  } catch (cause) {
    const said = (cause as Error).message.split('\n').filter(line => line.includes('[ERROR]'))
    throw new Error(
      [
        `Maven did not get ${source}:`,
        ...said.slice(0, 4),
        'Is there a way to Maven Central, or a mirror in settings.xml?',
      ].join('\n  '),
      { cause },
    )
  }
}

/** Fetches one artifact ("group:name:version[:type]") into a folder. */
export async function fetchArtifact(site: Site, source: string, artifact: string, folder: string): Promise<string> {
  const goal = 'dependency:copy'
  await maven(site, source, folder, [goal, `-Dartifact=${artifact}`, `-DoutputDirectory=${folder}`])
  const [, name = ''] = artifact.split(':')
  const file = (await readdir(folder)).find(entry => entry.startsWith(name))
  if (file === undefined) throw new Error(`Maven said it had fetched ${artifact}, but it is not there.`)
  return join(folder, file)
}

/** Fetches artifacts and all they depend on into `folder/lib`. */
export async function fetchLibraries(
  site: Site,
  source: string,
  artifacts: readonly string[],
  folder: string,
): Promise<void> {
  const dependencies = artifacts.map(artifact => {
    const [group, name, version] = artifact.split(':')
    return `<dependency><groupId>${group}</groupId><artifactId>${name}</artifactId><version>${version}</version></dependency>`
  })
  const project = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local.banking</groupId><artifactId>development</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>${dependencies.join('\n')}</dependencies></project>`
  await writeFile(join(folder, 'pom.xml'), project)
  const goal = 'dependency:copy-dependencies'
  await maven(site, source, folder, [goal, `-DoutputDirectory=${join(folder, 'lib')}`, '-DincludeScope=runtime'])
}

/** Unpacks the entries of a zip that `wanted` gives a relative path for, keeping their permission to run. */
export async function unzip(
  file: string,
  folder: string,
  wanted: (entry: string) => string | undefined,
): Promise<void> {
  const zip = await promisify<string, Options, ZipFile>(yauzl.open)(file, { lazyEntries: true })
  const open = promisify(zip.openReadStream.bind(zip))
  await new Promise<void>((resolve, reject) => {
    zip.on('error', reject)
    zip.on('end', resolve)
    zip.on('entry', (entry: Entry) => {
      extract(entry).then(() => zip.readEntry(), reject)
    })
    zip.readEntry()
  })

  async function extract(entry: Entry): Promise<void> {
    const path = wanted(entry.fileName)
    if (path === undefined || entry.fileName.endsWith('/')) return
    const target = join(folder, path)
    await mkdir(dirname(target), { recursive: true })
    await pipeline(await open(entry), createWriteStream(target))
    if (((entry.externalFileAttributes >>> 16) & 0o111) !== 0) await chmod(target, 0o755)
  }
}

/** Size of a file in whole megabytes, for messages. */
export const megabytes = async (file: string): Promise<number> => Math.round((await stat(file)).size / 1e6)
