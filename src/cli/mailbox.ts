/**
 * Mailbox: what a bot of the demo was given, for who waits for it.
 */
import { BotError } from '../errors.ts';
import type { Platform } from '../platform.ts';

const STEP_MS = 20_000;

/** Payloads as they come. */
export class Mailbox {
  readonly #platform: Platform;
  readonly #kept: string[] = [];
  #wake: () => void = () => undefined;

  constructor(platform: Platform) {
    this.#platform = platform;
  }

  put(payload: string): void {
    this.#kept.push(payload);
    this.#wake();
  }

  /** @throws BotError `REQUEST_TIMEOUT` when nothing comes; the signal's reason on abort */
  async next(signal: AbortSignal): Promise<string> {
    const over = new AbortController();
    const arrival = new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (this.#kept.length > 0) resolve();
    });
    try {
      await Promise.race([
        arrival,
        this.#platform.clock.sleep(STEP_MS, AbortSignal.any([signal, over.signal])),
      ]);
    } finally {
      over.abort();
    }
    const payload = this.#kept.shift();
    if (payload === undefined) throw new BotError('REQUEST_TIMEOUT', 'the answer did not come in time');
    return payload;
  }
}
