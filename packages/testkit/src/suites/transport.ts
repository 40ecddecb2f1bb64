import type { Delivery, Transport } from '@banking/messaging'
import type { Test } from 'tap'
import { eventually } from '../eventually.ts'

export type TransportUnderTest = {
  /** Opens a connection of its own each time; all of them see the same topics. */
  open(): Transport
  /** Opens one whose broker cannot be reached. */
  openUnreachable(): Transport
  /** Two topics that exist and are empty. */
  topics: readonly [string, string]
}

const text = (delivery: Delivery): string => String(delivery.value)

/** What every {@link Transport} must do, whatever carries it. */
export async function transportConformance(t: Test, make: (t: Test) => Promise<TransportUnderTest>): Promise<void> {
  await t.test('hands over key, body and headers as they were sent, bytes untouched', async t => {
    const { open, topics } = await make(t)
    const transport = open()
    const body = Buffer.from([0xff, 0x00, 0x7b, 0x22])
    await transport.publish(topics[0], [{ key: 'a', value: body, headers: { reason: 'why' } }])
    const seen: Delivery[] = []
    transport.subscribe({ group: 'g', topics, onEvent: async delivery => void seen.push(delivery) })
    await eventually(() => seen.length === 1)
    t.match(seen[0], { topic: topics[0], key: 'a', headers: { reason: 'why' }, attempt: 1 })
    t.ok(seen[0]?.value?.equals(body))
  })

  await t.test('keeps the order of each key over many publishes', async t => {
    const { open, topics } = await make(t)
    const transport = open()
    const keys = ['a', 'b', 'c', 'd', 'e']
    for (let batch = 0; batch < 20; batch++) {
      const messages = keys.flatMap(key => [0, 1].map(i => ({ key, value: String(batch * 2 + i) })))
      await transport.publish(topics[0], messages)
    }
    // A set: what is published again after a lost acknowledgement comes again, and changes no order.
    const seen = new Map<string, Set<number>>(keys.map(key => [key, new Set()]))
    transport.subscribe({
      group: 'g',
      topics,
      onEvent: async delivery => void seen.get(delivery.key ?? '')?.add(Number(text(delivery))),
    })
    await eventually(() => keys.every(key => (seen.get(key)?.size ?? 0) >= 40))
    for (const key of keys) t.same([...(seen.get(key) ?? [])], [...Array(40).keys()])
  })

  await t.test(
    'gives a message again until its handler has finished, and the later ones of its key only then',
    async t => {
      const { open, topics } = await make(t)
      const transport = open()
      await transport.publish(
        topics[0],
        ['first', 'second'].map(value => ({ key: 'a', value })),
      )
      const seen: string[] = []
      transport.subscribe({
        group: 'g',
        topics,
        onEvent: async delivery => {
          seen.push(`${text(delivery)} ${delivery.attempt}`)
          if (text(delivery) === 'first' && delivery.attempt < 3) throw new Error('not yet')
        },
      })
      await eventually(() => seen.includes('second 1'))
      t.same(seen, ['first 1', 'first 2', 'first 3', 'second 1'])
    },
  )

  await t.test('lets other topics go on while one message keeps failing', async t => {
    const { open, topics } = await make(t)
    const transport = open()
    await transport.publish(topics[0], [{ key: 'a', value: 'stuck' }])
    const seen: string[] = []
    transport.subscribe({
      group: 'g',
      topics,
      onEvent: async delivery => {
        if (text(delivery) === 'stuck') {
          seen.push('stuck')
          throw new Error('never')
        }
        seen.push(text(delivery))
      },
    })
    await eventually(() => seen.includes('stuck'))
    await transport.publish(topics[1], [{ key: 'b', value: 'moving' }])
    await eventually(() => seen.includes('moving'))
    t.ok(seen.filter(it => it === 'stuck').length >= 1)
  })

  await t.test('loses nothing when a consumer ends in the middle of its work', async t => {
    const { open, topics } = await make(t)
    const [writer, first, second] = [open(), open(), open()]
    const sent = [...Array(30).keys()].map(String)
    await writer.publish(
      topics[0],
      sent.map(value => ({ key: value, value })),
    )
    const finished = new Set<string>()
    let reached = false
    first.subscribe({
      group: 'g',
      topics,
      onEvent: async delivery => {
        if (finished.size >= 5) {
          reached = true
          throw new Error('crashed in the middle')
        }
        finished.add(text(delivery))
      },
    })
    await eventually(() => reached)
    await first.close()
    second.subscribe({ group: 'g', topics, onEvent: async delivery => void finished.add(text(delivery)) })
    await eventually(() => sent.every(value => finished.has(value)))
    t.equal(finished.size, 30)
  })

  await t.test('does not give handled messages again to a consumer that comes back', async t => {
    const { open, topics } = await make(t)
    const [writer, first, second] = [open(), open(), open()]
    await writer.publish(topics[0], [{ key: 'a', value: 'before' }])
    const seen: string[] = []
    const onEvent = async (delivery: Delivery) => void seen.push(text(delivery))
    const subscription = first.subscribe({ group: 'g', topics, onEvent })
    await eventually(() => seen.length === 1)
    await subscription.close()
    await writer.publish(topics[0], [{ key: 'a', value: 'after' }])
    second.subscribe({ group: 'g', topics, onEvent })
    await eventually(() => seen.includes('after'))
    t.same(seen, ['before', 'after'])
  })

  await t.test('gives every group its own copy', async t => {
    const { open, topics } = await make(t)
    const transport = open()
    const seen: string[] = []
    for (const group of ['g', 'h'])
      transport.subscribe({ group, topics, onEvent: async delivery => void seen.push(`${group} ${text(delivery)}`) })
    await transport.publish(topics[0], [{ key: 'a', value: 'x' }])
    await eventually(() => seen.length >= 2)
    t.same(seen.sort(), ['g x', 'h x'])
  })

  await t.test('refuses to publish to a topic that does not exist', async t => {
    const { open } = await make(t)
    await t.rejects(open().publish('no-such-topic', [{ key: 'a', value: 'x' }]))
  })

  await t.test('refuses to publish within a bounded time while the broker cannot be reached, and says so', async t => {
    const { openUnreachable, topics } = await make(t)
    const transport = openUnreachable()
    await t.rejects(transport.publish(topics[0], [{ key: 'a', value: 'x' }]))
    await t.rejects(transport.check())
    const handled: string[] = []
    transport.subscribe({ group: 'g', topics, onEvent: async delivery => void handled.push(text(delivery)) })
    await transport.close()
    t.same(handled, [])
  })

  await t.test('waits for the handler at close, then takes no more work', async t => {
    const { open, topics } = await make(t)
    const [writer, reader] = [open(), open()]
    await writer.publish(topics[0], [{ key: 'a', value: 'slow' }])
    const steps: string[] = []
    let release = (): void => {}
    const held = new Promise<void>(resolve => {
      release = resolve
    })
    reader.subscribe({
      group: 'g',
      topics,
      onEvent: async delivery => {
        steps.push(`begin ${text(delivery)}`)
        await held
        steps.push(`end ${text(delivery)}`)
      },
    })
    await eventually(() => steps.length === 1)
    const closing = reader.close()
    await writer.publish(topics[0], [{ key: 'a', value: 'late' }])
    release()
    await closing
    t.same(steps, ['begin slow', 'end slow'])
    await t.rejects(reader.publish(topics[0], [{ key: 'a', value: 'x' }]))
    t.throws(() => reader.subscribe({ group: 'g', topics, onEvent: async () => {} }))
  })

  await t.test('answers the check while all is well', async t => {
    const { open } = await make(t)
    await t.resolves(open().check())
  })
}
