/** Seconds, in buckets from 1 ms to 10 s. */
const bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

type Labels<L extends string> = Partial<Record<L, string>>
type Value = { metricName: string; labels: { le?: number | '+Inf' }; sharedLabels: Labels<string>; value: number }

/**
 * A histogram for a registry of prom-client. Its own makes a text of all labels for each sample, also where the time
 * series was looked up before: that costs a forwarded request as much as finding its session.
 */
export class Histogram<L extends string = string> {
  readonly name: string
  readonly #help: string
  readonly #labelNames: readonly L[]
  readonly #series = new Map<string, Series<L>>()

  constructor(name: string, help: string, labelNames: readonly L[]) {
    this.name = name
    this.#help = help
    this.#labelNames = labelNames
    // Without labels there is one time series, and it is there before its first sample.
    if (labelNames.length === 0) this.labels({})
  }

  /** The time series with these values of its labels, to be kept by who samples often. */
  labels(values: Labels<L>): Series<L> {
    const key = this.#labelNames.map(name => values[name]).join('\n')
    let series = this.#series.get(key)
    if (series === undefined) {
      series = new Series(values)
      this.#series.set(key, series)
    }
    return series
  }

  observe(values: Labels<L>, seconds: number): void {
    this.labels(values).observe(seconds)
  }

  /** @returns takes the sample: the time from now until it is called */
  startTimer(values: Labels<L> = {}): () => void {
    const started = performance.now()
    return () => this.observe(values, (performance.now() - started) / 1000)
  }

  /** What prom-client's registry asks of a metric. */
  async get() {
    const values: Value[] = []
    for (const { labels: sharedLabels, counts, sum } of this.#series.values()) {
      const add = (suffix: string, value: number, labels: Value['labels'] = {}) =>
        values.push({ metricName: `${this.name}_${suffix}`, labels, sharedLabels, value })
      let count = 0
      for (let at = 0; at <= bounds.length; at++) {
        count += counts[at] as number
        add('bucket', count, { le: bounds[at] ?? '+Inf' })
      }
      add('sum', sum)
      add('count', count)
    }
    return { name: this.name, help: this.#help, type: 'histogram', aggregator: 'sum', values }
  }
}

class Series<L extends string> {
  readonly labels: Labels<L>
  /** Samples by bucket, not added up; the last is for what is above all bounds. */
  readonly counts = new Float64Array(bounds.length + 1)
  sum = 0

  constructor(labels: Labels<L>) {
    this.labels = labels
  }

  observe(seconds: number): void {
    let at = 0
    while (at < bounds.length && seconds > (bounds[at] as number)) at++
    ;(this.counts[at] as number)++
    this.sum += seconds
  }
}
