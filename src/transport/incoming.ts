/**
 * Incoming: the bounded queue between the socket and the one consumer of deliveries.
 *
 * Above a high mark the socket is not read any more, below a low mark it is again: a server that sends faster than
 * messages become durable waits in its own buffers.
 */
import type { Incoming } from './request.ts';

const HIGH_COUNT = 1024;
const HIGH_BYTES = 8 * 1024 * 1024;

interface Item {
  readonly incoming: Incoming;
  readonly bytes: number;
}

export class IncomingQueue implements AsyncIterable<Incoming> {
  readonly #onPressure: (high: boolean) => void;
  #items: Item[] = [];
  /** Index of the oldest item; those before it are gone. */
  #head = 0;
  #bytes = 0;
  #high = false;
  #ended = false;
  #consumed = false;
  #waiting: ((result: IteratorResult<Incoming>) => void) | undefined;
  /** How often reading was stopped. */
  stops = 0;

  /** @param onPressure true: stop reading; false: go on. Returns at once */
  constructor(onPressure: (high: boolean) => void) {
    this.#onPressure = onPressure;
  }

  get high(): boolean {
    return this.#high;
  }

  get size(): number {
    return this.#items.length - this.#head;
  }

  /** @param bytes what the item holds in memory */
  push(incoming: Incoming, bytes: number): void {
    if (this.#ended) return;
    const waiting = this.#waiting;
    if (waiting) {
      this.#waiting = undefined;
      waiting({ value: incoming, done: false });
      return;
    }
    this.#items.push({ incoming, bytes });
    this.#bytes += bytes;
    if (!this.#high && (this.size >= HIGH_COUNT || this.#bytes >= HIGH_BYTES)) {
      this.#high = true;
      this.stops += 1;
      this.#onPressure(true);
    }
  }

  /** Forgets what has not been taken: its socket is gone, and the server sends it again in the same order. */
  clear(): void {
    this.#items = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#high = false;
  }

  /** No more will come; what has not been taken is forgotten. */
  end(): void {
    this.clear();
    this.#ended = true;
    this.#waiting?.({ value: undefined, done: true });
    this.#waiting = undefined;
  }

  /** For one consumer at a time; another may follow when it has left. */
  [Symbol.asyncIterator](): AsyncIterator<Incoming> {
    if (this.#consumed) throw new Error('incoming() has one consumer at a time');
    this.#consumed = true;
    return {
      next: () => this.#next(),
      return: () => {
        this.#consumed = false;
        return Promise.resolve({ value: undefined, done: true });
      },
    };
  }

  #next(): Promise<IteratorResult<Incoming>> {
    const item = this.#items[this.#head];
    if (item) return Promise.resolve({ value: this.#take(item), done: false });
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    if (this.#waiting) throw new Error('next() is called before the one before it has resolved');
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  #take(item: Item): Incoming {
    this.#head += 1;
    this.#bytes -= item.bytes;
    // Moving the rest forward now and then costs less than shift() each time.
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head >= HIGH_COUNT) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    if (this.#high && this.size <= HIGH_COUNT / 2 && this.#bytes <= HIGH_BYTES / 2) {
      this.#high = false;
      this.#onPressure(false);
    }
    return item.incoming;
  }
}
