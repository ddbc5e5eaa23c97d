/** The real clock, which a test can put forward: what sleeps until then wakes. */
import type { Clock, Platform } from '../../../../src/platform.ts';
import { systemPlatform } from '../../../../src/platform.ts';

export class ShiftingClock implements Clock {
  #offsetMs = 0;
  readonly #real = systemPlatform().clock;
  readonly #sleepers = new Set<{ readonly until: number; readonly wake: () => void }>();

  now(): number {
    return this.#real.now() + this.#offsetMs;
  }

  elapsed(): number {
    return this.#real.elapsed() + this.#offsetMs;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const woken = new AbortController();
    const sleeper = {
      until: this.now() + ms,
      wake: () => {
        woken.abort();
      },
    };
    this.#sleepers.add(sleeper);
    try {
      const either = signal === undefined ? woken.signal : AbortSignal.any([signal, woken.signal]);
      await this.#real.sleep(ms, either);
    } catch (error) {
      if (signal?.aborted === true || !woken.signal.aborted) throw error;
    } finally {
      this.#sleepers.delete(sleeper);
    }
  }

  advance(ms: number): void {
    this.#offsetMs += ms;
    for (const { until, wake } of this.#sleepers) if (until <= this.now()) wake();
  }

  get platform(): Platform {
    return { ...systemPlatform(), clock: this };
  }
}
