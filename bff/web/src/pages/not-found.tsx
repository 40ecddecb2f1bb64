import { Page } from '../components/page.tsx'

export function NotFoundPage() {
  return (
    <Page title="There is no such page" lead="The address may be mistyped, or the page has moved." narrow>
      <p class="actions">
        <a class="button" href="/">
          Go to the overview
        </a>
      </p>
    </Page>
  )
}
