import t from 'tap'
import Type from 'typebox'
import { ConfigError, loadConfig } from '../src/index.ts'

const Schema = Type.Object({
  PORT: Type.Integer({ minimum: 1, maximum: 65535, default: 3000 }),
  ISSUER: Type.String({ pattern: '^https?://', description: 'a URL' }),
  SECRET: Type.String({ minLength: 16 }),
})

t.test('converts, fills in defaults and freezes', async t => {
  const config = loadConfig(Schema, { ISSUER: 'https://id.example', SECRET: 'x'.repeat(16), PORT: '8080', HOME: '/' })
  t.same(config, { PORT: 8080, ISSUER: 'https://id.example', SECRET: 'x'.repeat(16) })
  t.ok(Object.isFrozen(config))
  t.equal(loadConfig(Schema, { ISSUER: 'https://id.example', SECRET: 'x'.repeat(16), PORT: '' }).PORT, 3000)
})

t.test('names every wrong variable at once and never shows a value', async t => {
  try {
    loadConfig(Schema, { ISSUER: 'ftp://x', PORT: 'eighty', SECRET: 'tooshort' })
    t.fail('accepted an unusable configuration')
  } catch (error) {
    t.ok(error instanceof ConfigError)
    const { message } = error as ConfigError
    for (const name of ['ISSUER', 'PORT', 'SECRET']) t.match(message, name)
    t.match(message, 'ISSUER must be a URL', 'a pattern in words')
    t.notMatch(message, 'tooshort')
  }
  t.throws(() => loadConfig(Schema, { SECRET: 'x'.repeat(16) }), { message: /ISSUER is not set/ })
})
