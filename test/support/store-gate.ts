/** A disk whose writes wait until a test lets them through, or fails them. */
import type { Bytes } from '../../src/bytes.ts';
import type { KeyRange } from '../../src/store/keys.ts';
import { MemoryDisk } from '../../src/store/memory.ts';
import { OverlayStore, type Disk } from '../../src/store/overlay.ts';
import type { Pending, RowCursor } from '../../src/store/scan.ts';

interface Waiting {
  readonly rows: Pending;
  readonly pass: () => void;
  readonly fail: (error: Error) => void;
}

export class GatedDisk implements Disk {
  readonly disk = new MemoryDisk();
  /** The rows of each write, in order. */
  readonly writes: Pending[] = [];
  /** Reads that reached the disk. */
  reads: string[] = [];
  closed = false;
  #waiting: Waiting | undefined;

  get(key: string): Bytes | undefined {
    this.reads.push(key);
    return this.disk.get(key);
  }

  write(rows: Pending): Promise<void> {
    if (this.#waiting !== undefined) throw new Error('a write began before the last one had ended');
    this.writes.push(rows);
    return new Promise((resolve, reject) => {
      this.#waiting = { rows, pass: resolve, fail: reject };
    });
  }

  rows(range: KeyRange, limit: number): RowCursor {
    return this.disk.rows(range, limit);
  }

  compact(): Promise<undefined> {
    return this.disk.compact();
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  /** Lets the write that waits through; waits for one when there is none yet. */
  async pass(): Promise<void> {
    const waiting = await this.#next();
    await this.disk.write(waiting.rows);
    waiting.pass();
    await settled();
  }

  async fail(error: Error): Promise<void> {
    (await this.#next()).fail(error);
    await settled();
  }

  async #next(): Promise<Waiting> {
    for (let i = 0; i < 100 && this.#waiting === undefined; i++) await settled();
    const waiting = this.#waiting;
    if (waiting === undefined) throw new Error('nothing is being written');
    this.#waiting = undefined;
    return waiting;
  }
}

export function gatedStore(options: { cacheBytes?: number } = {}): { store: OverlayStore; disk: GatedDisk } {
  const disk = new GatedDisk();
  const store = new OverlayStore(disk, {
    cacheBytes: options.cacheBytes ?? 0,
    pause: () => Promise.resolve(),
  });
  return { store, disk };
}

export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
