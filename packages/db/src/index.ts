export { type Database, openDatabase } from './database.ts'
export { asDatabaseProblem } from './errors.ts'
export { migrate } from './migrate.ts'
