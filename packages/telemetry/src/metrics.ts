import { Counter, collectDefaultMetrics, Gauge, type Metric, Registry } from 'prom-client'
import { Histogram } from './histogram.ts'
import { Tally } from './tally.ts'

export type { Counter, Gauge } from 'prom-client'
export type { Histogram } from './histogram.ts'
export type { Tally } from './tally.ts'

/** The instruments of one process and their Prometheus text. */
export type Metrics = {
  /** Names carry their unit as OpenMetrics asks: `_seconds`, `_total`, `_bytes`. */
  counter<L extends string>(name: string, help: string, labels?: readonly L[]): Counter<L>
  /** A counter without labels that costs an addition. */
  tally(name: string, help: string): Tally
  /** With `collect` it is asked for its value when it is read: then only one part of the process may have it. */
  gauge<L extends string>(
    name: string,
    help: string,
    labels?: readonly L[],
    collect?: (gauge: Gauge<L>) => void,
  ): Gauge<L>
  /** Seconds, in buckets from 1 ms to 10 s. */
  histogram<L extends string>(name: string, help: string, labels?: readonly L[]): Histogram<L>
  contentType: string
  text(): Promise<string>
}

/** A registry of its own per app, so that tests may run several apps in one process. */
export function createMetrics(app: string): Metrics {
  const registry = new Registry()
  registry.setDefaultLabels({ app })
  let processMetrics = false
  /** Two listeners of one process count into one instrument. */
  const known = <T>(name: string): T | undefined => registry.getSingleMetric(name) as T | undefined
  /** Ours have the part of prom-client's metrics that its registry uses. */
  const registered = <T>(metric: T): T => {
    registry.registerMetric(metric as unknown as Metric)
    return metric
  }
  return {
    tally: (name, help) => known<Tally>(name) ?? registered(new Tally(name, help)),
    counter: (name, help, labels = []) =>
      known<Counter<(typeof labels)[number]>>(name) ??
      new Counter({ name, help, labelNames: [...labels], registers: [registry] }),
    gauge: (name, help, labels = [], collect) => {
      const shared = collect === undefined ? known<Gauge<(typeof labels)[number]>>(name) : undefined
      if (shared !== undefined) return shared
      const gauge: Gauge<(typeof labels)[number]> = new Gauge({
        name,
        help,
        labelNames: [...labels],
        registers: [registry],
        ...(collect === undefined ? {} : { collect: () => collect(gauge) }),
      })
      return gauge
    },
    histogram: (name, help, labels = []) =>
      known<Histogram<(typeof labels)[number]>>(name) ?? registered(new Histogram(name, help, labels)),
    contentType: registry.contentType,
    text: () => {
      // Event-loop and memory gauges cost a timer: only a process that is scraped has them.
      if (!processMetrics) collectDefaultMetrics({ register: registry })
      processMetrics = true
      return registry.metrics()
    },
  }
}
