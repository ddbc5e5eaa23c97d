/**
 * Migration: an older format made today's, in place, after a copy.
 *
 * Steps: copy to `backup-format-N-TIME/` -> header says that a migration is under way -> rows rewritten page by page ->
 * header says that it is done. Rows name their own layout, so a migration that was interrupted is simply gone through
 * again, and the copy that the header names is kept.
 *
 *   1 -> 2   values are bound to their keys (layout 2 in place of 1, 3 in place of 0); the database holds the store's id
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fromUtf8, type Bytes } from '../bytes.ts';
import type { Platform } from '../platform.ts';
import { copyRows, sealedAsIs } from './copy.ts';
import { makeFolder, moveFolder, syncFolder } from './files.ts';
import { ID_KEY, type OpenFolder } from './folder.ts';
import { FORMAT, writeHeader, type Header } from './header.ts';
import { LevelDisk, openDb, type LevelDb } from './level-disk.ts';
import { rangeOf } from './keys.ts';
import { AesSealer, plainSealer } from './seal.ts';

const PAGE = 256;

/**
 * Brings an open store to today's format, or goes on where that was interrupted.
 * @param onStep told before each step that writes, and after each page; a test ends the process there
 * @returns the store with its new header; the database stays open, whatever happens
 * @throws BotError `STORE_DAMAGED` a row cannot be opened; other errors come from writing
 */
export async function migrate(
  opened: OpenFolder,
  platform: Platform,
  onStep: (step: string) => void = () => undefined,
): Promise<OpenFolder> {
  const { folder, db } = opened;
  const header =
    opened.header.migration === undefined ? await begin(opened, platform, onStep) : opened.header;
  onStep('rows');
  await bindRows(
    db,
    header.id,
    opened.dataKey === undefined ? undefined : new AesSealer(opened.dataKey, platform.random),
    onStep,
  );
  onStep('done');
  const { migration, ...done } = header;
  await writeHeader(folder, done);
  platform.log.info(
    { from: migration?.from, to: FORMAT, backup: migration?.backup },
    'the store was migrated',
  );
  return { ...opened, header: done };
}

/** Copies the store as it is, then says in the header that a migration is under way. */
async function begin(
  { folder, header, db }: OpenFolder,
  platform: Platform,
  onStep: (step: string) => void,
): Promise<Header> {
  const from = header.format;
  const backup = `backup-format-${String(from)}-${String(platform.clock.now())}`;
  const draft = join(folder, `${backup}.part`);
  onStep('copy');
  await rm(draft, { recursive: true, force: true });
  await makeFolder(draft);
  const copy = await openDb(join(draft, header.db), { create: true });
  try {
    await copyRows({ db, sealer: sealedAsIs }, { db: copy, sealer: sealedAsIs });
  } finally {
    await new LevelDisk(copy, sealedAsIs).close();
  }
  await syncFolder(join(draft, header.db));
  await writeHeader(draft, header);
  await moveFolder(draft, join(folder, backup));
  const begun: Header = { ...header, format: FORMAT, migration: { from, backup } };
  onStep('begin');
  await writeHeader(folder, begun);
  return begun;
}

/** Rewrites every row in today's layout, and adds the store's id. */
async function bindRows(
  db: LevelDb,
  id: string,
  aes: AesSealer | undefined,
  onStep: (step: string) => void,
): Promise<void> {
  const disk = new LevelDisk(db, aes ?? plainSealer);
  const open = (key: string, sealed: Bytes): Bytes =>
    aes === undefined ? plainSealer.open(key, sealed) : aes.openOld(key, sealed);
  const rows = new LevelDisk(db, sealedAsIs).rows(rangeOf('', undefined), Infinity);
  try {
    for (;;) {
      const page = await rows.next(PAGE);
      if (page.length === 0) break;
      await disk.write(new Map(page.map(([key, sealed]) => [key, open(key, sealed)])));
      onStep('page');
    }
  } finally {
    await rows.close();
  }
  await disk.write(new Map([[ID_KEY, fromUtf8(id)]]));
}
