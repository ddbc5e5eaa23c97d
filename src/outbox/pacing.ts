/**
 * Pacing: the server's leaky bucket of unsealed messages to one account, 60 at once and one more a second (protocol
 * brief, section 1.9), kept here as well, so that a burst waits in the outbox instead of being refused.
 */
import type { ServiceId } from '../address.ts';

const BURST = 60;
const REFILL_MS = 1000;
/** Buckets that are remembered, the latest used. */
const BUCKETS = 10_000;

interface Bucket {
  readonly level: number;
  /** ms */
  readonly at: number;
}

export class Pacing {
  readonly #buckets = new Map<ServiceId, Bucket>();

  /** Takes one from the recipient's bucket. @returns 0, or the ms to wait before trying again; then nothing was taken */
  take(recipient: ServiceId, now: number): number {
    const level = this.#level(recipient, now);
    if (level < 1) return Math.ceil((1 - level) * REFILL_MS);
    this.#set(recipient, { level: level - 1, at: now });
    return 0;
  }

  /** The server said 429: its bucket is empty, whatever ours says. */
  empty(recipient: ServiceId, now: number): void {
    this.#set(recipient, { level: 0, at: now });
  }

  #level(recipient: ServiceId, now: number): number {
    const bucket = this.#buckets.get(recipient);
    if (bucket === undefined) return BURST;
    if (now < bucket.at) this.#set(recipient, { ...bucket, at: now }); // the clock was set back
    return Math.min(BURST, bucket.level + Math.max(0, now - bucket.at) / REFILL_MS);
  }

  #set(recipient: ServiceId, bucket: Bucket): void {
    this.#buckets.delete(recipient);
    this.#buckets.set(recipient, bucket);
    const oldest = this.#buckets.keys().next();
    if (this.#buckets.size > BUCKETS && oldest.done !== true) this.#buckets.delete(oldest.value);
  }
}
