// Plain JavaScript for any Node from 20 on: everything behind it is TypeScript that only the pinned Node can run.
import { createRequire } from 'node:module'
import process from 'node:process'

/** Exits with a clear message unless this is the pinned Node and the workspace is installed. */
export function check() {
  const major = Number(process.versions.node.split('.')[0])
  if (major < 26) {
    fail(
      `This needs Node 26, which the workspace brings along, but node ${process.versions.node} is running it.`,
      'Start it through pnpm, which puts the right node first on PATH: npx -y pnpm@10.34.9 dev',
      'If that is what you did, the optional dependency with node is missing: npx -y pnpm@10.34.9 install --force',
    )
  }
  try {
    createRequire(import.meta.url).resolve('openid-client/package.json')
  } catch {
    fail('The dependencies are not installed.', 'Install them: npx -y pnpm@10.34.9 install')
  }
}

function fail(...lines) {
  console.error(lines.join('\n'))
  process.exit(1)
}
