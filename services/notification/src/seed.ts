import { readFile } from 'node:fs/promises'
import { loadConfig } from '@banking/config'
import type { Seed } from '@banking/contracts'
import { openDatabase } from '@banking/db'
import Type from 'typebox'
import { v5 as uuidv5 } from 'uuid'
import { deliver } from './notification-store.ts'
import { welcome } from './templates.ts'

/** One id per person for the welcome, so that a second run finds it told. */
const welcomes = '5c3f2f0a-6d0e-4a53-9f4e-0c8f3c1f7e11'

const config = loadConfig(
  Type.Object({ DATABASE_URL: Type.String({ minLength: 1 }), SEED_FILE: Type.String({ minLength: 1 }) }),
)
const seed = JSON.parse(await readFile(config.SEED_FILE, 'utf8')) as Seed
const { sql, close } = openDatabase({ url: config.DATABASE_URL, name: 'notification seed', max: 1 })
try {
  await sql.begin(async transaction => {
    const time = new Date().toISOString()
    for (const { sub } of seed.people.filter(person => person.roles.includes('customer')))
      await deliver(transaction, { id: uuidv5(sub, welcomes), time }, [welcome(sub)])
  })
} finally {
  await close()
}
