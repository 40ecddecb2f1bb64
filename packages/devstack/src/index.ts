export {
  type Bank,
  Browser,
  clientToken,
  type PersonTokens,
  personToken,
  personTokens,
  runningBank,
  signIn,
} from './login.ts'
export { cached } from './parts/artifacts.ts'
export { germanIban, people, seed } from './people.ts'
export { type AppStatus, type PartStatus, readStatus, type Status } from './status.ts'
