/** Grey shapes of the size of what comes, so that nothing jumps when it is there. */
export function Skeleton({ shape, count = 1 }: { shape: 'card' | 'row' | 'hero' | 'text'; count?: number }) {
  return (
    <div class={`skeletons skeletons-${shape}`} role="status">
      <span class="visually-hidden">Loading…</span>
      {Array.from({ length: count }, (_, index) => (
        <div key={index} class={`skeleton skeleton-${shape}`} aria-hidden="true" />
      ))}
    </div>
  )
}
