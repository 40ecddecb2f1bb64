import { defineConfig } from 'vite'

export default defineConfig({
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    target: 'es2022',
    // The polyfill writes to script sinks, which Trusted Types refuses; every browser we support has modulepreload.
    modulePreload: { polyfill: false },
    // Every asset is a hashed file: the content security policy needs no exception for data URLs.
    assetsInlineLimit: 0,
    sourcemap: false,
  },
})
