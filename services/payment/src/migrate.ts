import { join } from 'node:path'
import { loadConfig, start } from '@banking/config'
import { migrate } from '@banking/db'
import Type from 'typebox'

await start(async () => {
  const { DATABASE_URL } = loadConfig(Type.Object({ DATABASE_URL: Type.String({ minLength: 1 }) }))
  await migrate({ url: DATABASE_URL, folder: join(import.meta.dirname, '../migrations') })
})
