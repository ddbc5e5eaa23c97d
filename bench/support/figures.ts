/** Figures: what the benchmarks measure, as they report it and the page of results shows it. Times in ms if unsaid. */

export interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Of a store with so many sessions. */
export interface StoreSize {
  readonly rows: number;
  /** Median. */
  readonly openMs: number;
  /** Medians, of the wall clock and of the processor. */
  readonly messageMicros: number;
  readonly messageCpuMicros: number;
}

/** A verification from its start to its end on both sides. */
export interface WholeRun {
  /** Median, both sides together. */
  readonly ms: number;
  /** All frames of a run. */
  readonly frameBytes: number;
  /** Longest that the event loop was held, over all runs. */
  readonly heldMs: number;
}

/** A ceremony over the network. */
export interface CeremonyCost {
  /** Until the last party is done. */
  readonly ms: number;
  /** The same machines in memory, all parties one after the other. */
  readonly memoryMs: number;
  /** Of all parties. */
  readonly messages: number;
  readonly bytes: number;
  /** As many plain messages of the same bots. */
  readonly unitMs: number;
  /** (ms - memoryMs) / unitMs */
  readonly ratio: number;
}

export interface RoundsSize {
  readonly n: number;
  readonly threshold: number;
  readonly keygen: CeremonyCost;
  readonly sign: CeremonyCost;
}
