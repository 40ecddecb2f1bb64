import { Complaint } from './complaint.ts'
import type { Path, Reading } from './document.ts'
import type { Options } from './options.ts'
import { durationText } from './scalars.ts'

/** Options of which some may be missing or were refused already. */
type Draft<T> = T extends readonly (infer E)[]
  ? readonly Draft<E>[]
  : T extends object
    ? { [K in keyof T]?: Draft<T[K]> }
    : T
type Refuse = Reading<unknown>['refuse']
type IsRefused = Reading<unknown>['isRefused']

/** What no single option can know: values that are fine alone and unsafe or senseless together. */
export function checkTogether({ value, refuse, isRefused }: Reading<Options>): void {
  const options: Draft<Options> = value
  checkClient(options.provider ?? {}, refuse, isRefused)
  checkRedis(options.redis ?? {}, refuse, isRefused)
  checkPorts(options, refuse)
  const { internal, provider } = options
  if (internal?.audience !== undefined && internal.audience === provider?.clientId)
    refuse(
      ['internal', 'audience'],
      new Complaint(
        'is provider.clientId too',
        'The ID tokens of people are for that audience',
        'Have the provider give the callers tokens for an audience of its own',
      ),
    )
  if (provider?.clientId !== undefined && internal?.callers?.includes(provider.clientId))
    refuse(
      ['internal', 'callers'],
      new Complaint(
        'names provider.clientId',
        'Tokens of people are of that client',
        'Name the clients of services alone',
      ),
    )
  const { idle = 0, absolute = Number.POSITIVE_INFINITY } = options.session ?? {}
  if (idle > absolute)
    refuse(
      ['session', 'idle'],
      new Complaint(
        `is longer than session.absolute, ${durationText(absolute)}`,
        'A session would end before it was ever idle',
        `Write at most ${durationText(absolute)}, or a longer session.absolute`,
      ),
    )
  checkHsts(options.hsts ?? {}, refuse)
  for (const [at, upstream] of (options.upstreams ?? []).entries()) checkUpstream(options, at, upstream ?? {}, refuse)
}

function checkClient(
  { authentication, keyFile, secretFile }: Draft<Options['provider']>,
  refuse: Refuse,
  isRefused: IsRefused,
): void {
  if (keyFile !== undefined && secretFile !== undefined)
    refuse(
      ['provider', 'secretFile'],
      new Complaint(
        'stands beside keyFile',
        'The edge proves who it is in one way',
        'Keep keyFile if the provider takes private_key_jwt, else secretFile',
      ),
    )
  if (
    keyFile === undefined &&
    secretFile === undefined &&
    !isRefused(['provider', 'keyFile']) &&
    !isRefused(['provider', 'secretFile'])
  )
    refuse(
      ['provider', 'secretFile'],
      new Complaint(
        'is missing, and keyFile too',
        'The provider must know that it is the edge who asks',
        'Write secretFile: and the path of a file with the client’s secret, or keyFile:',
      ),
    )
  if (authentication === undefined) return
  const needed = authentication === 'private_key_jwt' ? 'keyFile' : 'secretFile'
  const given = keyFile !== undefined ? 'keyFile' : secretFile !== undefined ? 'secretFile' : undefined
  if (given !== undefined && given !== needed)
    refuse(
      ['provider', 'authentication'],
      new Complaint(`goes with ${needed}`, `There is a ${given}`, `Name a ${needed}, or remove authentication`),
    )
}

function checkRedis(
  { url, sentinel, tls, database }: Draft<Options['redis']>,
  refuse: Refuse,
  isRefused: IsRefused,
): void {
  if (url !== undefined && sentinel !== undefined)
    refuse(
      ['redis', 'sentinel'],
      new Complaint('stands beside url', 'Sessions are kept in one place', 'Keep one of them'),
    )
  if (url === undefined && sentinel === undefined && !isRefused(['redis', 'url']) && !isRefused(['redis', 'sentinel']))
    refuse(
      ['redis', 'url'],
      new Complaint('is missing', 'Sessions are kept there', 'Write url: redis://127.0.0.1:6379, or sentinel:'),
    )
  for (const [name, value] of Object.entries({ tls, database }))
    if (value !== undefined && sentinel === undefined)
      refuse(
        ['redis', name],
        new Complaint(
          'goes with sentinel',
          'It has no effect on a URL',
          'Say it in the URL: rediss://host:port/database',
        ),
      )
}

/** What hstspreload.org asks for. */
function checkHsts({ maxAge = 0, includeSubDomains, preload }: Draft<Options['hsts']>, refuse: Refuse): void {
  const year = 365 * 24 * 3_600_000
  if (preload !== true || (includeSubDomains === true && maxAge >= year)) return
  refuse(
    ['hsts', 'preload'],
    new Complaint(
      'needs includeSubDomains: true and a maxAge of 365d at least',
      'Browsers take nothing less into their list',
      'Write both, once every name below this one speaks https, or preload: false',
    ),
  )
}

function checkPorts({ listen, internal }: Draft<Options>, refuse: Refuse): void {
  const taken = new Map<number, string>()
  const ports: [Path, number | undefined][] = [
    [['listen', 'port'], listen?.port],
    [['listen', 'healthPort'], listen?.healthPort],
    [['internal', 'port'], internal?.port],
  ]
  for (const [path, port] of ports) {
    if (port === undefined || port === 0) continue
    const other = taken.get(port)
    if (other !== undefined)
      refuse(path, new Complaint(`is ${other} too`, 'What is for the inside would be public', 'Choose another port'))
    taken.set(port, path.join('.'))
  }
}

/** Whether one path is the other, or below it. */
const isBelow = (path: string, above: string): boolean =>
  path === above || path.startsWith(above === '/' ? above : `${above}/`)

function checkStreams(options: Draft<Options>, at: number, refuse: Refuse): void {
  const { path: own = '/', streams } = options.upstreams?.[at] ?? {}
  const foreign = ['/oauth2', ...(options.upstreams ?? []).map(other => other?.path)].filter(
    path => path !== undefined && path !== '/' && path !== own,
  ) as string[]
  const known = new Set<string>()
  for (const [index, path] of (streams?.paths ?? []).entries()) {
    if (path === undefined) continue
    const here: Path = ['upstreams', at, 'streams', 'paths', index]
    const other = foreign.find(each => isBelow(path, each))
    if (!isBelow(path, own) || other !== undefined)
      refuse(
        here,
        new Complaint(
          other === undefined ? `is not below ${own}` : `is below ${other}`,
          'It would never be asked for here',
          'Write a path of this upstream',
        ),
      )
    // The names of segments make no difference.
    const shape = path.replace(/\/:[^/]+/g, '/:')
    if (known.has(shape))
      refuse(here, new Complaint('is there twice', 'Both mean the same requests', 'Remove one of them'))
    known.add(shape)
  }
}

function checkUpstream(
  options: Draft<Options>,
  at: number,
  upstream: Draft<Options['upstreams'][number]>,
  refuse: Refuse,
): void {
  const { path, kind, token, audience, scope } = upstream
  const here = (name: string): Path => ['upstreams', at, name]
  if (token === 'exchange' && audience === undefined)
    refuse(
      here('token'),
      new Complaint(
        'is exchange, and there is no audience',
        'A token for nobody in particular opens everything',
        'Name the audience that this service checks, or write token: session',
      ),
    )
  for (const [name, value] of Object.entries({ audience, scope }))
    if (value !== undefined && token !== undefined && token !== 'exchange')
      refuse(
        here(name),
        new Complaint(
          'goes with token: exchange',
          'The token of the session is not made for one service',
          'Write token: exchange, or remove it',
        ),
      )
  if (path === undefined) return
  checkStreams(options, at, refuse)
  if (isBelow(path, '/oauth2'))
    refuse(
      here('path'),
      new Complaint('is the edge’s own', 'Logins would go to a service', 'Choose a path outside /oauth2'),
    )
  if (path === '/' && kind === 'api')
    refuse(
      here('path'),
      new Complaint(
        'is / for an api',
        'After the login people are led to /, which they could not open',
        'Write a path such as /api, or kind: pages',
      ),
    )
  for (const other of options.upstreams?.slice(0, at) ?? []) {
    if (other?.path === undefined) continue
    if (other.path === path)
      refuse(
        here('path'),
        new Complaint(
          'is another upstream’s too',
          'Only one of them would ever be asked',
          'Give each upstream a path of its own',
        ),
      )
    // Everything is below "/": that is what it is for.
    else if (path !== '/' && other.path !== '/' && (isBelow(path, other.path) || isBelow(other.path, path)))
      refuse(
        here('path'),
        new Complaint(
          `overlaps ${other.path}`,
          'What goes where would depend on the order',
          'Choose paths of which none is below another',
        ),
      )
  }
  const { web } = options
  if (web === undefined) return
  const taken = ['/assets', ...(web.paths ?? [])].find(
    page => page !== undefined && page !== '/' && (isBelow(page, path) || isBelow(path, page)),
  )
  if (path === '/' || taken !== undefined)
    refuse(
      here('path'),
      new Complaint(
        path === '/' ? 'is / beside a web app' : `overlaps ${taken}, a path of the web app`,
        'Both would answer there',
        'Choose another path, or remove web',
      ),
    )
}
