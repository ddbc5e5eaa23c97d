/**
 * First upload: what is left to do once the device is registered. One-time keys go to the server, then the phone is
 * asked for what a device needs to know. Repeated until it is done, it changes nothing twice.
 * Spec: protocol brief, sections 2.1 (steps 6 and 7) and 3.4.
 */
import type { IdentityKind } from '../address.ts';
import { EMPTY, own } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { signal } from '../proto/messages.js';
import { uploadKeys } from '../service/keys.ts';
import { supplyOneTimeKeys, writeAgainOnConflict } from '../session/prekey-supply.ts';
import type { Batch, Store } from '../store/store.ts';
import {
  account as accountCell,
  outboxRows,
  type Account,
  type OutboxRow,
  type StoredKeyPair,
} from '../store/tables.ts';
import type { Requester } from '../transport/request.ts';

export interface FirstUploadParts {
  readonly store: Store;
  readonly platform: Platform;
  /** Authenticated as the new device. */
  readonly requester: Requester;
}

const { Type } = signal.SyncMessage.Request;
/** What we ask the phone for; it is woken for the first and the last only, as Desktop does. */
const SYNC_REQUESTS = [
  { type: Type.CONTACTS, urgent: true },
  { type: Type.BLOCKED, urgent: false },
  { type: Type.CONFIGURATION, urgent: false },
  { type: Type.KEYS, urgent: true },
] as const;

/**
 * @returns the account with `keysUploaded`
 * @throws BotError `LINK_FAILED` the server refused the EC keys; `SERVER_UNREACHABLE`, `REQUEST_TIMEOUT`,
 *   `DEVICE_UNLINKED`. The account stays as it is, and the next start takes the upload up again
 */
export async function uploadFirstKeys(parts: FirstUploadParts, account: Account): Promise<Account> {
  await supply(parts, 'aci', account.identity);
  if (account.pniIdentity) await supply(parts, 'pni', account.pniIdentity);
  const done: Account = { ...account, keysUploaded: true };
  await writeAgainOnConflict(parts.store, async (batch) => {
    accountCell.put(batch, done);
    await putSyncRequests(batch, done, parts.platform.clock.now());
  });
  return done;
}

async function supply(parts: FirstUploadParts, identity: IdentityKind, pair: StoredKeyPair): Promise<void> {
  const { store, platform, requester } = parts;
  const supplyParts = {
    store,
    clock: platform.clock,
    random: platform.random,
    upload: (kind: IdentityKind, keys: Parameters<typeof uploadKeys>[2]) => uploadKeys(requester, kind, keys),
    isStored: (outcome: Awaited<ReturnType<typeof uploadKeys>>) => outcome.kind === 'stored',
  };
  const ec = await supplyOneTimeKeys(supplyParts, identity, 'ec', pair);
  if (ec.kind !== 'stored') {
    throw new BotError(
      'LINK_FAILED',
      `the device is linked, but the server did not take its ${identity} keys: ${ec.kind}`,
      {
        next: 'Start again: the upload is taken up where it stopped.',
      },
    );
  }
  // Where the server's storage for Kyber keys is broken, the last-resort key serves (3.1); upkeep tries again.
  const kyber = await supplyOneTimeKeys(supplyParts, identity, 'kyber', pair);
  if (kyber.kind !== 'stored') {
    platform.log.warn({ identity, outcome: kyber.kind }, 'the server did not take the one-time Kyber keys');
  }
}

/** The outbox sends them once the bot runs. */
async function putSyncRequests(batch: Batch, account: Account, now: number): Promise<void> {
  let timestamp = now;
  for (const { type, urgent } of SYNC_REQUESTS) {
    while (await outboxRows.get(batch, account.aci, timestamp)) timestamp += 1;
    outboxRows.put(batch, account.aci, timestamp, syncRow(account, timestamp, type, urgent));
    timestamp += 1;
  }
}

function syncRow(account: Account, timestamp: number, type: number, urgent: boolean): OutboxRow {
  return {
    recipient: account.aci,
    timestamp,
    content: own(signal.Content.encode({ syncMessage: { request: { type } } }).finish()),
    kind: 'sync',
    devices: [],
    tag: '',
    urgent,
    transcript: false,
    attempts: 0,
    retryAt: 0,
    state: 'queued',
    error: '',
    log: false,
    plaintext: EMPTY,
    delivered: [],
    sealed: false,
    sentAt: 0,
    archive: false,
  };
}
