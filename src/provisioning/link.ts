/**
 * Link: makes this store a device of an account that exists.
 *
 *   nothing --scan--> pending (durable) --registered--> account --keys uploaded--> linked
 *
 * Each arrow ends in a commit, so a start after a crash knows where to go on:
 * - `pending`: the request may have made a device. Its password is tried on the ids that a new device can have got,
 *   and only when none of them takes it is the record dropped and a code shown. So also after a refusal that may be the
 *   answer to the same request carried out a second time.
 * - `account` without keys: the upload is repeated.
 * So there is never a second device, and never one that is lost. Spec: protocol brief, sections 2.1 to 2.7.
 */
import { BotError, isBotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { whoami } from '../service/account.ts';
import { credentialsOf } from '../service/connected.ts';
import type { Profile } from '../service/profile.ts';
import type { Store } from '../store/store.ts';
import { noteLinked } from '../store/unlinked.ts';
import type { Account } from '../store/rows.ts';
import { account as accountCell, pendingRegistration } from '../store/tables.ts';
import type { Credentials, Requester } from '../transport/request.ts';
import { checkDeviceName } from '../session/device-name.ts';
import { uploadFirstKeys } from './first-upload.ts';
import { profileTransport, type LinkTransport } from './link-transport.ts';
import {
  beginLink,
  completeLink,
  dropPendingLink,
  readPendingLink,
  type PendingLink,
  type Registered,
} from './pending-link.ts';
import type { Provision } from '../session/provision-message.ts';
import { registerDevice } from './register.ts';
import { awaitProvision } from './scan.ts';

export interface LinkParts {
  readonly store: Store;
  readonly profile: Profile;
  readonly platform: Platform;
  /** The device's name, as the phone will list it: 1 to 130 bytes. */
  readonly name: string;
  /** Sockets; those of the profile unless a test says otherwise. */
  readonly transport?: LinkTransport;
}

export type LinkEvent =
  /** Shown anew at each rotation. `expiresAt` in ms. */
  | { readonly kind: 'url'; readonly url: string; readonly expiresAt: number }
  | { readonly kind: 'scanned' }
  | { readonly kind: 'registering' }
  | { readonly kind: 'keys' }
  | { readonly kind: 'linked'; readonly account: Account };

/**
 * Ids that a device just linked can have: the server gives the lowest free one from 2 on and allows 6 devices, a few
 * more for single numbers on older servers (2.5). A wider search would cost a refused upgrade for each id.
 */
const FIRST_ID = 2;
const PRIMARY = 1;
const LAST_ID = 10;
/** ms for which a request that we gave up may still be under way on the server. */
const SETTLE_MS = 10_000;

/**
 * Links, or takes up a link that was begun and not finished (then no code is shown).
 * @throws BotError `ALREADY_LINKED`, `LINK_EXPIRED`, `LINK_CAPABILITY`, `LINK_FAILED`, `DEVICE_LIMIT`, `RATE_LIMITED`,
 *   `SERVER_UNREACHABLE`, `TLS_UNTRUSTED`, `REQUEST_TIMEOUT`, `USAGE` (the name), those of the store; the signal's reason
 */
export async function link(
  parts: LinkParts,
  onProgress: (event: LinkEvent) => void,
  signal: AbortSignal,
): Promise<Account> {
  checkDeviceName(parts.name);
  await checkNoPrimary(parts.store);
  const linking = new Linking(parts, onProgress, signal);
  const resumed = await linking.resume();
  if (resumed.kind === 'complete') throw alreadyLinked(resumed.account);
  const account = resumed.kind === 'taken-up' ? resumed.account : await linking.linkNew(resumed.replaced);
  onProgress({ kind: 'linked', account });
  return account;
}

/**
 * Takes up a link that was begun and not finished; does nothing where there is none.
 * @returns the linked account, whether it was completed now or before; undefined when this store is not linked, or its
 *   device has been removed
 * @throws as `link`, save what comes of scanning
 */
export async function resumeLink(
  parts: Omit<LinkParts, 'name'>,
  onProgress: (event: LinkEvent) => void = () => undefined,
  signal: AbortSignal = new AbortController().signal,
): Promise<Account | undefined> {
  const resumed = await new Linking({ ...parts, name: '' }, onProgress, signal).resume();
  return resumed.kind === 'none' ? undefined : resumed.account;
}

type Resumed =
  /** Not linked; `replaced` is the account whose device the server has removed. */
  | { readonly kind: 'none'; readonly replaced: Account | undefined }
  | { readonly kind: 'taken-up'; readonly account: Account }
  | { readonly kind: 'complete'; readonly account: Account };

class Linking {
  readonly #parts: LinkParts;
  readonly #transport: LinkTransport;
  readonly #onProgress: (event: LinkEvent) => void;
  readonly #signal: AbortSignal;

  constructor(parts: LinkParts, onProgress: (event: LinkEvent) => void, signal: AbortSignal) {
    this.#parts = parts;
    this.#transport = parts.transport ?? profileTransport(parts.profile, parts.platform);
    this.#onProgress = onProgress;
    this.#signal = signal;
  }

  async resume(): Promise<Resumed> {
    const { store, profile } = this.#parts;
    const batch = store.batch();
    const account = await accountCell.get(batch);
    const pending = await readPendingLink(batch);
    if (pending) {
      if (pending.server !== profile.chat) throw otherServer(pending.server);
      const registered = await this.#findDevice(pending);
      if (registered) return { kind: 'taken-up', account: await this.#complete(pending, registered) };
      await dropPendingLink(store);
    }
    if (account === undefined) return { kind: 'none', replaced: undefined };
    if (account.unlinkedAt !== null) {
      if (!(await this.#isStillLinked(account))) return { kind: 'none', replaced: account };
      return { kind: 'complete', account: (await noteLinked(store)) ?? account };
    }
    if (account.keysUploaded) return { kind: 'complete', account };
    if (account.server !== profile.chat) throw otherServer(account.server);
    return { kind: 'taken-up', account: await this.#uploadKeys(account) };
  }

  async linkNew(replaced: Account | undefined): Promise<Account> {
    const { store, platform, profile, name } = this.#parts;
    const scanParts = { transport: this.#transport, clock: platform.clock };
    const provision = await awaitProvision(
      scanParts,
      (url, expiresAt) => {
        this.#onProgress({ kind: 'url', url, expiresAt });
      },
      this.#signal,
    );
    if (replaced) checkReplaces(replaced, provision);
    this.#onProgress({ kind: 'scanned' });
    const { pending, body } = await beginLink({ store, platform, name, server: profile.chat }, provision);

    this.#onProgress({ kind: 'registering' });
    const result = await this.#transport.connected(
      undefined,
      (requester) => registerDevice(requester, pending, body, () => platform.clock.now()),
      this.#signal,
    );
    if (result.kind === 'registered') return this.#complete(pending, result.registered);
    if (result.kind === 'refused') {
      const made = result.mayBeRepeat ? await this.#tryIds(pending) : undefined;
      if (made) return this.#complete(pending, made);
      await dropPendingLink(store);
    } else this.#signal.throwIfAborted();
    throw result.error;
  }

  async #complete(pending: PendingLink, registered: Registered): Promise<Account> {
    const { store, platform } = this.#parts;
    const account = await completeLink(store, pending, registered, platform.clock.now());
    return this.#uploadKeys(account);
  }

  async #uploadKeys(account: Account): Promise<Account> {
    const { store, platform } = this.#parts;
    this.#onProgress({ kind: 'keys' });
    return this.#transport.connected(
      credentialsOf(account),
      (requester) => uploadFirstKeys({ store, platform, requester }, account),
      this.#signal,
    );
  }

  /** Looks for the device that an unanswered request may have made. */
  async #findDevice(pending: PendingLink): Promise<Registered | undefined> {
    const { clock } = this.#parts.platform;
    const found = await this.#tryIds(pending);
    if (found) return found;
    const age = clock.now() - pending.linkedAt;
    if (age < 0 || age >= SETTLE_MS) return undefined;
    await clock.sleep(SETTLE_MS - age, this.#signal);
    return this.#tryIds(pending);
  }

  /** All ids at once; an id that could not be asked about counts only when no other is ours. */
  async #tryIds(pending: PendingLink): Promise<Registered | undefined> {
    const ids = Array.from({ length: LAST_ID - FIRST_ID + 1 }, (_, index) => FIRST_ID + index);
    const answers = await Promise.allSettled(ids.map((deviceId) => this.#tryId(pending, deviceId)));
    for (const answer of answers) if (answer.status === 'fulfilled' && answer.value) return answer.value;
    for (const answer of answers) if (answer.status === 'rejected') throw answer.reason;
    return undefined;
  }

  async #tryId(pending: PendingLink, deviceId: number): Promise<Registered | undefined> {
    const me = await this.#whoami(credentialsOf({ ...pending, deviceId }));
    if (me === 'unauthorized' || me.aci !== pending.aci) return undefined;
    return { deviceId, pni: me.pni ?? null, number: me.number ?? null };
  }

  /** What read as "unlinked" may have been a proxy's answer: a second device must not come of that. */
  async #isStillLinked(account: Account): Promise<boolean> {
    if (account.server !== this.#parts.profile.chat) return false;
    const me = await this.#whoami(credentialsOf(account));
    return me !== 'unauthorized' && me.aci === account.aci;
  }

  async #whoami(credentials: Credentials): Promise<Awaited<ReturnType<typeof whoami>>> {
    try {
      return await this.#transport.connected(
        credentials,
        (requester: Requester) => whoami(requester),
        this.#signal,
      );
    } catch (error) {
      if (isBotError(error, 'DEVICE_UNLINKED')) return 'unauthorized'; // the upgrade was refused: no such device
      throw error;
    }
  }
}

/** A removed device may be linked anew, and its data go on, only for the same account. */
function checkReplaces(replaced: Account, provision: Provision): void {
  if (replaced.aci === provision.aci) return;
  throw new BotError(
    'ALREADY_LINKED',
    'this data directory holds the data of another account than the one that scanned',
    {
      next: 'Scan with the phone of the account that was linked here, or use another --data for this one.',
    },
  );
}

function alreadyLinked(account: Account): BotError {
  return new BotError(
    'ALREADY_LINKED',
    `this is device ${String(account.deviceId)} of account ${account.aci}`,
  );
}

/** A registration that is not finished too: linking would remove its keys, which the server may have. */
async function checkNoPrimary(store: Store): Promise<void> {
  const batch = store.batch();
  const isBegun = (await pendingRegistration.get(batch)) !== undefined;
  if (!isBegun && (await accountCell.get(batch))?.deviceId !== PRIMARY) return;
  throw new BotError('ALREADY_LINKED', 'this data directory holds the primary device of an account', {
    next: 'Use another --data for a linked device; a registration that was begun here is finished by account register.',
  });
}

function otherServer(server: string): BotError {
  return new BotError('ALREADY_LINKED', `a link to ${server} was begun here and not finished`, {
    next: 'Run link once with the profile of that server, so that it is finished; or use another --data.',
  });
}
