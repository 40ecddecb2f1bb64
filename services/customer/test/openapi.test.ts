import t from 'tap'
import { customerApp } from './app.ts'

t.formatSnapshot = (document: object) => JSON.stringify(document, null, 2)

t.test('publishes this document', async t => {
  const { app } = await customerApp(t)
  await app.ready()
  t.matchSnapshot(app.swagger())
})
