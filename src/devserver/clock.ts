/**
 * The development server's clock: the platform's, plus what tests have moved it on by.
 *
 * Everything that the front times (tokens, provisioning sockets, idle sockets, resends, rate limits) reads this one.
 */
import type { Clock } from '../platform.ts';

export class ServerClock implements Clock {
  readonly #base: Clock;
  #offsetMs = 0;
  readonly #jumps = new Set<AbortController>();

  constructor(base: Clock) {
    this.#base = base;
  }

  now(): number {
    return this.#base.now() + this.#offsetMs;
  }

  elapsed(): number {
    return this.#base.elapsed() + this.#offsetMs;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const until = this.elapsed() + ms;
    for (;;) {
      signal?.throwIfAborted();
      const left = until - this.elapsed();
      if (left <= 0) return;
      const jump = new AbortController();
      this.#jumps.add(jump);
      try {
        await this.#base.sleep(
          left,
          signal === undefined ? jump.signal : AbortSignal.any([signal, jump.signal]),
        );
        return;
      } catch (error) {
        if (!jump.signal.aborted) throw error;
      } finally {
        this.#jumps.delete(jump);
      }
    }
  }

  /** Moves time on; sleepers whose time has come wake, the others go on sleeping for what is left. */
  advance(ms: number): void {
    this.#offsetMs += ms;
    for (const jump of [...this.#jumps]) jump.abort();
  }
}
