import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export type { Counter, Gauge, Histogram } from 'prom-client'

/** The instruments of one process and their Prometheus text. */
export type Metrics = {
  /** Names carry their unit as OpenMetrics asks: `_seconds`, `_total`, `_bytes`. */
  counter<L extends string>(name: string, help: string, labels?: readonly L[]): Counter<L>
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

const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** A registry of its own per app, so that tests may run several apps in one process. */
export function createMetrics(app: string): Metrics {
  const registry = new Registry()
  registry.setDefaultLabels({ app })
  let processMetrics = false
  /** Two listeners of one process count into one instrument. */
  const known = <T>(name: string): T | undefined => registry.getSingleMetric(name) as T | undefined
  return {
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
      known<Histogram<(typeof labels)[number]>>(name) ??
      new Histogram({ name, help, labelNames: [...labels], buckets, registers: [registry] }),
    contentType: registry.contentType,
    text: () => {
      // Event-loop and memory gauges cost a timer: only a process that is scraped has them.
      if (!processMetrics) collectDefaultMetrics({ register: registry })
      processMetrics = true
      return registry.metrics()
    },
  }
}
