import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { keep } from './keeper.ts'
import { cached, copyFolder } from './parts/artifacts.ts'
import { keycloakPart } from './parts/keycloak.ts'
import type { Part, Site } from './parts/part.ts'
import { clusterFolder, postgresPart, provideDatabase, removeCluster } from './parts/postgres.ts'
import { freePorts } from './ports.ts'
import { provideRealm, type Realm } from './realm.ts'

/**
 * A cluster that already holds Keycloak's tables and the imported realm, made once for each realm and kept: the import
 * takes Keycloak half a minute, a copy less than a second.
 */
export async function goldenCluster(site: Site, realm: Realm | undefined): Promise<string | undefined> {
  if (realm === undefined || site.environment['KEYCLOAK_URL'] !== undefined) return undefined
  return await cached(site, `golden-${realm.hash}`, async draft => {
    site.progress('keycloak', 'making its database and importing the realm, once (about 20 s) …')
    const ports = await freePorts()
    const workshop: Site = { ...site, state: join(site.state, 'golden') }
    await rm(workshop.state, { recursive: true, force: true })
    await mkdir(workshop.state, { recursive: true })
    const postgres = postgresPart(workshop, ports.postgres)
    const keycloak = keycloakPart(workshop, {
      port: ports.keycloak,
      managementPort: ports.keycloakManagement,
      database: async () => {
        await provideDatabase(postgres.url(), 'keycloak', 'keycloak')
        return postgres.url('keycloak', 'keycloak')
      },
    })
    const lift = async (part: Part) => {
      await part.locate()
      const { guard } = site
      const quiet = { guard, name: part.name, onLine: () => {}, onChange: () => {}, say: () => {} }
      const keeper = keep({ ...quiet, program: part.program, answers: part.answers, patience: 180_000, giveUp: true })
      await keeper.started
      return keeper
    }
    const database = await lift(postgres)
    try {
      const server = await lift(keycloak)
      try {
        await provideRealm(keycloak.administrator, realm)
      } finally {
        await server.stop()
      }
    } finally {
      await database.stop()
    }
    await copyFolder(await clusterFolder(workshop.state), draft)
    await removeCluster(workshop.state)
    await rm(workshop.state, { recursive: true, force: true })
  })
}
