/**
 * Aborts: what waits for the abort of a signal, with one listener per signal however many wait. Hundreds of requests may
 * share a signal, and each listener of its own would cost Node a warning of a leak from the eleventh on.
 */
interface Listener {
  readonly waiting: Set<() => void>;
  readonly onAbort: () => void;
}

export class Aborts {
  readonly #listeners = new Map<AbortSignal, Listener>();

  /**
   * Has `work` done when the signal is aborted, which it must not be yet.
   * @param work does not throw
   * @returns stops waiting; harmless after the abort
   */
  add(signal: AbortSignal, work: () => void): () => void {
    const listener = this.#listeners.get(signal) ?? this.#listen(signal);
    const own = (): void => {
      work();
    };
    listener.waiting.add(own);
    return () => {
      listener.waiting.delete(own);
      if (listener.waiting.size > 0) return;
      signal.removeEventListener('abort', listener.onAbort);
      if (this.#listeners.get(signal) === listener) this.#listeners.delete(signal);
    };
  }

  #listen(signal: AbortSignal): Listener {
    const waiting = new Set<() => void>();
    const onAbort = (): void => {
      for (const work of [...waiting]) work();
    };
    const listener: Listener = { waiting, onAbort };
    this.#listeners.set(signal, listener);
    signal.addEventListener('abort', onAbort, { once: true });
    return listener;
  }
}
