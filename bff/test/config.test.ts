import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { app, apps, audienceOf, scopeOf, topicOf } from '@banking/contracts'
import { eventually, parts } from '@banking/testkit'
import { Ajv } from 'ajv'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { readCommand } from '../src/config/command.ts'
import { readConfig } from '../src/config/config.ts'
import { editorSchema, reference } from '../src/config/reference.ts'
import { writeClientKeys } from './edge.ts'

const bff = join(import.meta.dirname, '..')
const key = () => randomBytes(32).toString('base64url')

/** The smallest file, one option a line. */
const smallest = `publicOrigin: https://edge.example
provider:
  issuer: https://id.example
  clientId: edge
  secretFile: secret
redis:
  url: redis://127.0.0.1:6379
session:
  keyFile: session.json
upstreams:
  - path: /api
    url: http://127.0.0.1:4000
    token: session
`

/** A folder with the files that {@link smallest} names; messages name the file as `edge.yaml`. */
async function folder(t: Test) {
  const path = mkdtempSync(join(tmpdir(), 'bff-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  const write = (name: string, content: unknown, mode = 0o600): string => {
    const file = join(path, name)
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
    chmodSync(file, mode)
    return file
  }
  await writeClientKeys(join(path, 'client.json'), ['c1'])
  chmodSync(join(path, 'client.json'), 0o600)
  write('session.json', { current: 'a', keys: { a: key(), b: key() } })
  write('secret', 'a secret of the client\n')
  const read = (content: string, env: NodeJS.ProcessEnv = {}) => readConfig(write('edge.yaml', content, 0o644), env)
  /** What is wrong with a file, one line each. */
  const problems = async (content: string, env: NodeJS.ProcessEnv = {}): Promise<string[]> => {
    try {
      await read(content, env)
      return []
    } catch (error) {
      const [head, ...lines] = (error as Error).message
        .replaceAll(`${path}/`, '')
        .replaceAll(path, '<folder>')
        .split('\n')
      if (head !== 'The configuration is not usable:') throw error
      return lines.map(line => line.replace(/^ {2}- /, ''))
    }
  }
  return { path, write, read, problems }
}

t.test('reads the smallest file, with safe defaults for all else', async t => {
  const { read, path } = await folder(t)
  const config = await read(smallest)
  t.match(config, {
    host: '127.0.0.1',
    port: 3000,
    healthPort: 4000,
    publicOrigin: 'https://edge.example',
    provider: {
      issuer: 'https://id.example',
      scope: 'openid',
      credential: { method: 'client_secret_basic', secretFile: join(path, 'secret') },
    },
    session: { idle: 900_000, absolute: 28_800_000, perUser: 10 },
    cookie: { name: '__Host-session', sameSite: 'strict' },
    redis: { url: 'redis://127.0.0.1:6379', prefix: '' },
    upstreams: [
      {
        name: 'api',
        prefix: '/api',
        origin: 'http://127.0.0.1:4000',
        kind: 'api',
        token: 'session',
        timeout: 10_000,
        bodyLimit: 1_048_576,
      },
    ],
    trustedProxies: [],
    brand: { name: 'edge.example' },
  })
  t.same(
    [config.web, config.internal, config.events],
    [undefined, undefined, undefined],
    'what was not asked for is not there',
  )
  t.ok(Object.isFrozen(config))
})

t.test('the bank’s own set-up is such a file, and says the same as the rest of the bank', async t => {
  const { path } = await folder(t)
  const config = await readConfig(join(bff, 'bank.yaml'), {
    PUBLIC_ORIGIN: 'http://localhost:3000',
    ISSUER: 'http://localhost:8180/realms/banking',
    CLIENT_KEY_FILE: join(path, 'client.json'),
    SESSION_KEY_FILE: join(path, 'session.json'),
    REDIS_URL: 'redis://127.0.0.1:6379',
    KAFKA_BROKERS: 'kafka-1:9092,kafka-2:9092',
    ...Object.fromEntries(apps.map(({ name, port }) => [`UPSTREAM_${name.toUpperCase()}`, `http://127.0.0.1:${port}`])),
  })
  t.match(config.provider, { scope: 'openid', pushedRequests: 'required', idTokenAlgorithms: ['ES256'] })
  t.match(config.session, { idle: 900_000, absolute: 28_800_000 })
  t.same(config.events, { brokers: ['kafka-1:9092', 'kafka-2:9092'], topic: topicOf('bff') })
  t.match(config.internal, {
    audience: audienceOf('bff'),
    callers: [audienceOf('admin')],
    scope: scopeOf('bff'),
    algorithms: ['ES256'],
    tokenType: 'at+jwt',
  })
  for (const { name, prefix, token, audience, scope } of config.upstreams) {
    const { name: known, path: known_path } = app(name as 'payment')
    t.same([name, prefix, token, audience, scope], [known, known_path, 'exchange', audienceOf(known), scopeOf(known)])
  }
  t.ok(config.upstreams.length >= 3)
  // It is the one that the web app reads, and the service allows a person as many.
  const streaming = config.upstreams.filter(({ streams }) => streams.paths.length > 0)
  t.match(streaming, [{ name: 'notification', streams: { paths: ['/api/notifications/stream'], perSession: 8 } }])
})

/** Each change of {@link smallest} and the only line that is said about it. */
const wrong: [name: string, change: (file: string) => string, said: string][] = [
  [
    'http beyond loopback for the issuer',
    file => file.replace('https://id.example', 'http://id.example'),
    'edge.yaml:3:11 provider.issuer uses http beyond this machine. Tokens and cookies would cross the network in the clear, and anybody on the way could put in their own keys. Use https; http is for localhost, 127.0.0.1 and [::1] only.',
  ],
  [
    'a host that looks like loopback',
    file => file.replace('https://id.example', 'http://127.0.0.1.evil.example'),
    'edge.yaml:3:11 provider.issuer uses http beyond this machine. Tokens and cookies would cross the network in the clear, and anybody on the way could put in their own keys. Use https; http is for localhost, 127.0.0.1 and [::1] only.',
  ],
  [
    'http beyond loopback for browsers',
    file => file.replace('https://edge.example', 'http://edge.example'),
    'edge.yaml:1:15 publicOrigin uses http beyond this machine. Tokens and cookies would cross the network in the clear, and anybody on the way could put in their own keys. Use https; http is for localhost, 127.0.0.1 and [::1] only.',
  ],
  [
    'a path behind the origin',
    file => file.replace('https://edge.example', 'https://edge.example/'),
    'edge.yaml:1:15 publicOrigin is more than scheme, host and port. Addresses are made by putting paths behind it. Write https://edge.example.',
  ],
  [
    'a pattern as the origin',
    file => file.replace('https://edge.example', 'https://*.example'),
    'edge.yaml:1:15 publicOrigin is a pattern. Whoever matches it would be trusted. Name one host.',
  ],
  [
    'a user in the issuer',
    file => file.replace('https://id.example', 'https://user:secret@id.example'),
    'edge.yaml:3:11 provider.issuer has a user, query or fragment. It names a server, not a request. Write for example https://id.bank.example/realms/banking.',
  ],
  [
    'the address of the metadata as the issuer',
    file => file.replace('https://id.example', 'https://id.example/.well-known/openid-configuration'),
    'edge.yaml:3:11 provider.issuer is the address of the provider’s metadata. The issuer is what stands before it. Write https://id.example.',
  ],
  [
    'an option in another spelling',
    file => file.replace('clientId', 'client_id'),
    'edge.yaml:4:3 provider.client_id is not an option. What is not known has no effect. Write clientId.',
  ],
  [
    'an option in the wrong group',
    file => `${file}issuer: https://id.example\n`,
    'edge.yaml:14:1 issuer is not an option. What is not known has no effect. It belongs below provider.',
  ],
  [
    'an option by the name of what every object has',
    file => `${file}constructor: x\n`,
    'edge.yaml:14:1 constructor is not an option. What is not known has no effect. Here can be: publicOrigin, listen, logLevel, provider, redis, session, cookie, hsts, upstreams, limits, trustedProxies, internal, events, brand, web.',
  ],
  [
    'an option that nothing is like',
    file => file.replace('  url: redis', '  frobnicate: 1\n  url: redis'),
    'edge.yaml:7:3 redis.frobnicate is not an option. What is not known has no effect. Here can be: url, sentinel, username, passwordFile, tls, database, prefix.',
  ],
  ...['staff', 'st{a}ff:', 'staff :', ':', 'a::', `${'a'.repeat(64)}:`].map(
    (prefix): [string, (file: string) => string, string] => [
      `the prefix ${prefix}`,
      file => file.replace('  url: redis', `  prefix: '${prefix}'\n  url: redis`),
      'edge.yaml:7:11 redis.prefix is not a prefix of keys. A brace would change where keys lie, and without a colon at its end one prefix could be the beginning of another. Write letters, digits, - . _ and : at its end, 64 at most, for example staff:.',
    ],
  ),
  [
    'a secret in the file',
    file => file.replace('  secretFile: secret', '  secretFile: secret\n  clientSecret: hunter2'),
    'edge.yaml:6:3 provider.clientSecret is not an option. Secrets in configuration end up in repositories, logs and process lists. Write the secret into a file that only the edge may read, and its path here as secretFile.',
  ],
  [
    'a password in the URL of Redis',
    file => file.replace('redis://', 'redis://:hunter2@'),
    'edge.yaml:7:8 redis.url has a password in it. Secrets in configuration end up in repositories, logs and process lists. Write the password into a file and name it in redis.passwordFile; the user goes into redis.username.',
  ],
  [
    'the secret where its file belongs',
    file => file.replace('secretFile: secret', 'secretFile: hunter2'),
    'edge.yaml:5:15 provider.secretFile names a file that cannot be read (ENOENT). Relative paths begin at <folder>. Give the path of a file that the edge may read.',
  ],
  [
    'a key twice',
    file => file.replace('  clientId: edge', '  clientId: edge\n  clientId: other'),
    'edge.yaml:5:3 provider.clientId is there twice. Only one of them would count. Keep one of them.',
  ],
  [
    'a tab',
    file => file.replace('  clientId', '\tclientId'),
    'edge.yaml:4:1 the file has a tab here. YAML indents with spaces alone. Replace it with spaces.',
  ],
  [
    'a number where text belongs',
    file => file.replace('clientId: edge', 'clientId: 42'),
    'edge.yaml:4:13 provider.clientId is not text. YAML reads it as a number or a switch. Put it in quotes, or write the unit behind the number.',
  ],
  [
    'a number that is not whole',
    file => `${file}listen:\n  port: 3000.5\n`,
    'edge.yaml:15:9 listen.port is not a whole number. Nothing else can be counted with. Write for example 3000, without quotes.',
  ],
  [
    'a port that no machine has',
    file => `${file}listen: {port: 70000}\n`,
    'edge.yaml:14:16 listen.port is out of its range, 0 to 65535. Beyond it nothing would work as it should. Write a number from 0 to 65535.',
  ],
  [
    'health on the public port',
    file => `${file}listen: {port: 4000}\n`,
    'edge.yaml:14:1 listen.healthPort is listen.port too. What is for the inside would be public. Choose another port.',
  ],
  [
    'text where a group belongs',
    file => file.replace('redis:\n  url: redis://127.0.0.1:6379', 'redis: redis://127.0.0.1:6379'),
    'edge.yaml:6:1 redis is not a group of options. Its options have names. Write url: … indented below it.',
  ],
  [
    'one upstream without its dash',
    file => file.replace('  - path: /api\n', '    path: /api\n'),
    'edge.yaml:11:5 upstreams is not a list. There may be several. Put each of them on a line of its own, with - before it.',
  ],
  [
    'no issuer',
    file => file.replace('  issuer: https://id.example\n', ''),
    'edge.yaml:2:1 provider.issuer is missing. Its issuer identifier, compared character by character; https, or http on loopback. Write issuer: https://id.bank.example/realms/banking.',
  ],
  [
    'neither secret nor key',
    file => file.replace('  secretFile: secret\n', ''),
    'edge.yaml:2:1 provider.secretFile is missing, and keyFile too. The provider must know that it is the edge who asks. Write secretFile: and the path of a file with the client’s secret, or keyFile:.',
  ],
  [
    'a secret and a key',
    file => file.replace('  secretFile: secret', '  keyFile: client.json\n  secretFile: secret'),
    'edge.yaml:6:15 provider.secretFile stands beside keyFile. The edge proves who it is in one way. Keep keyFile if the provider takes private_key_jwt, else secretFile.',
  ],
  [
    'an authentication that its file does not fit',
    file => file.replace('  secretFile', '  authentication: private_key_jwt\n  secretFile'),
    'edge.yaml:5:19 provider.authentication goes with keyFile. There is a secretFile. Name a keyFile, or remove authentication.',
  ],
  [
    'a scope without openid',
    file => file.replace('  clientId', '  scope: profile email\n  clientId'),
    'edge.yaml:4:10 provider.scope lacks openid. Without it the provider does not say who logged in. Write openid profile email.',
  ],
  [
    'no placeholder’s value',
    file => file.replace('clientId: edge', `clientId: \${CLIENT}`),
    `edge.yaml:4:13 provider.clientId needs the environment variable CLIENT, which is not set. It has no default. Set CLIENT, or write \${CLIENT:-default}.`,
  ],
  [
    'a placeholder without an end',
    file => file.replace('clientId: edge', `clientId: \${CLIENT`),
    `edge.yaml:4:13 provider.clientId has a placeholder that cannot be read. It would be taken as it stands. Write \${NAME} or \${NAME:-default}.`,
  ],
  [
    'an unsafe cookie name',
    file => `${file}cookie:\n  name: session\n`,
    'edge.yaml:15:9 cookie.name does not begin with __Host-. Without the prefix another host of the same domain can set the session of a browser, and a network without TLS can too. Write __Host-session.',
  ],
  [
    'a cookie name that logins have',
    file => `${file}cookie:\n  name: __Host-login-x\n`,
    'edge.yaml:15:9 cookie.name is the name of the cookies of logins under way. One would overwrite the other. Choose another name.',
  ],
  [
    'a cookie for every site',
    file => `${file}cookie:\n  sameSite: none\n`,
    'edge.yaml:15:13 cookie.sameSite is none of strict, lax. With none every site on the web could make requests in a person’s name. Write strict or lax.',
  ],
  [
    'an idle time beyond the whole',
    file => file.replace('  keyFile', '  idle: 9h\n  keyFile'),
    'edge.yaml:9:9 session.idle is longer than session.absolute, 8h. A session would end before it was ever idle. Write at most 8h, or a longer session.absolute.',
  ],
  [
    'a duration without its unit',
    file => file.replace('  keyFile', '  idle: "900"\n  keyFile'),
    'edge.yaml:9:9 session.idle is not a whole number with its unit. Without the unit nobody could tell what it means. Write for example 15m; units are ms, s, m, h, d.',
  ],
  [
    'an absurd duration',
    file => file.replace('  keyFile', '  absolute: 9999d\n  keyFile'),
    'edge.yaml:9:13 session.absolute is out of its range, 1m to 365d. Beyond it nothing would work as it should. Write a value from 1m to 365d.',
  ],
  [
    'a session of no time',
    file => file.replace('  keyFile', '  idle: 0s\n  keyFile'),
    'edge.yaml:9:9 session.idle is out of its range, 1m to 30d. Beyond it nothing would work as it should. Write a value from 1m to 30d.',
  ],
  [
    'the edge’s own path as an upstream’s',
    file => file.replace('path: /api', 'path: /oauth2'),
    'edge.yaml:11:11 upstreams[0].path is the edge’s own. Logins would go to a service. Choose a path outside /oauth2.',
  ],
  [
    'a path that is not canonical',
    file => file.replace('path: /api', 'path: /api/'),
    'edge.yaml:11:11 upstreams[0].path is not a canonical path. Two servers could read it in two ways. Write for example /api/orders: it begins with /, has no / at its end, and only letters, digits, - . _ ~ between.',
  ],
  [
    'one path twice',
    file => `${file}  - path: /api\n    url: http://127.0.0.1:4001\n    token: none\n`,
    'edge.yaml:14:11 upstreams[1].path is another upstream’s too. Only one of them would ever be asked. Give each upstream a path of its own.',
  ],
  [
    'paths that overlap',
    file => `${file}  - path: /api/orders\n    url: http://127.0.0.1:4001\n    token: none\n`,
    'edge.yaml:14:11 upstreams[1].path overlaps /api. What goes where would depend on the order. Choose paths of which none is below another.',
  ],
  [
    'a stream of another path',
    file => `${file}    streams:\n      paths: [/api/events, /apis/events]\n`,
    'edge.yaml:15:28 upstreams[0].streams.paths[1] is not below /api. It would never be asked for here. Write a path of this upstream.',
  ],
  [
    'a stream of another upstream',
    file =>
      `${file}  - path: /\n    kind: pages\n    url: http://127.0.0.1:4001\n    token: none\n    streams:\n      paths: [/live, /api/events]\n`,
    'edge.yaml:19:22 upstreams[1].streams.paths[1] is below /api. It would never be asked for here. Write a path of this upstream.',
  ],
  [
    'a stream twice, by another name',
    file => `${file}    streams:\n      paths: ["/api/:id/events", "/api/:order/events"]\n`,
    'edge.yaml:15:34 upstreams[0].streams.paths[1] is there twice. Both mean the same requests. Remove one of them.',
  ],
  [
    'streams by a wildcard',
    file => `${file}    streams:\n      paths: ["/api/*"]\n`,
    'edge.yaml:15:15 upstreams[0].streams.paths[0] is not a canonical path. Two servers could read it in two ways. Write for example /api/orders/:id/events: it begins with /, has no / at its end, and only letters, digits, - . _ ~ between; a name after : stands for one segment.',
  ],
  [
    'an exchange for nobody',
    file => file.replace('token: session', 'token: exchange'),
    'edge.yaml:13:12 upstreams[0].token is exchange, and there is no audience. A token for nobody in particular opens everything. Name the audience that this service checks, or write token: session.',
  ],
  [
    'an audience without an exchange',
    file => `${file}    audience: orders\n`,
    'edge.yaml:14:15 upstreams[0].audience goes with token: exchange. The token of the session is not made for one service. Write token: exchange, or remove it.',
  ],
  [
    'no token chosen',
    file => file.replace('    token: session\n', ''),
    'edge.yaml:11:5 upstreams[0].token is missing. Which token it gets. `exchange`: one made for its audience alone (RFC 8693). `session`: the access token of the login. `none`: no Authorization header. Write token: session.',
  ],
  [
    'an api at the root',
    file => file.replace('path: /api', 'path: /'),
    'edge.yaml:11:11 upstreams[0].path is / for an api. After the login people are led to /, which they could not open. Write a path such as /api, or kind: pages.',
  ],
  [
    'pages at the root beside a web app',
    file => `${file.replace('path: /api', 'path: /\n    kind: pages')}web:\n  root: .\n`,
    'edge.yaml:11:11 upstreams[0].path is / beside a web app. Both would answer there. Choose another path, or remove web.',
  ],
  [
    'a path of the web app',
    file => `${file.replace('path: /api', 'path: /orders')}web:\n  root: .\n  paths: [/, '/orders/:id']\n`,
    'edge.yaml:11:11 upstreams[0].path overlaps /orders/:id, a path of the web app. Both would answer there. Choose another path, or remove web.',
  ],
  [
    'a URL with a path',
    file => file.replace('http://127.0.0.1:4000', 'http://127.0.0.1:4000/base'),
    'edge.yaml:12:10 upstreams[0].url is more than scheme, host and port. Addresses are made by putting paths behind it. Write http://127.0.0.1:4000.',
  ],
  [
    'no upstream',
    file => file.replace(/upstreams:.*/s, 'upstreams: []\n'),
    'edge.yaml:10:12 upstreams is empty. At least one is needed. Write - path: /api, and below it url: and token:.',
  ],
  [
    'no upstreams at all',
    file => file.replace(/upstreams:.*/s, ''),
    'edge.yaml:1:1 upstreams is missing. The services behind the edge. Write upstreams: and below it - path: /api, and below it url: and token:.',
  ],
  [
    'two documents',
    file => `${file}---\n${file}`,
    'edge.yaml:14:1 the file has a second document here. Only one would count. Remove the line ---.',
  ],
  [
    'a list',
    () => '- a\n',
    'edge.yaml:1:1 the file is not a group of options. Each option has a name. Begin with publicOrigin: https://….',
  ],
  [
    'a header field that says who somebody is',
    file => `${file}    requestHeaders:\n      - X-Purpose\n      - X-Forwarded-User\n`,
    'edge.yaml:16:9 upstreams[0].requestHeaders[1] is a header field that never passes. Where a request came from the edge alone says, and an upstream would believe anybody. Remove the line.',
  ],
  [
    'a header field with an underscore',
    file => `${file}    requestHeaders: [x_purpose]\n`,
    'edge.yaml:14:22 upstreams[0].requestHeaders[0] has other characters than letters, digits and -. Many applications read _, and some any other, as if it were -: two names would be one. Write for example x-purpose, and one name on each line.',
  ],
  [
    'a Host of the browser’s choice',
    file => `${file}    host: client\n`,
    'edge.yaml:14:11 upstreams[0].host is none of public, upstream. Nothing else is known here. Write public or upstream.',
  ],
  [
    'HSTS to be built in that nobody would build in',
    file => `${file}hsts:\n  preload: true\n`,
    'edge.yaml:15:12 hsts.preload needs includeSubDomains: true and a maxAge of 365d at least. Browsers take nothing less into their list. Write both, once every name below this one speaks https, or preload: false.',
  ],
  [
    'HSTS to be built in for less than a year',
    file => `${file}hsts:\n  preload: true\n  includeSubDomains: true\n  maxAge: 364d\n`,
    'edge.yaml:15:12 hsts.preload needs includeSubDomains: true and a maxAge of 365d at least. Browsers take nothing less into their list. Write both, once every name below this one speaks https, or preload: false.',
  ],
  [
    'a size in words',
    file => `${file}    bodyLimit: big\n`,
    'edge.yaml:14:16 upstreams[0].bodyLimit is not a whole number with its unit. Without the unit nobody could tell what it means. Write for example 1MB; units are B, KB, MB, GB.',
  ],
]

t.test('refuses what is unsafe or wrong with file, line, column, reason and remedy', async t => {
  const { problems } = await folder(t)
  for (const [name, change, said] of wrong) {
    t.not(change(smallest), smallest, `${name}: the case changes something`)
    t.same(await problems(change(smallest)), [said], name)
  }
})

t.test('lets no list of header fields name what the edge alone says', async t => {
  const { problems, read } = await folder(t)
  const listed = (name: string) => `${smallest}    requestHeaders: ['${name}']\n`
  const never = `authorization proxy-authorization cookie cookie2 dpop x-access-token
    connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length host expect
    sec-websocket-key forwarded via x-forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-user
    x-forwarded-anything x-real-ip x-client-ip true-client-ip cf-connecting-ip x-cluster-client-ip x-original-url
    x-rewrite-url x-envoy-original-path x-scheme x-http-method-override x-http-method x-method-override
    remote-user remote-groups x-remote-user x-auth-request-user x-auth-token x-authenticated-user x-webauth-user x-user
    x-user-id x-username x-userinfo x-email x-groups x-group x-role x-roles x-claim-sub x-jwt-payload x-token-subject
    x-consumer-id x-credential-identifier x-goog-authenticated-user-email x-amzn-oidc-identity x-ms-client-principal
    x-ms-token-aad-id-token x-pomerium-claim-email cf-access-jwt-assertion tailscale-user-login oidc-claim-sub
    client-cert client-cert-chain x-client-cert ssl-client-verify x-ssl-client-s-dn auth-user
    x-userid x-grafana-user sm-user iv-groups x-hasura-role impersonate-user x-tls-client-cert private-token x-tenant-id
    x-account x-admin forwarded-for wl-proxy-client-ip x-originating-ip fly-client-ip
    traceparent tracestate baggage b3 x-b3-traceid x-request-id`
    .split(/\s+/)
    .flatMap(name => [name, name.toUpperCase()])
  for (const name of never)
    t.match(
      await problems(listed(name)),
      [/requestHeaders\[0\] is a header field that never passes\. .+\. Remove the line\.$/],
      name,
    )
  for (const name of ['x_purpose', 'x purpose', 'x-purpose, x-user', 'x:purpose', 'x.purpose', 'x-*', 'ä'])
    t.match(
      await problems(listed(name)),
      [/requestHeaders\[0\] has other characters than letters, digits and -\. /],
      name,
    )
  const good = [
    'X-Purpose',
    'user-agent',
    'X-User-Agent',
    'Origin',
    'Prefer',
    'Tus-Resumable',
    'X-Inertia',
    'X-API-Key',
  ]
  const { upstreams } = await read(`${smallest}    requestHeaders: [${good.join(', ')}]\n`)
  t.same(
    upstreams[0]?.requestHeaders,
    good.map(name => name.toLowerCase()),
  )
})

t.test('trusts no range of proxies that holds strangers', async t => {
  const { problems, read } = await folder(t)
  for (const range of [
    '0.0.0.0/0',
    '::/0',
    '::ffff:0:0/96',
    '::ffff:0.0.0.0/96',
    '10.0.0.0/0',
    '0.0.0.0/1',
    '128.0.0.0/1',
    '*',
    '::/1',
    'all',
    '10.1.2.3/8',
    'proxy.example',
  ]) {
    const [said = '', ...others] = await problems(`${smallest}trustedProxies:\n  - '${range}'\n`)
    t.match(said, 'edge.yaml:15:5 trustedProxies[0] ', range)
    t.equal(others.length, 0)
  }
  t.same((await read(`${smallest}trustedProxies: [10.0.0.0/8, 'fd00::/8', 192.0.2.7]\n`)).trustedProxies, [
    '10.0.0.0/8',
    'fd00::/8',
    '192.0.2.7',
  ])
})

t.test('says everything that is wrong at once, in the order of the file, and prints no value', async t => {
  const { problems } = await folder(t)
  const said = await problems(
    smallest
      .replace('https://edge.example', 'http://edge.example')
      .replace('https://id.example', 'http://id.example')
      .replace('redis://', 'x://:redis-password@')
      .replace('token: session', 'tokn: session'),
  )
  t.same(
    said.map(line => line.split(' ', 2).join(' ')),
    [
      'edge.yaml:1:15 publicOrigin',
      'edge.yaml:3:11 provider.issuer',
      'edge.yaml:7:8 redis.url',
      'edge.yaml:13:5 upstreams[0].tokn',
    ],
  )
  t.notMatch(said.join('\n'), 'redis-password')
})

t.test('refuses key files that others can read, or that hold no good keys, and quotes nothing of them', async t => {
  const { write, problems } = await folder(t)
  const good = { current: 'a', keys: { a: key() } }
  const cases: [unknown, number, string][] = [
    [good, 0o604, 'can be read or changed by every user of this machine'],
    [good, 0o602, 'can be read or changed by every user of this machine'],
    ['{"current": "SECRET', 0o600, 'names a file that cannot be used. It is not JSON'],
    [{ current: 'a', keys: { a: 'U0VDUkVU' } }, 0o600, 'Key "a" is not 32 random bytes in base64url'],
    [{ current: 'a', keys: { a: 'A'.repeat(43) } }, 0o600, 'Key "a" is not random'],
    [{ current: 'b', keys: { a: key() } }, 0o600, '"current" names none of its keys'],
    [{ current: 'a b', keys: { 'a b': key() } }, 0o600, 'A key id must be'],
  ]
  for (const [content, mode, said] of cases) {
    write('session.json', content, mode)
    const lines = await problems(smallest)
    t.equal(lines.length, 1)
    t.match(lines[0], `edge.yaml:9:12 session.keyFile`)
    t.match(lines[0], said)
    t.notMatch(lines[0], /SECRET|U0VDUkVU/)
  }
  write('session.json', good, 0o640)
  t.same(await problems(smallest), [], 'a group may read it: so does Kubernetes mount it')
  write('secret', 'one\ntwo\n')
  t.match(await problems(smallest), [
    /^edge\.yaml:5:15 provider\.secretFile names a file that cannot be used\. It has more than one line/,
  ])
  write('client.json', { keys: [] })
  t.match(await problems(smallest.replace('secretFile: secret', 'keyFile: client.json')), [
    /^edge\.yaml:5:12 provider\.keyFile names a file that cannot be used/,
  ])
})

t.test('puts the environment into values alone, and reads the type behind it', async t => {
  const { read, problems } = await folder(t)
  const file = smallest
    .replace('clientId: edge', `clientId: "\${CLIENT}-\${STAGE:-test}"`)
    .concat(`listen:\n  port: \${PORT:-8080}\n  drainDelay: \${DRAIN:-}\n`)
  const config = await read(file, { CLIENT: 'shop: {a: 1} # no', PORT: '9090' })
  t.equal(config.provider.clientId, 'shop: {a: 1} # no-test', 'it is text, whatever YAML would make of it')
  t.equal(config.port, 9090)
  t.equal(config.drainDelay, 5_000, 'empty is not set')
  t.equal((await read(file, { CLIENT: 'x', PORT: '' })).port, 8080)
  t.equal(
    (await read(file, { CLIENT: `\${HOME}`, HOME: '/root' })).provider.clientId,
    `\${HOME}-test`,
    'a value is not read for more',
  )
  t.match(await problems(file, { CLIENT: 'x', PORT: '80a' }), ['edge.yaml:15:9 listen.port is not a whole number'])
  t.match(await problems(file, { CLIENT: 'x\ny' }), ['provider.clientId has line breaks'])
})

t.test('the internal listener is told which tokens open it, and starts with nothing that is not said', async t => {
  const { read, problems } = await folder(t)
  const whole = `${smallest}internal:
  port: 3001
  audience: sessions
  callers: [ops-tool, 2f1c]
  scope: sessions:end
`
  t.same((await read(whole)).internal, {
    host: '127.0.0.1',
    port: 3001,
    audience: 'sessions',
    callers: ['ops-tool', '2f1c'],
    scope: 'sessions:end',
    algorithms: ['ES256', 'RS256'],
    tokenType: 'at+jwt',
    tokenLifetime: 3_600_000,
  })
  const other = `${whole}  algorithms: [PS256]\n  tokenType: JWT\n  clientClaim: azp\n  tokenLifetime: 1d\n  jwksUrl: https://id.example/keys\n`
  t.match((await read(other)).internal, {
    algorithms: ['PS256'],
    tokenType: 'JWT',
    clientClaim: 'azp',
    tokenLifetime: 86_400_000,
    jwksUrl: 'https://id.example/keys',
  })
  for (const [change, said] of [
    [
      (file: string) => file.replace('  audience: sessions\n', ''),
      /^edge\.yaml:\d+:\d+ internal\.audience is missing\. /,
    ],
    [
      (file: string) => file.replace('  scope: sessions:end\n', ''),
      /^edge\.yaml:\d+:\d+ internal\.scope is missing\. /,
    ],
    [(file: string) => file.replace(/ {2}callers.*\n/, ''), /^edge\.yaml:\d+:\d+ internal\.callers is missing\. /],
    [(file: string) => file.replace('[ops-tool, 2f1c]', '[]'), /^edge\.yaml:17:12 internal\.callers /],
    [(file: string) => `${file}  algorithms: [HS256]\n`, /^edge\.yaml:19:16 internal\.algorithms\[0\] /],
    [(file: string) => `${file}  algorithms: [none]\n`, /^edge\.yaml:19:16 internal\.algorithms\[0\] /],
    [(file: string) => `${file}  tokenType: any\n`, /^edge\.yaml:19:14 internal\.tokenType /],
    [(file: string) => `${file}  tokenLifetime: 8d\n`, /^edge\.yaml:19:18 internal\.tokenLifetime /],
    [(file: string) => `${file}  jwksUrl: http://id.example/keys\n`, /^edge\.yaml:19:12 internal\.jwksUrl uses http /],
    [
      (file: string) => file.replace('audience: sessions', 'audience: edge'),
      'edge.yaml:16:13 internal.audience is provider.clientId too. The ID tokens of people are for that audience. Have the provider give the callers tokens for an audience of its own.',
    ],
    [
      (file: string) => file.replace('2f1c', 'edge'),
      'edge.yaml:17:12 internal.callers names provider.clientId. Tokens of people are of that client. Name the clients of services alone.',
    ],
  ] as const) {
    const lines = await problems(change(whole))
    t.equal(lines.length, 1, lines.join('\n'))
    t.match(lines[0], said)
  }
})

t.test('takes a list from one variable, with commas between', async t => {
  const { read, problems } = await folder(t)
  const file = smallest.concat(`events:
  topic: edge
  brokers: \${BROKERS}
trustedProxies: \${PROXIES:-}
listen:
  port: \${PORT:-8080}
`)
  const config = await read(file, { BROKERS: 'kafka-1:9092, [::1]:9092 ,kafka-3:9092', PROXIES: '10.4.0.0/16' })
  t.same(config.events?.brokers, ['kafka-1:9092', '[::1]:9092', 'kafka-3:9092'])
  t.same(config.trustedProxies, ['10.4.0.0/16'])
  t.same((await read(file, { BROKERS: 'kafka-1:9092' })).trustedProxies, [], 'empty is not set')

  t.same(await problems(file, { BROKERS: 'kafka-1:9092,,kafka-2,kafka-3:9092', PROXIES: '10.4.0.0/16,*' }), [
    'edge.yaml:16:12 events.brokers[1] is empty. A list has no empty places. Remove the comma.',
    'edge.yaml:16:12 events.brokers[2] is not host:port. Nothing can be reached there. Write for example redis-1.internal:26379.',
    'edge.yaml:17:17 trustedProxies[1] "*" is no address and no CIDR range. What a trusted proxy says of its clients is believed. write for example 10.4.0.0/16; names and wildcards are not taken.',
  ])
  t.same(await problems(file), [
    `edge.yaml:16:12 events.brokers needs the environment variable BROKERS, which is not set. It has no default. Set BROKERS, or write \${BROKERS:-default}.`,
  ])
  const items = `${smallest}events:\n  topic: edge\n  brokers:\n    - \${BROKERS}\n`
  t.same(await problems(items, { BROKERS: 'kafka-1:9092,kafka-2:9092' }), [
    'edge.yaml:17:7 events.brokers[0] is several in one place. Each is an item of the list. Put each on a line of its own, with - before it; a variable that holds them all stands behind the name of the list, without -.',
  ])
  const notList = (list: string) => problems(`${smallest}events:\n  topic: edge\n  brokers: ${list}\n`)
  t.same(
    await notList('kafka-1:9092,kafka-2:9092'),
    [
      'edge.yaml:16:12 events.brokers is not a list. There may be several. Put each of them on a line of its own, with - before it.',
    ],
    'the file itself has one way to write a list',
  )
  t.match(await problems(smallest.replace(/upstreams:.*/s, `upstreams: \${ALL}\n`), { ALL: '/api,/b' }), [
    'upstreams is not a list',
  ])
})

t.test('takes JSON and plain HTTP on loopback, as development has it', async t => {
  const { read } = await folder(t)
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '[::1]']) {
    const json = {
      publicOrigin: `http://${host}:3000`,
      provider: { issuer: `http://${host}:8180/realms/banking`, clientId: 'edge', secretFile: 'secret' },
      redis: { sentinel: { name: 'edge', nodes: ['r1:26379', '[::1]:26379'] }, passwordFile: 'secret' },
      session: { keyFile: 'session.json' },
      upstreams: [{ path: '/', kind: 'pages', url: 'http://127.0.0.1:1', token: 'none' }],
    }
    const config = await read(JSON.stringify(json, undefined, 2))
    t.same(config.redis, {
      sentinel: { name: 'edge', nodes: ['r1:26379', '[::1]:26379'] },
      password: 'a secret of the client',
      prefix: '',
    })
  }
})

t.test('puts the user and the password of its file before Redis’s address', async t => {
  const { read, write } = await folder(t)
  write('redis-password', 'p@ss/w:rd%\n')
  const { redis } = await read(
    smallest.replace('redis:\n', 'redis:\n  username: edge\n  passwordFile: redis-password\n'),
  )
  const url = new URL((redis as { url: string }).url)
  t.same([url.host, url.username, decodeURIComponent(url.password)], ['127.0.0.1:6379', 'edge', 'p@ss/w:rd%'])
})

t.test('the reference and the editors’ schema are what the options say', async t => {
  t.equal(readFileSync(join(bff, '../docs/configuration.md'), 'utf8'), reference(), 'pnpm edge --print-reference')
  t.equal(readFileSync(join(bff, 'configuration.schema.json'), 'utf8'), editorSchema(), 'pnpm edge --print-schema')
  t.notMatch(reference(), /\| {2}\| {2}\|/, 'every option says what it does')
})

t.test('the bank’s file is good by the editors’ schema too, and a slip is not', async t => {
  const isGood = new Ajv({ strict: false }).compile(JSON.parse(editorSchema()))
  const bank = parse(readFileSync(join(bff, 'bank.yaml'), 'utf8'))
  t.ok(isGood(bank), JSON.stringify(isGood.errors))
  t.ok(isGood(parse(smallest)), JSON.stringify(isGood.errors))
  for (const change of [
    { cookies: {} },
    { logLevel: 'loud' },
    { listen: { port: 70_000 } },
    { publicOrigin: undefined },
  ])
    t.notOk(isGood(JSON.parse(JSON.stringify({ ...bank, ...change }))), JSON.stringify(change))
})

/** The process as it is deployed. */
function start(t: Test, args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [join(bff, 'src/server.ts'), ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const output = Promise.all([text(child.stdout), text(child.stderr)])
  const exit = new Promise<number | null>(resolve => child.on('exit', resolve))
  return { child, output, exit }
}

const freePort = (): Promise<number> =>
  new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })

t.test('does not start with a configuration it cannot use', async t => {
  const { write } = await folder(t)
  const file = write('edge.yaml', smallest.replace('https://id.example', 'http://id.example'))
  for (const args of [['--config', file], ['--check']]) {
    const { exit, output } = start(t, args, { CONFIG_FILE: file })
    t.equal(await exit, 78, args.join(' '))
    const [, stderr] = await output
    t.match(stderr, /edge\.yaml:3:11 provider\.issuer uses http/)
    t.notMatch(stderr, /\n\s+at /, 'a sentence, not a stack')
  }
})

t.test('says what to write where no file can be read', async t => {
  const { write, path } = await folder(t)
  const cases: [string[], RegExp][] = [
    [['--config', join(path, 'nowhere.yaml')], /nowhere\.yaml cannot be read \(ENOENT\)\. Give the path/],
    [['--config', path], /cannot be read \(EISDIR\)/],
    [['--config', write('open.yaml', smallest, 0o666)], /open\.yaml can be changed by every user of this machine/],
    [['--confg', 'edge.yaml'], /Unknown option '--confg'.*--help lists/],
    [['edge.yaml'], /Unexpected argument 'edge\.yaml'.*--help lists/],
    [['--config'], /--config.* argument missing.*--help lists/],
    [[], /no configuration file is named\. Write --config <file>, or set CONFIG_FILE/],
  ]
  for (const [args, said] of cases) {
    const reading = async () => {
      const command = await readCommand(args, {})
      if ('file' in command) await readConfig(command.file, {})
    }
    await t.rejects(reading(), { name: 'ConfigError', message: said }, basename(args.join(' ')))
  }
})

t.test('says in a sentence that its port is taken', async t => {
  const { write } = await folder(t)
  const other = createServer().listen(0, '127.0.0.1')
  t.teardown(() => other.close())
  await once(other, 'listening')
  const { port } = other.address() as { port: number }
  const file = write('edge.yaml', smallest.concat(`listen:\n  port: ${port}\n  healthPort: ${await freePort()}\n`))
  const { exit, output } = start(t, ['--config', file])
  t.equal(await exit, 1)
  t.match(
    (await output)[1],
    `127.0.0.1:${port} is in use. Stop the program that listens there, or choose another port.`,
  )
})

t.test('makes keys that it takes, for this user alone, and never overwrites any', async t => {
  const { path, write } = await folder(t)
  const keys = join(path, 'keys')
  const first = start(t, ['--new-keys', keys])
  t.equal(await first.exit, 0)
  const [said] = await first.output
  t.notMatch(said, '"d"', 'what is printed is the public key')
  const before = readFileSync(join(keys, 'session-keys.json'), 'utf8')
  const file = write(
    'edge.yaml',
    smallest
      .replace('secretFile: secret', 'keyFile: keys/client-keys.json')
      .replace('session.json', 'keys/session-keys.json'),
  )
  const check = start(t, ['--check'], { CONFIG_FILE: file })
  t.equal(await check.exit, 0, String(await check.output))
  t.match(
    (await check.output)[0],
    /edge\.yaml is good\.\n.*redirect URI https:\/\/edge\.example\/oauth2\/callback, after logout https:\/\/edge\.example\/oauth2\/signed_out.*\/api +http:\/\/127\.0\.0\.1:4000, api, the session’s token/s,
  )
  const second = start(t, ['--new-keys', keys])
  t.equal(await second.exit, 0)
  t.match((await second.output)[0], 'session-keys.json is there already and stays as it is')
  t.equal(readFileSync(join(keys, 'session-keys.json'), 'utf8'), before)
})

t.test('starts without its provider, is ready with Redis alone, and stops cleanly', async t => {
  const { redis } = parts(t, 'redis')
  const [port, healthPort] = [await freePort(), await freePort()]
  const { write } = await folder(t)
  const file = write(
    'edge.yaml',
    smallest
      .replace('https://edge.example', 'http://localhost:3000')
      .replace('https://id.example', 'http://127.0.0.1:1/realms/banking')
      .replace('redis://127.0.0.1:6379', redis)
      .concat(`listen:\n  port: ${port}\n  healthPort: ${healthPort}\n  drainDelay: 0s\n`),
  )
  const { child, exit, output } = start(t, ['--config', file])
  const get = (url: string) => fetch(url).catch(() => undefined)
  await eventually(async () => (await get(`http://127.0.0.1:${healthPort}/ready`))?.status === 200)
  t.match(await (await get(`http://127.0.0.1:${healthPort}/ready`))?.json(), {
    checks: { redis: 'ok', provider: 'failed' },
  })
  t.match(await (await get(`http://127.0.0.1:${healthPort}/metrics`))?.text(), 'redis_command_duration_seconds')
  for (const path of ['/ready', '/ping', '/metrics'])
    t.equal((await get(`http://127.0.0.1:${port}${path}`))?.status, 404, `${path} is not public`)
  child.kill('SIGTERM')
  t.equal(await exit, 0)
  t.match((await output)[0], '"stopped"')
})
