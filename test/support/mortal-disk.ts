/** A disk that a write takes a turn on, and that takes nothing more once its process is gone. */
import type { Bytes } from '../../src/bytes.ts';
import type { KeyRange } from '../../src/store/keys.ts';
import type { MemoryDisk } from '../../src/store/memory.ts';
import { OverlayStore, type Disk } from '../../src/store/overlay.ts';
import type { Pending, RowCursor } from '../../src/store/scan.ts';
import type { Store } from '../../src/store/store.ts';

export class MortalDisk implements Disk {
  readonly #disk: MemoryDisk;
  gone = false;

  /** @param disk outlives this process */
  constructor(disk: MemoryDisk) {
    this.#disk = disk;
  }

  open(): Store {
    return new OverlayStore(this, { cacheBytes: 0, pause: turn });
  }

  get(key: string): Bytes | undefined {
    return this.#disk.get(key);
  }

  /** Commits that come during the turn are merged into the next write, as on a real disk. */
  async write(rows: Pending): Promise<void> {
    await turn();
    if (this.gone) throw new Error('the process is gone (a test said so)');
    await this.#disk.write(rows);
  }

  rows(range: KeyRange, limit: number): RowCursor {
    return this.#disk.rows(range, limit);
  }

  compact(): Promise<undefined> {
    return this.#disk.compact();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
