/**
 * Contact sync: fetches the contact list that the phone has put on the CDN, and keeps names and numbers.
 *
 *   fact contactsBlob (left by the inbox) --download, check, parse--> contact rows, fact removed
 *
 * Spec: protocol brief, sections 6.5 and 10.
 */
import { z } from 'zod';
import { fromBase64, type Bytes } from '../bytes.ts';
import { describe, isBotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import type { Profile } from '../service/profile.ts';
import { writeAgainOnConflict } from '../store/again.ts';
import type { Store } from '../store/store.ts';
import { contacts, facts } from '../store/tables.ts';
import { openAttachment, parseContactList, type ListedContact } from './contact-stream.ts';
import { downloadAttachment, type AttachmentPlace } from './download.ts';

/** Names of the facts: the pointer that the inbox leaves, and how often we have tried. */
const BLOB = 'contactsBlob';
const TRIES = 'contactsTries';

const MAX_BLOB_BYTES = 10 * 1024 * 1024;
const MAX_TRIES = 5;
/** Contacts that one commit writes. */
const CHUNK = 50;

const pointerSchema = z.object({
  cdnId: z.string().nullish(),
  cdnKey: z.string().nullish(),
  cdnNumber: z.number().nullish(),
  key: z.string(),
  digest: z.string(),
  size: z.number().int().min(0).max(MAX_BLOB_BYTES),
});
const triesSchema = z.object({ digest: z.string(), count: z.number() });

/** Fetches a blob; `downloadAttachment` unless a test says otherwise. */
export type Download = (
  place: AttachmentPlace,
  maxBytes: number,
  signal: AbortSignal,
) => Promise<Bytes | 'not-offered'>;

export interface ContactSyncParts {
  readonly store: Store;
  readonly platform: Platform;
  readonly profile: Profile;
  readonly download?: Download;
}

/**
 * `nothing` to do; `done`; `given-up`: it cannot be read, or failed five times, and is forgotten; `not-offered`: the
 * profile lacks this CDN, the pointer stays for a start with a better profile.
 */
export type SyncOutcome = 'nothing' | 'done' | 'given-up' | 'not-offered';

/**
 * One attempt.
 * @throws BotError `SERVER_UNREACHABLE`, `REQUEST_REFUSED`, `CONTENT_INVALID`: worth another call later; those of the store
 */
export async function syncContacts(parts: ContactSyncParts, signal: AbortSignal): Promise<SyncOutcome> {
  const { store, platform, profile } = parts;
  const fact = await facts.get(store.batch(), BLOB);
  if (fact === undefined) return 'nothing';
  const pointer = pointerSchema.safeParse(fact);
  const name = pointer.data?.cdnKey ?? pointer.data?.cdnId;
  if (!pointer.success || !name) {
    platform.log.warn({}, 'the phone sent a contact list that cannot be found');
    await forget(store, fact);
    return 'given-up';
  }
  const { cdnNumber, key, digest, size } = pointer.data;
  const download: Download =
    parts.download ?? ((place, max, stop) => downloadAttachment(profile, place, max, stop));
  const last = (await countTry(store, digest)) >= MAX_TRIES;
  try {
    const blob = await download({ cdnNumber: cdnNumber ?? 0, name }, MAX_BLOB_BYTES, signal);
    if (blob === 'not-offered') {
      platform.log.warn(
        { cdn: cdnNumber ?? 0 },
        'the server profile names no such CDN: contacts are not synced',
      );
      return 'not-offered';
    }
    const opened = openAttachment(blob, { key: fromBase64(key), digest: fromBase64(digest), size });
    const listed = parseContactList(opened);
    await putContacts(store, listed);
    await forget(store, fact);
    platform.log.info({ contacts: listed.length }, 'contacts are synced');
    return 'done';
  } catch (error) {
    if (!last || !isBotError(error) || error.code.startsWith('STORE_')) throw error;
    platform.log.warn(
      { error: describe(error) },
      'the contact list could not be fetched five times, and is given up',
    );
    await forget(store, fact);
    return 'given-up';
  }
}

async function putContacts(store: Store, listed: readonly ListedContact[]): Promise<void> {
  for (let start = 0; start < listed.length; start += CHUNK) {
    const chunk = listed.slice(start, start + CHUNK);
    await writeAgainOnConflict(store, async (batch) => {
      for (const { aci, number, name } of chunk) {
        const known = await contacts.get(batch, aci);
        contacts.put(batch, aci, { ...known, ...(number && { number }), ...(name && { name }) });
      }
    });
  }
}

/** Counted before the attempt, so that one which kills the process is counted too. */
async function countTry(store: Store, digest: string): Promise<number> {
  return writeAgainOnConflict(store, async (batch) => {
    const before = triesSchema.safeParse(await facts.get(batch, TRIES)).data;
    const count = (before?.digest === digest ? before.count : 0) + 1;
    facts.put(batch, TRIES, { digest, count });
    return count;
  });
}

/** Unless the phone has sent a newer list meanwhile. */
async function forget(store: Store, fact: unknown): Promise<void> {
  await writeAgainOnConflict(store, async (batch) => {
    const now = await facts.get(batch, BLOB);
    if (JSON.stringify(now) !== JSON.stringify(fact)) return;
    facts.delete(batch, BLOB);
    facts.delete(batch, TRIES);
  });
}
