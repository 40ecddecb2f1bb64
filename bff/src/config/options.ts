import { algorithms } from '@banking/auth'
import Type, { type Static, type TSchema } from 'typebox'
import { defaultLimits } from '../admission/limits.ts'
import { idTokenAlgorithms, providerDefaults } from '../provider/oidc.ts'
import { passedFields } from '../proxy/passed-fields.ts'
import { byKind } from '../proxy/upstreams.ts'
import { type Bounds, durationText, type Form, sizeText } from './scalars.ts'

const second = 1_000
const minute = 60 * second
const hour = 60 * minute

/** What holds where nothing else is said. Times are ms, sizes bytes. */
export const defaults = {
  host: '127.0.0.1',
  port: 3000,
  healthPort: 4000,
  drainDelay: 5 * second,
  logLevel: 'info',
  session: { idle: 15 * minute, absolute: 8 * hour, perUser: 10 },
  cookie: { name: '__Host-session', sameSite: 'strict' },
  hsts: { maxAge: 365 * 24 * hour, includeSubDomains: false, preload: false },
  limits: defaultLimits,
  trustedProxies: [],
  internal: undefined,
  events: undefined,
  web: undefined,
} as const
/** RFC 9068 §4: every issuer can sign with RS256. */
export const internalDefaults = { algorithms: ['ES256', 'RS256'], tokenType: 'at+jwt', tokenLifetime: hour } as const
export const brandDefaults = { accent: '#0b6159' } as const
export const upstreamDefaults = {
  kind: 'api',
  timeout: 10 * second,
  connections: 128,
  streams: { paths: [] as readonly string[], connections: 4_096, perSession: 10 },
  bodyLimit: 1024 * 1024,
  requestHeaders: [],
  forwarded: true,
} as const

/** What the reference says of an option: `protects` when it is there for safety. */
type Facts = { description: string; protects?: string; example?: string | number }

const facts = ({ description, protects, example }: Facts) => ({
  description,
  ...(protects === undefined ? {} : { protects }),
  ...(example === undefined ? {} : { examples: [example] }),
})
/** `default` as it would be written, `initial` as the edge has it. */
const initial = <T>(value: T | undefined, show: (value: T) => string | number | boolean = String) =>
  value === undefined ? {} : { default: show(value), initial: value }

const text = (form: Form | undefined, about: Facts & { default?: string }) =>
  Type.String({ ...(form === undefined ? {} : { form }), ...facts(about), ...initial(about.default) })

/** ms */
const duration = (about: Facts & Required<Bounds> & { default?: number }) =>
  Type.Unsafe<number>({
    type: 'string',
    form: 'duration',
    pattern: '^[0-9]+(ms|s|m|h|d)$',
    from: about.from,
    to: about.to,
    ...facts({ example: '15m', ...about }),
    ...initial(about.default, durationText),
  } as TSchema)

/** Bytes. */
const size = (about: Facts & Required<Bounds> & { default?: number }) =>
  Type.Unsafe<number>({
    type: 'string',
    form: 'size',
    pattern: '^[0-9]+(B|KB|MB|GB)$',
    from: about.from,
    to: about.to,
    ...facts({ example: '1MB', ...about }),
    ...initial(about.default, sizeText),
  } as TSchema)

const integer = (about: Facts & { minimum: number; maximum: number; default?: number }) =>
  Type.Integer({
    minimum: about.minimum,
    maximum: about.maximum,
    ...facts(about),
    ...initial(about.default, value => value),
  })

const choice = <const V extends readonly string[]>(
  values: V,
  about: Facts & { default?: V[number]; reason?: string },
) =>
  Type.Unsafe<V[number]>({
    type: 'string',
    enum: [...values],
    ...facts(about),
    ...(about.reason === undefined ? {} : { reason: about.reason }),
    ...initial(about.default),
  } as TSchema)

const flag = (about: Facts & { default?: boolean }) =>
  Type.Boolean({ ...facts(about), ...initial(about.default, value => value) })

const list = <T extends TSchema>(items: T, about: Facts & { minItems?: number; default?: readonly Static<T>[] }) =>
  Type.Array(items, {
    ...facts(about),
    ...(about.minItems === undefined ? {} : { minItems: about.minItems }),
    ...(about.default === undefined ? {} : { default: about.default, initial: about.default }),
  })

const group = <P extends Record<string, TSchema>>(description: string, properties: P) =>
  Type.Object(properties, { description, additionalProperties: false })

const port = (about: Facts & { default?: number }) => integer({ minimum: 0, maximum: 65_535, ...about })

const number = (description: string, protects: string, start: number) =>
  integer({ description, protects, minimum: 1, maximum: 1_000_000, default: start })

const rate = (what: string, protects: string, start: { perSecond: number; burst: number }) =>
  group(`${what}.`, {
    perSecond: integer({
      description: `${what}: each second in the long run.`,
      protects,
      minimum: 1,
      maximum: 1_000_000,
      default: start.perSecond,
    }),
    burst: integer({
      description: `${what}: at once.`,
      protects,
      minimum: 1,
      maximum: 10_000_000,
      default: start.burst,
    }),
  })

const names = (list: readonly string[]): string => list.map(name => `\`${name}\``).join(', ')
const eachKind = (option: 'host' | 'securityHeaders'): string =>
  Object.entries(byKind)
    .map(([kind, values]) => `\`${values[option]}\` for \`${kind}\``)
    .join(', ')

const Upstream = group('A service behind the edge.', {
  name: Type.Optional(
    text(undefined, {
      description: 'Its name in logs and metrics; without it the last part of its path.',
      example: 'orders',
    }),
  ),
  path: text('path', {
    description:
      'The path below which browsers reach it; forwarded unchanged. `/` is everything that nothing else answers.',
    protects:
      'Only what is below a path of this table is ever forwarded; the longest is not guessed, because paths must not overlap.',
    example: '/api/orders',
  }),
  url: text('upstreamOrigin', {
    description: 'Where it listens: scheme, host and port.',
    protects: 'It is never taken from a request.',
    example: 'http://127.0.0.1:4000',
  }),
  kind: choice(['api', 'pages'], {
    description:
      '`api` is called by scripts and answers with data. `pages` is opened by people: a site or an app with pages of its own; who is not logged in gets the login page. An `api` gets no cookie of the browser; `pages` get those that are not the edge’s own, and may set such. All of them are one origin to a browser: what the scripts of one of the `pages` do, at any upstream and at /oauth2, they do as the person. What is not trusted with that belongs behind an edge, and an origin, of its own.',
    protects:
      'Cross-site request forgery: an `api` is reached only with X-CSRF: 1, which no other site can send; `pages` take unsafe methods only from their own origin.',
    default: upstreamDefaults.kind,
  }),
  token: choice(['exchange', 'session', 'none'], {
    description:
      'Which token it gets. `exchange`: one made for its audience alone (RFC 8693). `session`: the access token of the login. `none`: no Authorization header.',
    protects:
      'With `exchange` a service that is broken into holds nothing that opens another; with `session` every such upstream can use the token at all others.',
    example: 'session',
  }),
  audience: Type.Optional(
    text(undefined, {
      description: 'The audience of the exchanged token.',
      protects: 'The token opens this service alone.',
      example: 'orders-service',
    }),
  ),
  scope: Type.Optional(
    text(undefined, {
      description: 'The scope that the exchange asks for.',
      protects: 'The token allows no more than this.',
      example: 'orders',
    }),
  ),
  timeout: duration({
    description: 'Until its answer begins; 504 beyond.',
    protects: 'A service that hangs does not hold the edge.',
    from: 100,
    to: 10 * minute,
    default: upstreamDefaults.timeout,
  }),
  connections: integer({
    description:
      'Connections that one process opens to it, and as many again for bodies that are passed on as they come; apart from streams and those whose client does not read.',
    protects: 'A slow service cannot use up the edge.',
    minimum: 1,
    maximum: 10_000,
    default: upstreamDefaults.connections,
  }),
  streams: group('Answers that stay open without an end in sight, such as server-sent events.', {
    paths: list(text('pathPattern', { description: 'A path; `:id` stands for one segment.' }), {
      description:
        'Where such answers are asked for, below `path`; `:id` stands for one segment. Any other answer must go on at least every 30 s, whatever its type.',
      protects:
        'Only these have connections of their own and no limit of time; nothing that a request says of itself makes it one of them.',
      example: '[/api/orders/events, /api/orders/:id/events]',
      default: upstreamDefaults.streams.paths,
    }),
    connections: integer({
      description: 'How many may be open at the same time in one process; 503 beyond.',
      protects: 'Connections and memory, from a crowd.',
      minimum: 1,
      maximum: 1_000_000,
      default: upstreamDefaults.streams.connections,
    }),
    perSession: integer({
      description: 'How many of them one session may have; 429 beyond.',
      protects: 'Everybody else’s streams, from one person’s script.',
      minimum: 1,
      maximum: 10_000,
      default: upstreamDefaults.streams.perSession,
    }),
  }),
  bodyLimit: size({
    description: 'Size of a request body; 413 beyond.',
    protects: 'Services, from bodies they did not ask for.',
    from: 1,
    to: 10 * 1024 ** 3,
    default: upstreamDefaults.bodyLimit,
  }),
  requestHeaders: list(text('fieldName', { description: 'A name.', example: 'x-purpose' }), {
    description: `Names of request header fields that pass, beside those that always do: ${names(passedFields.api)}; and to \`pages\` ${names(passedFields.pages.filter(name => !passedFields.api.includes(name)))}.`,
    protects:
      'No upstream takes what a browser wrote for the word of the edge: names that are known to say who somebody is, where a request came from, or with which credentials, are refused here, and so are names with _. No list knows all of them: name only what your application takes for the browser’s own word.',
    default: upstreamDefaults.requestHeaders,
  }),
  forwarded: flag({
    description:
      'Whether it is told the client’s address and the public origin: as Forwarded (RFC 7239), and as X-Forwarded-For, -Host, -Port and -Proto.',
    protects: 'The edge makes them; what a request says of these things never passes.',
    default: upstreamDefaults.forwarded,
  }),
  host: Type.Optional(
    choice(['public', 'upstream'], {
      description: `The Host that it is asked for: that of \`publicOrigin\`, so that its links, redirects and checks of Origin fit what browsers see; or that of \`url\`. Without it: ${eachKind('host')}.`,
      protects: 'It is never what a request says.',
    }),
  ),
  securityHeaders: Type.Optional(
    choice(['edge', 'application'], {
      description: `Whose security header fields count on its answers. \`edge\`: those of the edge’s own pages alone, which allow no inline script, no style from elsewhere and no frame. \`application\`: its own Content-Security-Policy, Referrer-Policy, Permissions-Policy, Cross-Origin-Opener-Policy and -Embedder-Policy; and without a policy it has none but that of the next column. Without it: ${eachKind('securityHeaders')}.`,
      protects:
        'With either: nosniff, Strict-Transport-Security as `hsts` says, no loading into pages of other sites, frames on its own origin at most.',
    }),
  ),
})

/** Every option of the edge: the one source of what is read, of the reference and of the editors' schema. */
export const Options = group('Configuration of the edge.', {
  publicOrigin: text('publicOrigin', {
    description: 'Scheme, host and port that browsers use; https, or http on loopback.',
    protects:
      'Every address that the provider or a browser is told is made from it, never from a Host header; requests with another Origin are refused.',
    example: 'https://bank.example',
  }),
  listen: group('Where this process listens.', {
    host: text(undefined, {
      description: 'Address to listen on; 0.0.0.0 in a container.',
      protects: 'Nobody but this machine reaches an edge that was not told otherwise.',
      default: defaults.host,
    }),
    port: port({ description: 'Port for browsers or the proxy before it.', default: defaults.port }),
    healthPort: port({
      description: 'Port of /ping, /ready and /metrics.',
      protects: 'They are never on the public port.',
      default: defaults.healthPort,
    }),
    drainDelay: duration({
      description:
        'After it was told to stop: how long it still accepts connections, until whoever balances has noticed.',
      protects: 'No request is refused during a rolling restart.',
      from: 0,
      to: minute,
      default: defaults.drainDelay,
    }),
  }),
  logLevel: choice(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    description: 'What is logged. No level logs a token, a cookie or personal data.',
    default: defaults.logLevel,
  }),
  provider: group('The OpenID provider that logs people in.', {
    issuer: text('issuer', {
      description: 'Its issuer identifier, compared character by character; https, or http on loopback.',
      protects: 'Keys and tokens come from this provider only (RFC 9207, OpenID Connect Discovery §4.3).',
      example: 'https://id.bank.example/realms/banking',
    }),
    clientId: text(undefined, { description: 'The edge’s client there.', example: 'edge' }),
    authentication: Type.Optional(
      choice(['private_key_jwt', 'client_secret_basic', 'client_secret_post'], {
        description:
          'How the edge proves who it is. Without it: private_key_jwt with a `keyFile`, client_secret_basic with a `secretFile`.',
        protects: 'With private_key_jwt no secret ever crosses the network and none is shared with the provider.',
      }),
    ),
    keyFile: Type.Optional(
      text('secretFile', {
        description:
          'JWK Set of private keys, the signing one first: P-256 (ES256), or RSA with `alg` PS256 or RS256. Read again when it changes. The public halves are at /oauth2/jwks. Publish a key before it signs.',
        protects: 'Refused when other users of the machine can read it.',
        example: 'client-keys.json',
      }),
    ),
    secretFile: Type.Optional(
      text('secretFile', {
        description: 'File that holds the client’s secret and nothing else.',
        protects: 'A secret inside the configuration is refused. The file is refused when other users can read it.',
        example: 'client-secret',
      }),
    ),
    scope: text('scope', {
      description: 'Scope of the login; openid at least. Many providers give a refresh token only for offline_access.',
      protects: 'With openid alone the session’s token usually opens no service.',
      default: providerDefaults.scope,
    }),
    pushedRequests: choice(['auto', 'required', 'never'], {
      description: 'Whether authorization requests are pushed (RFC 9126); `auto` does it where the provider offers it.',
      protects: 'With `required` nobody on the way can change what the login asks for, nor make the edge do without.',
      default: providerDefaults.pushedRequests,
    }),
    idTokenAlgorithms: list(choice(idTokenAlgorithms, { description: 'An algorithm.' }), {
      description:
        'Signature algorithms that the client is registered for at the provider (id_token_signed_response_alg), of ID and logout tokens. Several only while the provider changes from one to another.',
      protects:
        'A token in another algorithm is refused, also when the provider has a key for it. Tokens without a signature, or signed with a secret, are never accepted.',
      default: providerDefaults.idTokenAlgorithms,
    }),
    rolesClaim: text(undefined, {
      description:
        'The claim of the ID token that lists a person’s roles, for /oauth2/userinfo; dots lead into objects.',
      default: providerDefaults.rolesClaim,
    }),
    userinfo: flag({
      description: 'Whether the provider’s userinfo endpoint is asked when the ID token has no name.',
      default: providerDefaults.userinfo,
    }),
    assumedLifetime: duration({
      description: 'How long an access token is believed to live when the provider does not say.',
      from: 10 * second,
      to: 24 * hour,
      default: providerDefaults.assumedLifetime,
    }),
    logoutTokenType: choice(['logout+jwt', 'any'], {
      description:
        'The `typ` of back-channel logout tokens; `any` also takes JWT and none, for providers that know no better.',
      protects: 'An ID token is never taken for a logout token.',
      default: providerDefaults.logoutTokenType,
    }),
  }),
  redis: group('Where sessions are kept, sealed: by `url`, or by `sentinel`. Redis 6.2 or newer.', {
    url: Type.Optional(
      text('redisUrl', {
        description: 'redis://host:port/database, or rediss:// for TLS.',
        example: 'redis://127.0.0.1:6379',
      }),
    ),
    sentinel: Type.Optional(
      group('The sentinels that know the master.', {
        name: text(undefined, { description: 'The master’s name there.', example: 'edge' }),
        nodes: list(text('hostAndPort', { description: 'A sentinel.', example: 'redis-1.internal:26379' }), {
          minItems: 1,
          description: 'host:port of each sentinel.',
        }),
        username: Type.Optional(text(undefined, { description: 'User at the sentinels.' })),
        passwordFile: Type.Optional(text('secretFile', { description: 'File that holds the sentinels’ password.' })),
        tls: Type.Optional(flag({ description: 'Whether the sentinels speak TLS.' })),
      }),
    ),
    username: Type.Optional(text(undefined, { description: 'User at Redis.' })),
    passwordFile: Type.Optional(
      text('secretFile', {
        description: 'File that holds the password and nothing else.',
        protects: 'A password inside the URL is refused.',
      }),
    ),
    tls: Type.Optional(flag({ description: 'Whether the master that Sentinel names speaks TLS.' })),
    database: Type.Optional(
      integer({ description: 'Number of the database, with Sentinel.', minimum: 0, maximum: 10_000 }),
    ),
    prefix: text('keyPrefix', {
      description: 'Stands before each key, so that several edges, or other programs, share one Redis.',
      protects: 'No edge sees or ends sessions of another.',
      default: '',
      example: 'staff:',
    }),
  }),
  session: group('How long people stay logged in, and what seals their sessions.', {
    keyFile: text('secretFile', {
      description:
        'Sealing keys: {"current": "<kid>", "keys": {"<kid>": "<32 random bytes, base64url>"}}. All replicas share it. To rotate, add a key, make it current, remove the old one after `absolute`.',
      protects: 'A copy of Redis opens no session without it, and it opens none without the cookie.',
      example: 'session-keys.json',
    }),
    idle: duration({
      description:
        'Without anything that a person did. The provider’s own session must live longer, by one access token at least.',
      protects: 'A browser that was left alone.',
      from: minute,
      to: 30 * 24 * hour,
      default: defaults.session.idle,
    }),
    absolute: duration({
      description: 'From the moment the person proved who they are (auth_time), whatever they do.',
      protects: 'A cookie that was stolen is worth nothing after it.',
      from: minute,
      to: 365 * 24 * hour,
      default: defaults.session.absolute,
    }),
    perUser: integer({
      description:
        'Sessions that one person may have at once; a further one ends one that is idle, or else the oldest.',
      protects: 'Redis, from an account that logs in without end.',
      minimum: 1,
      maximum: 1_000,
      default: defaults.session.perUser,
    }),
  }),
  cookie: group('The session cookie. Always Secure, HttpOnly, Path=/ and without Domain.', {
    name: text('cookieName', {
      description: 'Its name; begins with __Host-. Two edges on one host need two names.',
      protects: 'No other host of the domain can set it, nor a network without TLS (RFC 6265bis).',
      default: defaults.cookie.name,
    }),
    sameSite: choice(['strict', 'lax'], {
      description: '`strict`, or `lax` when links from other sites must find people logged in at once.',
      protects: 'Other sites cannot have requests made in a person’s name. `none` is refused.',
      reason: 'With none every site on the web could make requests in a person’s name',
      default: defaults.cookie.sameSite,
    }),
  }),
  hsts: group('Strict-Transport-Security (RFC 6797), on every answer where `publicOrigin` is https.', {
    maxAge: duration({
      description:
        'How long browsers that were here come by https only; 0s makes them forget it. It cannot be taken back sooner from those who do not come.',
      protects: 'A network that answers http in the edge’s place.',
      from: 0,
      to: 3 * 365 * 24 * hour,
      default: defaults.hsts.maxAge,
      example: '365d',
    }),
    includeSubDomains: flag({
      description: 'Whether that holds for every name below this one, which must all speak https then.',
      protects: 'Cookies of the parent domain, from a name below it.',
      default: defaults.hsts.includeSubDomains,
    }),
    preload: flag({
      description: 'Whether browsers may build it in (hstspreload.org). To be taken off that list takes months.',
      protects: 'The very first visit.',
      default: defaults.hsts.preload,
    }),
  }),
  upstreams: list(Upstream, {
    minItems: 1,
    description: 'The services behind the edge.',
    example: 'path: /api, and below it url: and token:',
  }),
  limits: group(
    'How much one may ask for; 429 beyond. Rates hold over all replicas, numbers at once for each of them.',
    {
      perSession: rate('Requests of one session', 'Services, from one person’s script.', defaultLimits.perSession),
      perAddress: rate(
        'Requests of one address without a session',
        'The provider and Redis, from one machine.',
        defaultLimits.perAddress,
      ),
      perAddressInAll: rate(
        'All requests of one address; a whole company may be behind it',
        'The edge, from one machine that has many sessions.',
        defaultLimits.perAddressInAll,
      ),
      logins: rate(
        'Starts and ends of logins of one address',
        'The provider, which each of them calls.',
        defaultLimits.logins,
      ),
      logoutTokens: rate(
        'Back-channel logout tokens of one address, the provider’s',
        'The edge, from tokens that anybody may send.',
        defaultLimits.logoutTokens,
      ),
      concurrentLogins: number(
        'Logins that are begun at the provider at the same time, of all addresses together.',
        'The provider, from a crowd.',
        defaultLimits.concurrentLogins,
      ),
      concurrentRequests: number(
        'Requests of one session that are being answered at the same time, streams included.',
        'Connections and memory, from one session.',
        defaultLimits.concurrentRequests,
      ),
      concurrentUploads: number(
        'Large bodies that one session sends at the same time.',
        'Connections to services, from slow senders.',
        defaultLimits.concurrentUploads,
      ),
      bodyRate: size({
        description:
          'Bytes of a request body that must come each second, on average and after its first ten seconds; 408 below. With `bodyLimit` it says how long an upload may take: 1 MB at 4KB has four minutes.',
        protects: 'Connections to services, from bodies that come byte by byte.',
        from: 1,
        to: 1024 ** 3,
        example: '4KB',
        default: defaultLimits.bodyRate,
      }),
      connections: number('Connections in all.', 'Memory and file descriptors.', defaultLimits.connections),
      addressConnections: number(
        'Connections of one address, trusted proxies apart.',
        'Everybody else’s connections.',
        defaultLimits.addressConnections,
      ),
    },
  ),
  trustedProxies: list(text('proxies', { description: 'An address or CIDR range.', example: '10.4.0.0/16' }), {
    description: 'Addresses and CIDR ranges of the proxies before the edge, whose X-Forwarded-For is believed.',
    protects: 'Nobody else can forge a client address. Wildcards and ranges wider than /8 are refused.',
    default: defaults.trustedProxies,
  }),
  internal: Type.Optional(
    group(
      'A listener for other services, which ends a person’s sessions everywhere. Not there by default. Callers bring an access token that they got for themselves (client credentials), a JWT of `provider.issuer`.',
      {
        host: text(undefined, { description: 'Address to listen on.', default: defaults.host }),
        port: port({
          description: 'Its port.',
          protects: 'Keep browsers away from it.',
          example: 3001,
        }),
        audience: text(undefined, {
          description: 'The `aud` of their tokens: this one and no other.',
          protects:
            'A token for another service opens nothing here. It is not `provider.clientId`, the audience of ID tokens.',
          example: 'edge',
        }),
        callers: list(text(undefined, { description: 'A client id.', example: 'admin-service' }), {
          minItems: 1,
          description: 'Client ids of the services that may call.',
          protects: 'No other client of the provider ends anybody’s session, nor does a person.',
        }),
        scope: text(undefined, {
          description: 'The scope that their tokens need.',
          protects: 'A token that a caller got for something else ends nothing.',
          example: 'sessions',
        }),
        algorithms: list(choice(algorithms, { description: 'An algorithm.' }), {
          minItems: 1,
          description: 'Signature algorithms of their tokens. Which one a key is for, the key says.',
          protects: 'Tokens without a signature, or signed with a secret, are never accepted.',
          default: internalDefaults.algorithms,
        }),
        tokenType: choice(['at+jwt', 'JWT'], {
          description:
            'The `typ` of their tokens: RFC 9068’s; `JWT` also takes none, and tokens without `jti`, for providers that do not follow it.',
          protects: 'No other token of the issuer, an ID token for one, is taken for an access token.',
          default: internalDefaults.tokenType,
        }),
        clientClaim: Type.Optional(
          text(undefined, {
            description:
              'The claim that names the client. Without it `client_id` (RFC 9068) or `azp`, which agree where both are there.',
            example: 'azp',
          }),
        ),
        tokenLifetime: duration({
          description: 'The longest time between `iat` and `exp` of their tokens; 401 beyond.',
          protects: 'A token that leaks is of use for no longer.',
          from: minute,
          to: 7 * 24 * hour,
          default: internalDefaults.tokenLifetime,
        }),
        jwksUrl: Type.Optional(
          text('issuer', {
            description: 'Where the issuer’s keys are, when not where its metadata says.',
            example: 'https://id.bank.example/jwks',
          }),
        ),
      },
    ),
  ),
  events: Type.Optional(
    group('Audit events of logins, refusals and logouts. Not sent by default.', {
      brokers: list(text('hostAndPort', { description: 'A broker.', example: 'kafka-1.internal:9092' }), {
        minItems: 1,
        description: 'host:port of Kafka’s brokers.',
      }),
      topic: text(undefined, { description: 'The topic.', example: 'edge' }),
    }),
  ),
  brand: group('What people see on the edge’s own pages.', {
    name: Type.Optional(
      text(undefined, {
        description: 'The name of your service; without it the host of `publicOrigin`.',
        example: 'Example Bank',
      }),
    ),
    accent: text('colour', {
      description: 'The one colour, #rrggbb; a shade of it that can be read is found for light and dark.',
      default: brandDefaults.accent,
    }),
  }),
  web: Type.Optional(
    group('A web app of static files. Without it the edge has none.', {
      root: text('folder', {
        description: 'Its folder: index.html, assets/* with hashed names, favicon and manifest.',
        example: 'web/dist',
      }),
      paths: list(text(undefined, { description: 'A path; `:id` stands for one segment.', example: '/orders/:id' }), {
        description: 'The addresses at which index.html is served.',
        default: ['/'],
      }),
    }),
  ),
})

export type Options = Static<typeof Options>
