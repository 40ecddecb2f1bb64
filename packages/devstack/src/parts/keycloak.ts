import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { complete, type Program } from '../process.ts'
import { cached, fetchArtifact, java, megabytes, unzip } from './artifacts.ts'
import { developmentPassword, type Origin, type Part, type Site } from './part.ts'

export const keycloakVersion = '26.7.3'

export type Administrator = { url: string; username: string; password: string }

export type KeycloakPart = Part & {
  url: string
  /** The account of Keycloak's own console and admin API. */
  administrator: Administrator
}

/**
 * Keycloak's Quarkus distribution from Maven, built once for PostgreSQL and kept.
 * @param options.database makes its database if need be and gives the address as `postgres://user:password@host:port/name`
 * @param options.prepare brings the realm into the state this run wants
 */
export function keycloakPart(
  site: Site,
  options: {
    port: number
    managementPort: number
    database: () => Promise<string>
    prepare?: (administrator: Administrator) => Promise<void>
  },
): KeycloakPart {
  const external = site.environment['KEYCLOAK_URL']?.replace(/\/+$/, '')
  const url = external ?? `http://127.0.0.1:${options.port}`
  const { prepare } = options
  const administrator = {
    url,
    username: (external && site.environment['KEYCLOAK_ADMIN_USERNAME']) || 'admin',
    password: (external && site.environment['KEYCLOAK_ADMIN_PASSWORD']) || developmentPassword,
  }
  const ready =
    external === undefined ? `http://127.0.0.1:${options.managementPort}/health/ready` : `${url}/realms/master`
  let runtime = ''
  let home = ''

  return {
    name: 'keycloak',
    needs: external === undefined ? ['postgres'] : [],
    ports: external === undefined ? [options.port, options.managementPort] : [],
    url,
    administrator,
    async locate(): Promise<Origin> {
      if (external !== undefined) {
        return { kind: 'external', program: 'Keycloak', version: '', source: 'KEYCLOAK_URL', url }
      }
      runtime = await java(site)
      home = await cached(site, `keycloak-${keycloakVersion}`, folder => fetchServer(site, runtime, folder))
      const source = 'Maven keycloak-quarkus-dist'
      return { kind: 'real', program: 'Keycloak', version: keycloakVersion, source, url }
    },
    async program(): Promise<Program> {
      const folder = join(site.state, 'keycloak')
      await mkdir(folder, { recursive: true })
      const database = new URL(await options.database())
      const settings = {
        'http-enabled': true,
        'http-host': '127.0.0.1',
        'http-port': options.port,
        'http-pool-max-threads': 16,
        hostname: url,
        'http-management-host': '127.0.0.1',
        'http-management-port': options.managementPort,
        cache: 'local',
        'db-url': `jdbc:postgresql://${database.host}${database.pathname}`,
        'db-pool-initial-size': 2,
        'db-pool-min-size': 2,
        'db-pool-max-size': 12,
        'log-level': 'warn',
      }
      const args = Object.entries(settings).map(([name, value]) => `--${name}=${value}`)
      return {
        name: 'keycloak',
        command: runtime,
        args: [...javaOptions(home), ...entryPoint(home), 'start', '--optimized', ...args],
        cwd: folder,
        env: {
          KC_BOOTSTRAP_ADMIN_USERNAME: administrator.username,
          KC_BOOTSTRAP_ADMIN_PASSWORD: administrator.password,
          KC_DB_USERNAME: decodeURIComponent(database.username),
          KC_DB_PASSWORD: decodeURIComponent(database.password),
        },
      }
    },
    async answers() {
      const answer = await fetch(ready, { signal: AbortSignal.timeout(3_000) })
      if (!answer.ok) throw new Error(`${ready} answers ${answer.status}`)
    },
    ...(prepare === undefined ? {} : { prepare: () => prepare(administrator) }),
  }
}

/** What bin/kc.sh passes, with a small heap and quick start; run directly so that the pid is Java's own. */
function javaOptions(home: string): string[] {
  const opens = ['java.util', 'java.util.concurrent', 'java.security', 'java.lang']
  return [
    ...['-Xms96m', '-Xmx400m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'],
    ...['-XX:MetaspaceSize=96M', '-XX:MaxMetaspaceSize=256m', '-XX:+ExitOnOutOfMemoryError'],
    ...opens.map(name => `--add-opens=java.base/${name}=ALL-UNNAMED`),
    '--enable-native-access=ALL-UNNAMED',
    ...['-Dfile.encoding=UTF-8', '-Duser.language=en', '-Duser.country=US', '-Djava.security.egd=file:/dev/urandom'],
    '-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory',
    '-Djava.util.logging.manager=org.jboss.logmanager.LogManager',
    ...[`-Dkc.home.dir=${home}`, `-Djboss.server.config.dir=${join(home, 'conf')}`],
    // After a restart of PostgreSQL each pooled connection would fail one request first.
    '-Dquarkus.datasource.jdbc.foreground-validation-interval=250ms',
    ...['-Dpicocli.disable.closures=true', '-Dquarkus-log-max-startup-records=10000'],
  ]
}

const entryPoint = (home: string): string[] => [
  '-cp',
  join(home, 'lib', 'quarkus-run.jar'),
  'io.quarkus.bootstrap.runner.QuarkusEntryPoint',
]

async function fetchServer(site: Site, runtime: string, folder: string): Promise<void> {
  const artifact = `org.keycloak:keycloak-quarkus-dist:${keycloakVersion}:zip`
  const zip = await fetchArtifact(site, 'keycloak', artifact, folder)
  site.progress('keycloak', `unpacking ${await megabytes(zip)} MB`)
  await unzip(zip, folder, entry => entry.replace(/^[^/]+\//, ''))
  await rm(zip)
  site.progress('keycloak', 'building it for PostgreSQL, once (about 20 s) …')
  const args = ['build', '--db=postgres', '--health-enabled=true', '--metrics-enabled=true']
  await complete(site.guard, {
    name: 'keycloak build',
    command: runtime,
    args: [...javaOptions(folder), ...entryPoint(folder), ...args],
    cwd: folder,
  })
}
