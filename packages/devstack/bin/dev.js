#!/usr/bin/env node
import process from 'node:process'
import { check } from './check.js'

check()
const { main } = await import('../src/dev.ts')
await main(process.argv.slice(2))
