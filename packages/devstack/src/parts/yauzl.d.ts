/** What we use of yauzl 3, which ships no types. */
declare module 'yauzl' {
  import type { EventEmitter } from 'node:events'
  import type { Readable } from 'node:stream'

  type Callback<T> = (error: Error | null, value: T) => void
  export type Options = { lazyEntries?: boolean }
  export type Entry = { fileName: string; externalFileAttributes: number }
  export type ZipFile = EventEmitter & {
    readEntry(): void
    openReadStream(entry: Entry, callback: Callback<Readable>): void
  }
  const yauzl: { open(path: string, options: Options, callback: Callback<ZipFile>): void }
  export default yauzl
}
