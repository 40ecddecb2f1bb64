export { type TestDatabase, testDatabase } from './database.ts'
export { type TestIssuer, testIssuer } from './issuer.ts'
export { testLogger } from './logger.ts'
export { type Part, parts, type Stack, stack } from './parts.ts'
