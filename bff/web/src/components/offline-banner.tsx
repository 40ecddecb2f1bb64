import { useEffect, useState } from 'preact/hooks'
import { Icon } from './icon.tsx'

/** Says that there is no connection. The live region is always there, or its first message would not be read out. */
export function OfflineBanner() {
  const [isOffline, setOffline] = useState(!navigator.onLine)
  useEffect(() => {
    const update = () => setOffline(!navigator.onLine)
    window.addEventListener('online', update)
    window.addEventListener('offline', update)
    return () => {
      window.removeEventListener('online', update)
      window.removeEventListener('offline', update)
    }
  }, [])
  return (
    <div role="status" class={isOffline ? 'offline-banner' : 'visually-hidden'}>
      {isOffline && (
        <>
          <Icon name="offline" />
          <span>You are offline. What you see may be out of date; it refreshes as soon as you are back.</span>
        </>
      )}
    </div>
  )
}
