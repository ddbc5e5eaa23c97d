/**
 * Progress: what an inbox row remembers of the plugins that take it, and how it moves to `dead` and back.
 *
 * Each plugin goes open -> done | failed, on its own count of attempts. The row leaves the inbox with the last open
 * one: for good when all are done, into `dead` when one has failed. Taken back out, only the failed ones run again.
 */
import type { Random } from '../platform.ts';
import { randomInt } from '../platform.ts';
import type { Batch, Store } from '../store/store.ts';
import type { InboxRow, Progress } from '../store/rows.ts';
import { deadRows, inboxRows } from '../store/tables.ts';

/** A handler that has thrown this often is not called again. */
export const MAX_ATTEMPTS = 5;
/** ms; each wait is five times the one before: 1, 5, 25, 125 s. */
const FIRST_WAIT_MS = 1_000;
const WAIT_FACTOR = 5;
/** Up to a quarter is added, so that rows that failed together do not come back together. */
const JITTER = 4;
/** Characters of an error that are kept. */
const MAX_ERROR = 1_000;

/** A call that ended the process, as far as is known: it may have been killed from outside, at a time like any other. */
export const SUSPECTED = 1;
/** A call of a process that ended from within: nothing else ran beside. */
export const PROVEN = 2;
/** Four proven ones and the first, which nobody counted; so many suspected ones come together by no accident. */
const MAX_DEATHS = 8;
const DIED = 'the process ended during this call, or right behind it';

const FRESH: Omit<Progress, 'plugin'> = { done: false, attempts: 0, retryAt: 0, error: '' };

export function progressOf(row: InboxRow, plugin: string): Progress {
  return row.progress?.find((entry) => entry.plugin === plugin) ?? { plugin, ...FRESH };
}

/** Whether this plugin is still to be called with the row. */
export function isOpen(row: InboxRow, plugin: string): boolean {
  const entry = progressOf(row, plugin);
  return !entry.done && !isSpent(entry);
}

function isSpent({ attempts, deaths = 0 }: Progress): boolean {
  return attempts >= MAX_ATTEMPTS || deaths >= MAX_DEATHS;
}

/** Whether a plugin has used up its attempts, so that the row belongs into `dead`. */
export function hasFailed(row: InboxRow): boolean {
  return row.progress?.some((entry) => !entry.done && isSpent(entry)) ?? false;
}

export function withDone(row: InboxRow, plugin: string): InboxRow {
  return withProgress(row, { ...progressOf(row, plugin), done: true, retryAt: 0, error: '', deaths: 0 });
}

/** A row without the last failures of those that discard it: it goes as if they were done. */
export function withDiscarded(
  row: InboxRow,
  tasks: readonly { readonly plugin: string; readonly discards?: boolean }[],
): InboxRow {
  const spent = tasks.filter(({ plugin, discards }) => discards === true && isSpent(progressOf(row, plugin)));
  return spent.reduce((left, { plugin }) => withDone(left, plugin), row);
}

/**
 * Counts a call that failed; the row's own fields tell of the last one.
 * @param attempts this one included
 */
export function withFailure(
  row: InboxRow,
  { plugin, attempts, error }: { readonly plugin: string; readonly attempts: number; readonly error: string },
  now: number,
  random: Random,
): InboxRow {
  const retryAt = attempts < MAX_ATTEMPTS ? now + waitMs(attempts, random) : 0;
  const { deaths = 0 } = progressOf(row, plugin);
  return withLast(row, { plugin, done: false, attempts, retryAt, error: error.slice(0, MAX_ERROR), deaths });
}

/** Counts a call before it begins, for the case that the process does not live to tell. */
export function withCall(row: InboxRow, plugin: string, weight: number): InboxRow {
  const before = progressOf(row, plugin);
  const counted = withLast(row, { ...before, error: DIED, deaths: (before.deaths ?? 0) + weight });
  return { ...counted, attempts: row.attempts + 1 };
}

function withLast(row: InboxRow, entry: Progress): InboxRow {
  const { plugin, attempts, retryAt, error } = entry;
  return { ...withProgress(row, entry), plugin, attempts, retryAt, error };
}

/** ms to wait after so many failed attempts. */
export function waitMs(attempts: number, random: Random): number {
  const wait = FIRST_WAIT_MS * WAIT_FACTOR ** (attempts - 1);
  return wait + randomInt(random, wait / JITTER + 1);
}

/** Takes a row that no plugin is open for out of the inbox, into `dead` when one has failed. */
export function close(batch: Batch, id: number, row: InboxRow): 'done' | 'dead' {
  inboxRows.delete(batch, id);
  if (!hasFailed(row)) return 'done';
  deadRows.put(batch, id, summary(row));
  return 'dead';
}

/** A row whose content cannot be read: no plugin has failed, and another attempt would not help. */
export function unreadable(row: InboxRow, error: string): InboxRow {
  return {
    ...withProgress(row, { plugin: '', done: false, attempts: MAX_ATTEMPTS, retryAt: 0, error }),
    error,
  };
}

/** A dead row names all plugins that failed. */
function summary(row: InboxRow): InboxRow {
  const failed = row.progress?.filter((entry) => !entry.done) ?? [];
  return { ...row, plugin: failed.map((entry) => entry.plugin).join(', '), retryAt: 0 };
}

function withProgress(row: InboxRow, entry: Progress): InboxRow {
  const others = row.progress?.filter(({ plugin }) => plugin !== entry.plugin) ?? [];
  return { ...row, progress: [...others, entry] };
}

/**
 * Puts a dead row back into the inbox with its attempts forgotten; a running dispatcher is to be rung.
 * @returns false when there is no such row
 * @throws BotError `STORE_CONFLICT`, `STORE_WRITE_FAILED`
 */
export async function retryDead(store: Store, id: number): Promise<boolean> {
  const batch = store.batch();
  const row = await deadRows.get(batch, id);
  if (row === undefined) return false;
  deadRows.delete(batch, id);
  const progress = row.progress?.filter((entry) => entry.done) ?? [];
  inboxRows.put(batch, id, { ...row, progress, attempts: 0, retryAt: 0, error: '', plugin: '' });
  await batch.commit();
  return true;
}

/**
 * Forgets a dead row for good.
 * @returns false when there is no such row
 * @throws BotError `STORE_CONFLICT`, `STORE_WRITE_FAILED`
 */
export async function dropDead(store: Store, id: number): Promise<boolean> {
  const batch = store.batch();
  if ((await deadRows.get(batch, id)) === undefined) return false;
  deadRows.delete(batch, id);
  await batch.commit();
  return true;
}
