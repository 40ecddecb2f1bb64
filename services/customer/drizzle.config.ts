import { defineConfig } from 'drizzle-kit'

/** `drizzle-kit generate` compares `tables.ts` with the last snapshot; triggers and grants are custom files. */
export default defineConfig({ dialect: 'postgresql', schema: './src/tables.ts', out: './migrations' })
