/**
 * Last end: a process that is being ended from within can write no row any more. It leaves an empty file in the data
 * directory, which the next `run` takes into the store.
 */
import { writeFileSync } from 'node:fs';
import { access, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { noteEndFromWithin } from '../inbox/caution.ts';
import type { Store } from '../store/store.ts';

function fileIn(folder: string): string {
  return join(folder, 'ended-from-within');
}

/** At once; does not throw. */
export function leaveEnd(folder: string): void {
  try {
    writeFileSync(fileIn(folder), '', { mode: 0o600 });
  } catch {
    // then it counts like a process that was killed
  }
}

/** @throws BotError `STORE_WRITE_FAILED` */
export async function takeEnd(folder: string, store: Store): Promise<void> {
  const file = fileIn(folder);
  const isThere = await access(file).then(
    () => true,
    () => false,
  );
  if (!isThere) return;
  await noteEndFromWithin(store);
  await rm(file, { force: true });
}
