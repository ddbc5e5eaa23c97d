/**
 * Served key: what the service claims a contact's identity key to be, asked afresh (verification brief, V-14). A run that
 * has proven another key learns from it whether the directory lies, or has only been out of date.
 */
import type { Address } from '../address.ts';
import type { Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Clock } from '../platform.ts';
import { fetchBundles } from '../service/keys.ts';
import type { Requester } from '../transport/request.ts';

/** A run does not wait longer for it. */
const LIMIT_MS = 10_000;

/**
 * Uses up a one-time prekey of the device; nothing is noted of the answer.
 * @returns 33 bytes; undefined when the service does not answer in time, or has no such device
 */
export async function servedKey(requester: Requester, clock: Clock, of: Address): Promise<Bytes | undefined> {
  const done = new AbortController();
  const late = clock.sleep(LIMIT_MS, done.signal).then(
    () => undefined,
    () => undefined,
  );
  try {
    return await Promise.race([ask(requester, of), late]);
  } finally {
    done.abort();
  }
}

async function ask(requester: Requester, { serviceId, deviceId }: Address): Promise<Bytes | undefined> {
  try {
    const outcome = await fetchBundles(requester, serviceId, deviceId);
    return outcome.kind === 'bundle' ? outcome.bundle.identityKey : undefined;
  } catch (error) {
    if (error instanceof BotError) return undefined; // not reached: it has not said that it lies
    throw error;
  }
}
