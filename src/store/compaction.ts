/**
 * Compaction: LevelDB's files written anew, so that what was deleted or overwritten leaves the disk.
 *
 * LevelDB only adds: a row that was deleted stays in a log or a table until that is merged with another, which may never
 * happen. Its `compactRange` alone does not see to it, for it moves rows down to the lowest level that has any in the range and leaves
 * the tables there as they are: a row and its deletion that came into one of them together both stay. So each table first
 * gets something above it to be merged with, one row of its range that is written again as it is; and whether every
 * file of before is gone is looked up in the folder.
 *
 * It goes piece by piece, as LevelDB cannot be interrupted: a close waits for the piece in hand. It runs in LevelDB's own thread,
 * and one of libuv's four waits for it; commits and reads go on. Measured with 10^5 rows of 3 KB (300 MB, five or six pieces) on
 * two cores, another program at work: 2 to 4 s, a piece 1.3 s at most. Under full write load (before tables were checked) 7 s,
 * with commits of 0.65 ms in place of 0.35 ms (median; 36 ms in place of 16 ms for one in a hundred) and reads as fast as before.
 * The check of a table of 16 MB holds the event loop 25 ms, 50 beside that program. A place with few rows: some 10 ms.
 */
import { readdir, readFile, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { compareKeys, type KeyRange } from './keys.ts';
import { checkTable } from './table-check.ts';

/** Tables that one call takes on, in bytes. */
export const PIECE_BYTES = 64 * 1024 * 1024;
/** That stay free on the disk, where the store is as large: tables beside the piece may have to be merged with it. */
const SPARE_BYTES = 128 * 1024 * 1024;
/** A log and what goes with it. */
const LOG_BYTES = 1024 * 1024;
/** A read that goes on in this moment keeps a file from being removed. */
const ATTEMPTS = 3;
/** No text has this byte, so no row is there. */
const BEHIND_ALL = Uint8Array.of(0xff);
/** As LevelDB prints it: NUMBER:BYTES['SMALLEST' @ SEQUENCE : TYPE .. 'LARGEST' @ SEQUENCE : TYPE] */
const TABLE = /^ (\d+):(\d+)\['(.*)' @ \d+ : \d+ \.\. '(.*)' @ \d+ : \d+\]$/;

/** What LevelDB has beside what the type of `level` shows, which is what browsers have too. */
export interface Compactable {
  /** Of its folder. */
  readonly location: string;
  compactRange<K = string>(from: K, to: K, options?: { readonly keyEncoding: string }): Promise<void>;
  getProperty(name: string): string;
}

/** A table that counts. */
interface LiveTable {
  /** Of its file. */
  readonly name: string;
  readonly bytes: number;
  /** Keys. */
  readonly smallest: string;
  readonly largest: string;
}

/**
 * Writes the beginning of a range anew. No scan may be going on: LevelDB would keep what that can see. A piece of which a table
 * is damaged is left as it is: written anew it would have right check sums, and `doctor` could not find it any more.
 * @param touch writes rows again as they are, deletes those that are not there, and resolves when that is durable
 * @returns where to go on; undefined at the end of the range; `range.from` when files of before are still there, or the disk is
 *   nearly full
 * @throws what `touch` throws; an error of LevelDB's when it is closed
 */
export async function compactPiece(
  db: Compactable,
  range: KeyRange,
  touch: (keys: readonly string[]) => Promise<void>,
  pieceBytes = PIECE_BYTES,
): Promise<string | undefined> {
  const logs = (await readdir(db.location)).filter((name) => name.endsWith('.log'));
  await flush(db);
  const all = readTables(db.getProperty('leveldb.sstables'));
  const { tables, next } = firstPiece(tablesIn(all, range), range.from, pieceBytes);
  if (!(await hasRoom(db.location, all, tables))) return range.from;
  for (const { name } of mergedWith(all, tables))
    if (checkTable(await readFile(join(db.location, name))) === 'damaged') return next;
  const last = tables
    .map(({ largest }) => largest)
    .sort(compareKeys)
    .at(-1);
  if (last !== undefined) {
    // Deletions count too: one is kept as long as a table below it has its key within its range.
    await touch([...new Set(tables.map(({ smallest }) => later(smallest, range.from)))]);
    await db.compactRange(range.from, next ?? range.below ?? last);
  }
  const old = [...logs, ...tables.map(({ name }) => name)];
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const names = new Set(await readdir(db.location));
    if (!old.some((name) => names.has(name))) return next;
    await flush(db);
  }
  return range.from;
}

/** LevelDB takes no more writes once a table could not be written. */
async function hasRoom(
  folder: string,
  all: readonly LiveTable[],
  tables: readonly LiveTable[],
): Promise<boolean> {
  const needed = bytesOf(tables) + Math.min(bytesOf(all) + LOG_BYTES, SPARE_BYTES);
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize > needed;
}

function bytesOf(tables: readonly LiveTable[]): number {
  return tables.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** These and those that LevelDB may merge with them, since their ranges meet, or meet one that does. */
function mergedWith(all: readonly LiveTable[], piece: readonly LiveTable[]): readonly LiveTable[] {
  let found = piece;
  for (;;) {
    const more = all.filter((table) => found.some((one) => meets(one, table)));
    if (more.length === found.length) return found;
    found = more;
  }
}

function meets(a: LiveTable, b: LiveTable): boolean {
  return compareKeys(a.smallest, b.largest) <= 0 && compareKeys(b.smallest, a.largest) <= 0;
}

/** Begins a new log, writes what the old one had into a table, and removes files that do not count any more. */
async function flush(db: Compactable): Promise<void> {
  await db.compactRange(BEHIND_ALL, BEHIND_ALL, { keyEncoding: 'view' });
}

/** The tables that may have keys of the range, by their smallest key. */
function tablesIn(all: readonly LiveTable[], { from, below }: KeyRange): readonly LiveTable[] {
  return all
    .filter(({ largest }) => compareKeys(largest, from) >= 0)
    .filter(({ smallest }) => below === undefined || compareKeys(smallest, below) < 0)
    .sort((a, b) => compareKeys(a.smallest, b.smallest));
}

/** All of a table that begins in it belongs to a piece, and the next piece begins where a table does. */
function firstPiece(
  tables: readonly LiveTable[],
  from: string,
  pieceBytes: number,
): { readonly tables: readonly LiveTable[]; readonly next: string | undefined } {
  let bytes = 0;
  const end = tables.findIndex((table) => {
    if (bytes >= pieceBytes && compareKeys(table.smallest, from) > 0) return true;
    bytes += table.bytes;
    return false;
  });
  return end < 0
    ? { tables, next: undefined }
    : { tables: tables.slice(0, end), next: tables[end]?.smallest };
}

function readTables(listed: string): readonly LiveTable[] {
  return listed.split('\n').flatMap((line) => {
    const [, number, bytes, smallest, largest] = TABLE.exec(line) ?? [];
    if (number === undefined || smallest === undefined || largest === undefined) return [];
    const name = `${number.padStart(6, '0')}.ldb`;
    return [{ name, bytes: Number(bytes), smallest: unescape(smallest), largest: unescape(largest) }];
  });
}

/** Bytes that are no printable ASCII stand there as `\xHH`. A key that has this as text is taken for another, and said to be left. */
function unescape(text: string): string {
  const bytes = text.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

function later(a: string, b: string): string {
  return compareKeys(a, b) < 0 ? b : a;
}
