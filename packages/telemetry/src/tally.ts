/** A counter without labels, for what is counted with every request: prom-client's looks its one series up each time. */
export class Tally {
  readonly name: string
  readonly #help: string
  #value = 0

  constructor(name: string, help: string) {
    this.name = name
    this.#help = help
  }

  inc(): void {
    this.#value++
  }

  /** What prom-client's registry asks of a metric. */
  async get() {
    return {
      name: this.name,
      help: this.#help,
      type: 'counter',
      aggregator: 'sum',
      values: [{ value: this.#value, labels: {} }],
    }
  }
}
