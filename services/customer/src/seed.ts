import { readFile } from 'node:fs/promises'
import { loadConfig } from '@banking/config'
import type { Seed } from '@banking/contracts'
import { openDatabase } from '@banking/db'
import Type from 'typebox'
import { register } from './customer-store.ts'
import { readWrappingKeys } from './pii.ts'

/** Days since the people of the story became customers. */
const age = 400

const config = loadConfig(
  Type.Object({
    DATABASE_URL: Type.String({ minLength: 1 }),
    SEED_FILE: Type.String({ minLength: 1 }),
    PII_KEY_FILE: Type.String({ minLength: 1 }),
  }),
)
const seed = JSON.parse(await readFile(config.SEED_FILE, 'utf8')) as Seed
const keys = readWrappingKeys(config.PII_KEY_FILE)
const { sql, close } = openDatabase({ url: config.DATABASE_URL, name: 'customer seed', max: 1 })
try {
  await sql.begin(async transaction => {
    const memberSince = new Date(Date.now() - age * 86_400_000)
    for (const person of seed.people.filter(({ roles }) => roles.includes('customer'))) {
      const { sub: id, givenName, familyName, email, phone, birthDate, address } = person
      const data = { id, givenName, familyName, email, phone, birthDate, address, memberSince }
      await register(transaction, keys, data)
    }
  })
} finally {
  await close()
}
