/**
 * Lanes: serial queues by name. What runs in one lane never overlaps; lanes run beside each other.
 */
export class Lanes {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Runs after all that was queued in this lane before. A failure is the caller's alone. */
  run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(name);
    const result = before === undefined ? work() : before.then(work, work);
    const forget = (): void => {
      if (this.#tails.get(name) === tail) this.#tails.delete(name);
    };
    const tail: Promise<void> = result.then(forget, forget);
    this.#tails.set(name, tail);
    return result;
  }
}
