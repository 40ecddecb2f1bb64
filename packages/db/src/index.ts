export { type Database, openDatabase } from './database.ts'
export { asDatabaseProblem, isUniqueViolation } from './errors.ts'
export { migrate } from './migrate.ts'
