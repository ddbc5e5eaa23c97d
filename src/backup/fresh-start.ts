/**
 * Fresh start: what makes a restored store a device again without going on from an old ratchet.
 *
 *   restored --start--> one-time keys new --> signed and last-resort keys new --> started, the phone asked
 *
 * In the store, from the restore on: a null message to each peer whose devices we know, our own phone among them. There is
 * no session, so it begins one, and takes the place of the session that the peer still holds; it follows what was
 * queued. What peers send in their old sessions until then cannot be opened, and is asked for again.
 *
 * At the first start, before a message is taken or sent: fresh prekeys for both identities, in place of all that the
 * server has of ours. Else a peer who is asked to send again would build on a prekey that is gone. Repeated until it is
 * done, it changes nothing twice.
 * Spec: protocol brief, sections 3.1 and 6.7.
 */
import { writeAgainOnConflict } from '../store/again.ts';
import { isBotError, BotError } from '../errors.ts';
import type { IdentityKind, ServiceId } from '../address.ts';
import type { Bytes } from '../bytes.ts';
import { fillerPadding } from '../content/app-message.ts';
import { encodeNull } from '../content/encode.ts';
import type { Platform } from '../platform.ts';
import { uploadKeys } from '../service/keys.ts';
import { hasConfirmedKeys, supplyOneTimeKeys, type OneTimeUpload } from '../session/prekey-supply.ts';
import { newRow, readOutboxKey } from '../store/outbox-row.ts';
import type { Batch, Staging, Store } from '../store/store.ts';
import type { Account, StoredKeyPair } from '../store/rows.ts';
import { facts, outboxRows, peers } from '../store/tables.ts';
import type { Requester } from '../transport/request.ts';
import { damaged } from './header.ts';

/** The fact `restored`; this file writes it. */
interface Restored {
  /** ms: what the account did later is not known here. */
  readonly backupAt: number;
  /** ms */
  readonly restoredAt: number;
  /** The server still has prekeys of the old store. */
  readonly pending: boolean;
  /** ms, of the first start; absent before. */
  readonly startedAt?: number;
}

const FACT = 'restored';
const PADDING_BYTES = 64;
/**
 * From its first start: how long messages may come in sessions that a restored device does not have; later ones have
 * met the new session.
 */
const OLD_SESSIONS_MS = 7 * 24 * 3_600_000;

/** What a store needs beside the rows of its backup; sees each of them once, in key order. */
export class FreshRows {
  readonly #platform: Platform;
  readonly #backupAt: number;
  #timestamp: number;

  /** @param backupAt ms, when the backup was made */
  constructor(platform: Platform, backupAt: number) {
    this.#platform = platform;
    this.#backupAt = backupAt;
    this.#timestamp = Math.max(platform.clock.now(), backupAt);
  }

  /**
   * Stages a null message to a peer whose devices are known.
   * @throws BotError `BACKUP_DAMAGED` the row is none
   */
  async follow(staging: Staging, key: string, value: Bytes): Promise<void> {
    // The outbox stands before the peers, so its latest timestamp is known by then.
    if (key.startsWith(outboxRows.key())) {
      const { timestamp } = readOutboxKey(key);
      if (Number.isSafeInteger(timestamp)) this.#timestamp = Math.max(this.#timestamp, timestamp);
    }
    const start = peers.key('aci');
    if (!key.startsWith(start)) return;
    const recipient = key.slice(start.length) as ServiceId;
    if (!(await hasDevices(recipient, value))) return;
    const timestamp = this.#timestamp + 1;
    const content = encodeNull(fillerPadding(PADDING_BYTES, this.#platform.random));
    outboxRows.put(staging, recipient, timestamp, newRow({ recipient, timestamp, kind: 'null', content }));
  }

  /** Stages the note that the store is a restored one. */
  end(staging: Staging): void {
    const note: Restored = {
      backupAt: this.#backupAt,
      restoredAt: this.#platform.clock.now(),
      pending: true,
    };
    facts.put(staging, FACT, note);
  }
}

export interface FreshStartParts {
  readonly store: Store;
  readonly platform: Platform;
  /** Authenticated. */
  readonly requester: Requester;
  /** Makes and uploads a signed and a last-resort key for each identity that has none. */
  readonly rotate: () => Promise<void>;
  /** Stages what is asked of our phone: what it has told since the backup is not known here. */
  readonly ask: (batch: Batch) => Promise<void>;
}

/** Whether the store was restored and has not started since. */
export async function needsFreshStart(store: Store): Promise<boolean> {
  return (await restored(store.batch()))?.pending === true;
}

/** When the store was restored, ms; undefined: it never was. Another restore of a later backup counts anew. */
export async function restoredAt(store: Store): Promise<number | undefined> {
  return (await restored(store.batch()))?.restoredAt;
}

/** Whether peers may still send in sessions that were not restored. */
export async function awaitsOldSessions(store: Store, now: number): Promise<boolean> {
  const note = await restored(store.batch());
  if (note === undefined) return false;
  return note.pending || now - (note.startedAt ?? note.restoredAt) < OLD_SESSIONS_MS;
}

/**
 * Gives the server fresh prekeys in place of those of the old store.
 * @throws BotError `REQUEST_REFUSED` the server did not take them; what the requester, `rotate` and the store throw. It is
 *   safe to call again
 */
export async function freshStart(parts: FreshStartParts, account: Account): Promise<void> {
  const { store, platform } = parts;
  await supply(parts, 'aci', account.identity);
  if (account.pniIdentity !== null) await supply(parts, 'pni', account.pniIdentity);
  // Comes second: while one-time keys wait for their answer, upkeep would take the old ones on the server for them.
  await parts.rotate();
  await writeAgainOnConflict(store, async (batch) => {
    const note = await restored(batch);
    if (note?.pending !== true) return;
    facts.put(batch, FACT, { ...note, pending: false, startedAt: platform.clock.now() } satisfies Restored);
    await parts.ask(batch);
  });
  platform.log.info({}, 'the prekeys of this restored device are new');
}

async function supply(parts: FreshStartParts, identity: IdentityKind, pair: StoredKeyPair): Promise<void> {
  for (const kind of ['ec', 'kyber'] as const) {
    if (await hasConfirmedKeys(parts.store, identity, kind)) continue;
    const { kind: outcome } = await supplyOneTimeKeys(
      {
        store: parts.store,
        clock: parts.platform.clock,
        random: parts.platform.random,
        upload: (which: IdentityKind, keys: OneTimeUpload) => uploadKeys(parts.requester, which, keys),
        isStored: (answer) => answer.kind === 'stored',
      },
      identity,
      kind,
      pair,
    );
    if (outcome === 'stored') continue;
    if (kind === 'ec') {
      throw new BotError('REQUEST_REFUSED', `the server did not take the new ${identity} keys: ${outcome}`);
    }
    // Where the server's storage for Kyber keys is broken, the last-resort key serves (3.1); upkeep tries again.
    parts.platform.log.warn({ identity, outcome }, 'the server did not take the one-time Kyber keys');
  }
}

async function restored(batch: Staging): Promise<Restored | undefined> {
  return (await facts.get(batch, FACT)) as Restored | undefined;
}

async function hasDevices(recipient: ServiceId, value: Bytes): Promise<boolean> {
  const only: Staging = {
    get: () => Promise.resolve(value),
    put: () => undefined,
    delete: () => undefined,
  };
  try {
    return ((await peers.get(only, 'aci', recipient))?.devices.length ?? 0) > 0;
  } catch (cause) {
    if (isBotError(cause, 'STORE_DAMAGED')) throw damaged('a row of the backup is not readable', cause);
    throw cause;
  }
}
