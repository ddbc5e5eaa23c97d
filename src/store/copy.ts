/**
 * Copy: the rows of one database into another, a page at a time.
 */
import { rangeOf } from './keys.ts';
import { LevelDisk, type LevelDb } from './level-disk.ts';
import type { Bytes } from '../bytes.ts';
import type { Sealer } from './seal.ts';

const PAGE = 256;

/** Copies every row but the store's own, opened by one sealer and sealed by the other. Each page is synced. */
export async function copyRows(
  from: { db: LevelDb; sealer: Sealer },
  to: { db: LevelDb; sealer: Sealer },
): Promise<void> {
  const target = new LevelDisk(to.db, to.sealer);
  const rows = new LevelDisk(from.db, from.sealer).rows(rangeOf('', undefined), Infinity);
  try {
    for (;;) {
      const page = await rows.next(PAGE);
      if (page.length === 0) return;
      await target.write(new Map(page));
    }
  } finally {
    await rows.close();
  }
}

/** Values as they stand on disk, for a copy that need not be unlocked. */
export const sealedAsIs: Sealer = {
  seal: (_key: string, value: Bytes) => value,
  open: (_key: string, sealed: Bytes) => sealed,
};
