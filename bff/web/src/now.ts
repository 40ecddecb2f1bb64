import { useEffect, useState } from 'preact/hooks'

/** The present moment, renewed every `period` milliseconds while the component is on the page. */
export function useNow(period: number, now: () => number = Date.now): number {
  const [moment, setMoment] = useState(now)
  useEffect(() => {
    const timer = setInterval(() => setMoment(now()), period)
    return () => clearInterval(timer)
  }, [period, now])
  return moment
}
