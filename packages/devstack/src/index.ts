export { germanIban, people, seed } from './people.ts'
export { readStatus, type Status } from './status.ts'
