/**
 * Stoppable: the items of another iterable until they are stopped, which also ends a wait for the next one. Nothing is
 * left behind by a wait that ended well, however many there are.
 */
export class Stoppable<T> implements AsyncIterableIterator<T, undefined> {
  readonly #items: AsyncIterator<T>;
  #stopped = false;
  /** Ends the wait under way. */
  #end: ((end: IteratorReturnResult<undefined>) => void) | undefined;

  constructor(items: AsyncIterable<T>) {
    this.#items = items[Symbol.asyncIterator]();
  }

  stop(): void {
    this.#stopped = true;
    this.#end?.({ done: true, value: undefined });
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#stopped) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#end = resolve;
      this.#items.next().then((next) => {
        resolve(next.done === true ? { done: true, value: undefined } : next);
      }, reject);
    });
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    // What waits for an item that never comes does not hold up who leaves.
    this.#items.return?.().catch(() => undefined);
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
