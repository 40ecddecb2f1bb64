import { loadConfig, start } from '@banking/config'
import { openDatabase } from '@banking/db'
import Type from 'typebox'
import { verify } from './ledger/verifier-store.ts'

/** Computes the ledger anew beside a running bank, prints what cannot be, and ends with 1 when there is something. */
await start(async () => {
  const { DATABASE_URL } = loadConfig(Type.Object({ DATABASE_URL: Type.String({ minLength: 1 }) }))
  const database = openDatabase({ url: DATABASE_URL, name: 'ledger verify', max: 1 })
  try {
    const { accounts, entries, findings } = await verify(database.sql)
    for (const finding of findings) console.log(JSON.stringify(finding))
    console.log(`${accounts} accounts, ${entries} changes, ${findings.length} findings`)
    if (findings.length > 0) process.exitCode = 1
  } finally {
    await database.close()
  }
})
