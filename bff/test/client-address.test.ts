import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { addressBlock, clientAddress, siteOf, trustedProxies } from '../src/admission/client-address.ts'

const own = trustedProxies(['10.4.0.0/16', 'fd00:4::/32', '192.0.2.7'])

t.test('believes nobody when no proxy is configured', t => {
  const none = trustedProxies([])
  for (const peer of ['203.0.113.9', '127.0.0.1', '10.4.0.1', '::1', 'fd00:4::1'])
    t.equal(clientAddress(peer, ['198.51.100.1'], none), peer)
  t.end()
})

t.test('takes the rightmost address that is not a trusted proxy’s', t => {
  for (const [peer, fields, client] of [
    ['203.0.113.9', ['198.51.100.1'], '203.0.113.9'],
    ['10.4.0.1', [], '10.4.0.1'],
    ['10.4.0.1', ['203.0.113.9'], '203.0.113.9'],
    ['10.4.0.1', ['198.51.100.66, 203.0.113.9'], '203.0.113.9'],
    ['10.4.0.1', ['198.51.100.66, 203.0.113.9, 10.4.9.9'], '203.0.113.9'],
    ['10.4.0.1', ['198.51.100.66', '203.0.113.9', '10.4.9.9'], '203.0.113.9'],
    ['10.4.0.1', ['203.0.113.9', '198.51.100.66'], '198.51.100.66'],
    ['10.4.0.1', ['10.4.0.2, 192.0.2.7'], '10.4.0.2'],
    ['::ffff:10.4.0.1', ['203.0.113.9'], '203.0.113.9'],
    ['::ffff:0a04:0001', ['203.0.113.9'], '203.0.113.9'],
    ['fd00:4::1%eth0', ['2001:db8::1'], '2001:db8::1'],
    ['10.4.0.1', ['203.0.113.9:4711'], '203.0.113.9'],
    ['10.4.0.1', ['[2001:db8::1]:4711'], '2001:db8::1'],
    ['10.4.0.1', ['[2001:db8::1]'], '2001:db8::1'],
    ['10.4.0.1', ['::ffff:203.0.113.9'], '203.0.113.9'],
    ['10.4.0.1', ['\t 203.0.113.9 \t'], '203.0.113.9'],
  ] as const)
    t.equal(clientAddress(peer, fields, own), client, `${peer} ${fields.join(' | ')}`)
  t.end()
})

t.test('stops at what is no address: then the proxy that passed it on is the client', t => {
  for (const entry of [
    '',
    'unknown',
    '_hidden',
    'localhost',
    '203.0.113',
    '203.0.113.9.1',
    '0203.0.113.9',
    '203.0.113.256',
    '0xcb.0.113.9',
    '3405803785',
    '203.0.113.9/32',
    '[203.0.113.9]',
    '203.0.113.9:',
    '203.0.113.9:123456',
    '2001:db8::1%eth0',
    '[2001:db8::1%25eth0]',
    '2001:db8:::1',
    '"203.0.113.9"',
    'for=203.0.113.9',
    '203.0.113.9 198.51.100.1',
    '203.0.113.9;',
    '\u0000',
  ]) {
    t.equal(clientAddress('10.4.0.1', [`198.51.100.1, ${entry}`], own), '10.4.0.1', JSON.stringify(entry))
    t.equal(clientAddress('10.4.0.1', [`198.51.100.1, ${entry}, 10.4.0.2`], own), '10.4.0.2', JSON.stringify(entry))
  }
  t.equal(clientAddress('10.4.0.1', [Array(5_000).fill('10.4.0.3').join()], own), '10.4.0.3', 'a list without an end')
  t.end()
})

t.test('trusts no range that holds strangers, and none that says something else than it means', t => {
  for (const range of [
    '*',
    '',
    'all',
    'any',
    'localhost',
    'proxy.example',
    '0.0.0.0/0',
    '::/0',
    '0.0.0.0/1',
    '128.0.0.0/1',
    '8.0.0.0/7',
    '2000::/3',
    '::ffff:0:0/96',
    '::ffff:10.0.0.0/8',
    '::ffff:10.0.0.0/104',
    '::FFFF:a00:0/104',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/8 ',
    '10.1.2.3/8',
    'fd00::1/64',
    '10.0.0.0/255.0.0.0',
    '10.0.0',
    '10.0.0.*',
    '10.4.0.1:80',
    'fe80::1%eth0',
    'http://10.4.0.1',
  ])
    t.throws(() => trustedProxies([range]), { message: JSON.stringify(range) }, range)
  for (const range of ['10.0.0.0/8', 'fd00::/8', '10.4.0.1', '10.4.0.1/32', '172.16.0.0/12', '2001:db8::/32', '::1'])
    t.doesNotThrow(() => trustedProxies([range]), range)
  t.end()
})

t.test('counts an IPv6 customer by the /64 and every spelling of an address as one', t => {
  const block = (peer: string) => addressBlock(clientAddress(peer, [], own))
  for (const peer of [
    '2001:db8::1',
    '2001:DB8:0::ffff',
    '2001:db8:0:0:1:2:3:4',
    '2001:0db8:0000::192.0.2.1',
    '2001:db8::5%eth0',
  ])
    t.equal(block(peer), '2001:db8:0:0::/64', peer)
  t.not(block('2001:db8:0:1::1'), block('2001:db8:0:0::1'))
  for (const peer of ['203.0.113.9', '::ffff:203.0.113.9', '::ffff:cb00:7109', '0:0:0:0:0:FFFF:CB00:7109'])
    t.equal(block(peer), '203.0.113.9', peer)
  t.end()
})

t.test('knows the /48 that a block of IPv6 lies in, and none of an IPv4 address', t => {
  for (const address of ['2001:db8:5::1', '2001:DB8:0005:ffff::1', '2001:db8:5:1:2:3:4:5'])
    t.equal(siteOf(addressBlock(address)), '2001:db8:5::/48', address)
  t.equal(siteOf(addressBlock('::1')), '0:0:0::/48')
  t.not(siteOf(addressBlock('2001:db8:5::1')), siteOf(addressBlock('2001:db8:6::1')))
  t.equal(siteOf(addressBlock('203.0.113.9')), undefined)
  t.end()
})

t.test('nothing else in the product reads a forwarded field', t => {
  const root = join(import.meta.dirname, '../..')
  const folders = [
    'bff/src',
    ...['packages', 'services'].flatMap(at => readdirSync(join(root, at)).map(name => `${at}/${name}/src`)),
  ]
  const readers = folders
    .flatMap(folder => {
      try {
        return readdirSync(join(root, folder), { recursive: true }).map(file => join(folder, String(file)))
      } catch {
        return []
      }
    })
    .filter(file => file.endsWith('.ts'))
    .filter(file =>
      /['"`[.](?:x-forwarded|forwarded['"`]|x-real-ip|x-original|true-client-ip|cf-connecting)|trustProxy|request\.(?:ip|ips|host|hostname|protocol)\b/i.test(
        readFileSync(join(root, file), 'utf8'),
      ),
    )
  t.same(
    // One makes such fields, of an address and the configuration alone.
    readers.filter(file => !/admission\/(?:client-address|limits)\.ts$|proxy\/forwarded\.ts$/.test(file)),
    [],
  )
  t.end()
})
