import { render } from 'preact'
import { App } from './app.tsx'
import { ErrorBoundary } from './components/error-boundary.tsx'
import { watchLive } from './live.ts'
import { watchNavigation } from './navigation.ts'
import { watchSession } from './session.ts'
import './style/index.css'
import { watchTitle } from './title.ts'

const root = document.getElementById('app')
if (root === null) throw new Error('The page has no element with the id "app".')

watchNavigation()
watchTitle()
watchLive()
watchSession()
render(
  <ErrorBoundary>
    <App />
  </ErrorBoundary>,
  root,
)
