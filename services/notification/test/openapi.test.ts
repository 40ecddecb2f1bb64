import t from 'tap'
import { notificationApp } from './app.ts'

t.formatSnapshot = (document: object) => JSON.stringify(document, null, 2)

t.test('publishes this document', async t => {
  const { app } = await notificationApp(t)
  await app.ready()
  t.matchSnapshot(app.swagger())
})
