/**
 * Volatile tags: app message types whose messages no backup has, such as the private messages of a protocol's rounds.
 * A message of theirs that waits for its handler or to be sent, or is kept for retry requests, stays with this store.
 *
 * Plugins name them (`Plugin.volatile`); they are kept as a fact, since a backup may be made while no plugin is loaded.
 * A tag stays when its plugin goes: its messages may still be there.
 */
import type { Aci } from '../address.ts';
import type { Bytes } from '../bytes.ts';
import type { Tag } from '../content/app-message.ts';
import { decodeContent } from '../content/content.ts';
import { isBotError } from '../errors.ts';
import { writeAgainOnConflict } from '../store/again.ts';
import type { Staging, Store } from '../store/store.ts';
import { deadRows, facts, inboxRows, outboxRows, sentLog } from '../store/tables.ts';

const FACT = 'volatileTags';
/** In place of key parts that do not matter. */
const NOBODY = '' as Aci;

/** Adds to the volatile tags of the store. @throws BotError those of the store */
export async function noteVolatileTags(store: Store, tags: readonly Tag[]): Promise<void> {
  if (tags.length === 0) return;
  await writeAgainOnConflict(store, async (batch) => {
    const known = await readTags(batch);
    if (tags.some((tag) => !known.has(tag))) facts.put(batch, FACT, [...new Set([...known, ...tags])].sort());
  });
}

/** The volatile tags of the store. */
export function volatileTags(store: Store): Promise<ReadonlySet<string>> {
  return readTags(store.batch());
}

/**
 * Whether the row is a message of a volatile type; what is no readable message is not.
 * @throws BotError `STORE_DAMAGED` the row is none
 */
export async function isVolatile(tags: ReadonlySet<string>, key: string, value: Bytes): Promise<boolean> {
  if (tags.size === 0) return false;
  const only: Staging = {
    get: () => Promise.resolve(value),
    put: () => undefined,
    delete: () => undefined,
  };
  const row = await messageOf(key, only);
  return row !== undefined && tags.has(tagOf(row.content) ?? '');
}

/** The row of this key, where it is one of a message; `only` has nothing else. */
async function messageOf(key: string, only: Staging): Promise<{ readonly content: Bytes } | undefined> {
  if (key.startsWith(outboxRows.key())) return outboxRows.get(only, NOBODY, 0);
  if (key.startsWith(sentLog.key())) return sentLog.get(only, NOBODY, 0);
  if (key.startsWith(inboxRows.key())) return inboxRows.get(only, 0);
  if (key.startsWith(deadRows.key())) return deadRows.get(only, 0);
  return undefined;
}

function tagOf(bytes: Bytes): string | undefined {
  try {
    const content = decodeContent(bytes);
    return content.kind === 'app' ? content.tag : undefined;
  } catch (error) {
    if (isBotError(error, 'CONTENT_INVALID')) return undefined;
    throw error;
  }
}

async function readTags(batch: Staging): Promise<ReadonlySet<string>> {
  const known = await facts.get(batch, FACT);
  return new Set(Array.isArray(known) ? known.filter((tag) => typeof tag === 'string') : []);
}
