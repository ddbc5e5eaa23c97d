/** Folders for stores under test, and secrets that are cheap to try. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ScryptParameters } from '../../src/store/header.ts';
import { openLevel, type LevelOptions, type Secret } from '../../src/store/level.ts';
import type { Store } from '../../src/store/store.ts';

/** In place of half a second and 128 MiB. */
export const CHEAP_SCRYPT: ScryptParameters = { n: 1024, r: 8, p: 1 };
export const PLAIN: Secret = { kind: 'plain' };
export const PASSPHRASE: Secret = { kind: 'passphrase', passphrase: 'correct horse' };

/** A folder in which `data` does not exist yet. */
export async function tempFolder(): Promise<{ path: string; data: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'countersign-store-'));
  return { path, data: join(path, 'data'), remove: () => rm(path, { recursive: true, force: true }) };
}

/** Opens the store in `folder`, or makes one. */
export function openOrMake(
  folder: string,
  secret: Secret,
  options: Partial<LevelOptions> = {},
): Promise<Store> {
  return openLevel(folder, { secret, create: true, scrypt: CHEAP_SCRYPT, ...options });
}
