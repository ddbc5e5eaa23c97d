/**
 * Database check: LevelDB's files looked at before LevelDB opens them.
 *
 * LevelDB takes a log as far as it can be read, and what is missing for what was never written: rows would be as they
 * were a while ago, and a ratchet that goes back encrypts two messages under one key. So before each opening the
 * manifest and the logs are read with all check sums, and the tables are looked for. After a closing (closing.ts) no
 * byte may be missing. After an end that was none, what was being written may be torn, but only at the very end of the
 * last log: whole records that are missing there cannot be told from records that were never written. Each write is
 * synced before it counts, so those are missing only when the medium has lost what it had said was written.
 *
 * Tables are read through where that takes no time worth speaking of; `doctor` reads them all.
 */
import { statSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { BotError } from '../errors.ts';
import { readClosing, type Lengths } from './closing.ts';
import { asReadFailure, isMissing } from './files.ts';
import type { Header } from './header.ts';
import { walkLog, type LogFault } from './log-walk.ts';
import { readManifest, type Manifest } from './manifest.ts';
import { checkTable } from './table-check.ts';

/** Tables of so many bytes altogether are read at each opening: some 20 ms. */
const SMALL_BYTES = 8 * 1024 * 1024;
const ATTEMPTS = 5;

/** What the files come to. */
interface Files {
  readonly folder: string;
  readonly bytes: ReadonlyMap<string, number>;
  readonly manifest: Manifest;
  /** What must be there at least. */
  readonly closed: Lengths;
}

/** A database to be looked at. */
export interface Examined {
  readonly folder: string;
  /** A closing was noted in it once. */
  readonly wasClosed: boolean;
}

/** The database that the header of the store in `folder` names. */
export function examined(folder: string, { db, closed }: Header): Examined {
  return { folder: join(folder, db), wasClosed: closed === db };
}

/**
 * Looks at the files of a database whose lock need not be held; no file is changed.
 * @throws BotError `STORE_DAMAGED`; `STORE_LOCKED` another process keeps changing them
 */
export async function checkDb(db: Examined): Promise<void> {
  await settle(db.folder, async (bytes) => {
    const files = await survey(db, bytes);
    if (typeof files === 'string') return files;
    return (await checkLogs(files)) ?? (await checkSmallTables(files));
  });
}

/** What reading all tables came to. */
export interface TablesRead {
  readonly tables: number;
  readonly bytes: number;
  /** Tables that could be read in part only. */
  readonly unread: number;
}

/** Reads every table through, as `checkDb` does for a small database. @throws as `checkDb` */
export async function checkTables(db: Examined): Promise<TablesRead> {
  let read: TablesRead = { tables: 0, bytes: 0, unread: 0 };
  await settle(db.folder, async (bytes) => {
    const files = await survey(db, bytes);
    if (typeof files === 'string') return files;
    const found = await readTables(files);
    if (typeof found === 'string') return found;
    read = found;
    return undefined;
  });
  return read;
}

/** Another process may have the database open: a fault in files that change under the look is none. */
async function settle(
  folder: string,
  look: (bytes: ReadonlyMap<string, number>) => Promise<string | undefined>,
): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      const before = await lengthsIn(folder);
      const fault = await look(before).catch(nameMissing);
      if (fault === undefined) return;
      if (sameLengths(before, await lengthsIn(folder))) throw new BotError('STORE_DAMAGED', fault);
    } catch (error) {
      throw asReadFailure(error);
    }
  }
  throw new BotError('STORE_LOCKED', 'another process keeps changing this store');
}

/** @returns the fault that a missing file is @throws any other error */
function nameMissing(error: unknown): string {
  if (!isMissing(error)) throw error;
  return `${basename(String((error as NodeJS.ErrnoException).path))} is missing`;
}

/** @returns the fault, where there is one */
async function survey(
  { folder, wasClosed }: Examined,
  bytes: ReadonlyMap<string, number>,
): Promise<Files | string> {
  const name = (await readFile(join(folder, 'CURRENT'), 'latin1')).trimEnd();
  if (!/^MANIFEST-\d+$/.test(name)) return 'CURRENT is not what was written';
  const manifest = readManifest(await readFile(join(folder, name)));
  if (manifest === undefined) return `${name} is not what was written`;
  const noted = await readClosing(folder, name);
  if (noted === 'damaged') return 'closed.json is not what was written';
  if (noted === 'missing' && wasClosed) return 'closed.json is missing';
  const closed: Lengths = noted === 'missing' ? {} : noted;
  const { fault } = manifest;
  if (fault !== undefined && isDamage(fault, closed[name])) return damagedAt(name, fault);
  for (const [file, length] of Object.entries(closed)) {
    const found = bytes.get(file);
    const counts = file === name || (file.endsWith('.log') && numberOf(file) >= manifest.log);
    if (!counts) continue;
    if (found === undefined) return `${file} is missing`;
    if (found < length)
      return `${file} was longer when the store was closed: ${String(length - found)} bytes`;
  }
  for (const [number, length] of manifest.tables) {
    const file = tableName(number);
    const found = bytes.get(file);
    if (found === undefined) return `${file} is missing`;
    if (found !== length) return `${file} has not the length that it was written with`;
  }
  return { folder, bytes, manifest, closed };
}

/** Reads the logs in the order in which they were written. @returns the fault, where there is one */
async function checkLogs({ folder, bytes, manifest, closed }: Files): Promise<string | undefined> {
  const logs = [...bytes.keys()]
    .filter((name) => /^\d+\.log$/.test(name) && numberOf(name) >= manifest.log)
    .sort((a, b) => numberOf(a) - numberOf(b));
  if (!logs.some((name) => numberOf(name) === manifest.log)) return 'a log is missing';
  let next: number | undefined;
  for (const name of logs) {
    const batches: Batch[] = [];
    const fault = walkLog(await readFile(join(folder, name)), (record) => batches.push(readBatch(record)));
    for (const { first, behind } of batches) {
      const isNext = next === undefined ? first <= manifest.sequence + 1 : first === next;
      if (!isNext) return `records are missing in ${name} or before it`;
      next = behind;
    }
    // After an end that was torn off in an earlier log, the numbers show whether anything followed.
    if (fault !== undefined && isDamage(fault, closed[name])) return damagedAt(name, fault);
  }
  return undefined;
}

/** From the beginning of a record: number of its first write 8 LE | count of writes 4 LE. */
interface Batch {
  readonly first: number;
  /** The number that comes next. */
  readonly behind: number;
}

/** @throws RangeError when the record is too short; its check sum was right */
function readBatch(record: Uint8Array): Batch {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const first = Number(view.getBigUint64(0, true));
  return { first, behind: first + view.getUint32(8, true) };
}

/** Whether this is no torn end. @param closed bytes that were there when the store was closed */
function isDamage(fault: LogFault, closed = 0): boolean {
  return fault.goesOn || fault.at < closed;
}

function damagedAt(name: string, { at }: LogFault): string {
  return `${name} is damaged at byte ${String(at)}`;
}

async function checkSmallTables(files: Files): Promise<string | undefined> {
  const total = [...files.manifest.tables.values()].reduce((sum, length) => sum + length, 0);
  if (total > SMALL_BYTES) return undefined;
  const read = await readTables(files);
  return typeof read === 'string' ? read : undefined;
}

/** @returns the fault, where there is one */
async function readTables({ folder, manifest }: Files): Promise<TablesRead | string> {
  let [bytes, unread] = [0, 0];
  for (const [number, length] of manifest.tables) {
    const state = checkTable(await readFile(join(folder, tableName(number))));
    if (state === 'damaged') return `${tableName(number)} is damaged`;
    if (state === 'unread') unread++;
    bytes += length;
  }
  return { tables: manifest.tables.size, bytes, unread };
}

/** LevelDB writes numbers with at least six digits. */
function tableName(number: number): string {
  return `${String(number).padStart(6, '0')}.ldb`;
}

/** Of a log. */
function numberOf(name: string): number {
  return Number.parseInt(name, 10);
}

/** A large store has a hundred files, and a thread's turn for each would cost more than the rest of opening it. */
async function lengthsIn(folder: string): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  for (const name of await readdir(folder)) {
    // A running bot's LevelDB removes files when it likes.
    const known = statSync(join(folder, name), { throwIfNoEntry: false });
    if (known !== undefined) found.set(name, known.size);
  }
  return found;
}

function sameLengths(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean {
  return a.size === b.size && [...a].every(([name, length]) => b.get(name) === length);
}
