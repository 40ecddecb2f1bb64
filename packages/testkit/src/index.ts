export { type TestDatabase, testDatabase } from './database.ts'
export { eventually } from './eventually.ts'
export { type TestIssuer, testIssuer } from './issuer.ts'
export { testLogger } from './logger.ts'
export { type Part, parts, type Stack, stack } from './parts.ts'
export { type Proxy, testProxy } from './proxy.ts'
export {
  type SessionStoreShape,
  type SessionStoreUnderTest,
  sessionStoreConformance,
} from './suites/session-store.ts'
export { type TransportUnderTest, transportConformance } from './suites/transport.ts'
export { type TestTransport, testTransport } from './transport.ts'
