/**
 * First upload: what is left to do once the device is registered. One-time keys go to the server, then the phone is
 * asked for what a device needs to know. Repeated until it is done, it changes nothing twice.
 * Spec: protocol brief, sections 2.1 (steps 6 and 7) and 3.4.
 */
import { BotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { encodeSyncRequest } from '../content/encode.ts';
import { uploadKeys } from '../service/keys.ts';
import { supplyFirstKeys } from '../session/first-supply.ts';
import { writeAgainOnConflict } from '../store/again.ts';
import { newRow } from '../store/outbox-row.ts';
import type { Batch, Store } from '../store/store.ts';
import type { Account } from '../store/rows.ts';
import { account as accountCell, outboxRows } from '../store/tables.ts';
import type { Requester } from '../transport/request.ts';

export interface FirstUploadParts {
  readonly store: Store;
  readonly platform: Platform;
  /** Authenticated as the new device. */
  readonly requester: Requester;
}

/** What we ask the phone for; it is woken for the first and the last only, as Desktop does. */
const SYNC_REQUESTS = [
  { what: 'contacts', urgent: true },
  { what: 'blocked', urgent: false },
  { what: 'configuration', urgent: false },
  { what: 'keys', urgent: true },
] as const;

/**
 * @returns the account with `keysUploaded`
 * @throws BotError `LINK_FAILED` the server refused the EC keys; `SERVER_UNREACHABLE`, `REQUEST_TIMEOUT`,
 *   `DEVICE_UNLINKED`. The account stays as it is, and the next start takes the upload up again
 */
export async function uploadFirstKeys(parts: FirstUploadParts, account: Account): Promise<Account> {
  const { store, platform, requester } = parts;
  const left = await supplyFirstKeys(
    {
      store,
      ...platform,
      upload: (identity, keys) => uploadKeys(requester, identity, keys),
      isStored: (outcome) => outcome.kind === 'stored',
    },
    account,
  );
  if (left !== undefined) {
    const { identity, outcome } = left;
    throw new BotError(
      'LINK_FAILED',
      `the device is linked, but the server did not take its ${identity} keys: ${outcome.kind}`,
      { next: 'Start again: the upload is taken up where it stopped.' },
    );
  }
  return writeAgainOnConflict(store, async (batch) => {
    const done: Account = { ...((await accountCell.get(batch)) ?? account), keysUploaded: true };
    accountCell.put(batch, done);
    await putSyncRequests(batch, done, platform.clock.now());
    return done;
  });
}

/** Asks the phone for contacts, blocked contacts, settings and keys. The outbox sends the rows once the bot runs. */
export async function putSyncRequests(batch: Batch, account: Account, now: number): Promise<void> {
  let timestamp = now;
  for (const { what, urgent } of SYNC_REQUESTS) {
    while (await outboxRows.get(batch, account.aci, timestamp)) timestamp += 1;
    const content = encodeSyncRequest(what);
    const row = newRow({ recipient: account.aci, timestamp, kind: 'sync', content });
    outboxRows.put(batch, account.aci, timestamp, { ...row, urgent });
    timestamp += 1;
  }
}
