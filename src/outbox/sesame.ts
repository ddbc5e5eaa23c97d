/**
 * Sesame: brings one row to all devices of its recipient, in bounded rounds (protocol brief, section 5.4).
 *
 *   round: bundles for devices without a session -> seal for each device, committed -> PUT
 *     200 delivered | 409 drop extra, add missing | 410 renew stale | 401 sealed: again unsealed | else wait or fail
 *
 * Every round encrypts anew from the content; ciphertext is never sent twice. The lane is held for crypto and commit,
 * never for the network.
 * Spec: The Sesame Algorithm, revision 2, section 3.3.
 */
import type { ServiceId } from '../address.ts';
import { isBotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { listDevices } from '../service/devices.ts';
import { fetchBundles, type Bundle } from '../service/keys.ts';
import { sendMessages, type OutgoingMessage, type SendOutcome } from '../service/messages.ts';
import { isMeant, type OwnTags } from '../session/peer-tags.ts';
import type { SealedMessage, Session } from '../session/session.ts';
import type { Batch, Store } from '../store/store.ts';
import type { OutboxRow, Peer, PeerDevice } from '../store/rows.ts';
import { outboxRows, peers } from '../store/tables.ts';
import type { Requester } from '../transport/request.ts';
import { contentOf, fillerFor } from './contents.ts';
import type { Gate } from './gate.ts';
import type { Greeting } from './greeting.ts';
import type { Pacing } from './pacing.ts';
import type { SealedRoute, Sealing } from './sealing.ts';
import { checkSize, forNobody, refused, settled, Settled, unregistered, type Result } from './settled.ts';
import type { Tagging } from './tagging.ts';

export interface SesameParts {
  readonly store: Store;
  readonly session: Session;
  readonly gate: Gate;
  readonly sealing: Sealing;
  readonly pacing: Pacing;
  readonly platform: Platform;
  readonly ownAci: ServiceId;
  readonly ownDevice: number;
  readonly authenticated: Requester;
  readonly anonymous: Requester;
  readonly tags: OwnTags;
  /** Absent: nothing bears an outer tag. */
  readonly tagging?: Tagging;
  /** Absent: announcements follow what they are about. */
  readonly greeting?: Greeting;
  /** A timestamp of ours that was never given before, ms. */
  readonly stamp: () => number;
  /** A row was staged and its commit begun. Returns at once and does not throw. */
  readonly onOutbox: (row: OutboxRow) => void;
  /** Devices or tags of a peer have changed. Returns at once and does not throw. */
  readonly onPeer?: (peer: ServiceId) => void;
}

const ROUNDS = 6;
/** How long an account that is not registered is left alone. */
const UNREGISTERED_MS = 24 * 3_600_000;
const CHALLENGE_MS = 10 * 60_000;
/** A server that refuses our own credentials: the connection will notice before this is over. */
const REFUSED_MS = 60_000;

type Sealed =
  | {
      readonly kind: 'sealed';
      readonly messages: readonly OutgoingMessage[];
      readonly meant: readonly number[];
    }
  | { readonly kind: 'lacking'; readonly devices: readonly number[] };

export class Sesame {
  readonly #parts: SesameParts;

  constructor(parts: SesameParts) {
    this.#parts = parts;
  }

  /**
   * One attempt, of several rounds where the device list moves.
   * @throws BotError `STORE_WRITE_FAILED`, `STORE_DAMAGED`; `SERVER_UNREACHABLE`, `REQUEST_TIMEOUT` when nothing was heard
   */
  async deliver(row: OutboxRow, signal: AbortSignal): Promise<Result> {
    try {
      return await this.#rounds(row, signal);
    } catch (error) {
      if (error instanceof Settled) return error.result;
      if (isBotError(error, 'IDENTITY_CHANGED')) {
        // Our own key never changes: nothing that is waited for would mend it.
        return { kind: row.recipient === this.#parts.ownAci ? 'failed' : 'held', error };
      }
      // A server that gives bad keys now may give good ones later.
      if (isBotError(error, 'CONTENT_INVALID')) return { kind: 'later', error };
      throw error;
    }
  }

  async #rounds(row: OutboxRow, signal: AbortSignal): Promise<Result> {
    const { gate, pacing, platform, ownAci, store } = this.#parts;
    const own = row.recipient === ownAci;
    const held = await gate.refusal(store.batch(), row);
    if (held !== undefined) return { kind: 'held', error: held };
    const refused = await gate.guarded(row);
    if (refused !== undefined) return { kind: 'failed', error: refused };
    await this.#checkRegistered(row.recipient);
    if ((await this.#parts.greeting?.before(row)) === true) return { kind: 'paced', delayMs: 1 };
    for (let round = 0; round < ROUNDS; round++) {
      signal.throwIfAborted();
      // The carrier's sessions are under a key that is not the pin, and the seal would be for the pin.
      const unsealed = own || (await gate.byCarrier(store.batch(), row));
      const route = unsealed ? undefined : await this.#route(row);
      if (!(await this.#knowDevices(row, route, signal))) {
        return { kind: 'delivered', devices: [], sealed: false, needsSync: false };
      }
      const delayMs =
        own || route !== undefined || round > 0 ? 0 : pacing.take(row.recipient, platform.clock.now());
      if (delayMs > 0) return { kind: 'paced', delayMs };

      const sealed = await this.#seal(row, route);
      if (sealed.kind === 'lacking') {
        for (const device of sealed.devices) await this.#fetch(row, device, route, signal);
        continue;
      }
      const requester = route === undefined ? this.#parts.authenticated : this.#parts.anonymous;
      const { recipient, timestamp, urgent } = row;
      const access = route === undefined ? {} : { accessKey: route.accessKey };
      const outcome = await sendMessages(
        requester,
        { recipient, messages: sealed.messages, timestamp, urgent, ...access },
        { signal },
      );
      if (outcome.kind === 'accepted') {
        if (sealed.meant.length === 0) throw forNobody(row);
        return {
          kind: 'delivered',
          devices: sealed.meant,
          sealed: route !== undefined,
          needsSync: outcome.needsSync,
        };
      }
      await this.#react(row, route, outcome, signal);
    }
    throw settled('later', 'DEVICES_UNSETTLED', `the devices of ${row.recipient} keep changing`);
  }

  async #route(row: OutboxRow): Promise<SealedRoute | undefined> {
    return this.#parts.sealing.route(this.#parts.store.batch(), row.recipient, row.kind);
  }

  async #checkRegistered(recipient: ServiceId): Promise<void> {
    const peer = await peers.get(this.#parts.store.batch(), 'aci', recipient);
    if ((peer?.unregisteredUntil ?? 0) > this.#parts.platform.clock.now()) throw unregistered(recipient);
  }

  /** Makes sure that some device is known. @returns false when it is our own account and there is no other device */
  async #knowDevices(row: OutboxRow, route: SealedRoute | undefined, signal: AbortSignal): Promise<boolean> {
    const { store, authenticated, ownAci, ownDevice } = this.#parts;
    const { recipient } = row;
    const peer = await peers.get(store.batch(), 'aci', recipient);
    if (others(peer, recipient === ownAci ? ownDevice : 0).length > 0) return true;
    if (recipient === ownAci) {
      const list = await listDevices(authenticated);
      if (list !== 'not-offered') {
        const ids = list.map((device) => device.id).filter((id) => id !== ownDevice);
        for (const id of ids) await this.#fetch(row, id, route, signal);
        return ids.length > 0;
      }
    }
    await this.#fetch(row, '*', route, signal);
    if (recipient !== ownAci) return true;
    return others(await peers.get(store.batch(), 'aci', ownAci), ownDevice).length > 0;
  }

  async #seal(row: OutboxRow, route: SealedRoute | undefined): Promise<Sealed> {
    const { store, session, gate, ownAci, ownDevice, tags, platform, stamp, onOutbox } = this.#parts;
    const { recipient } = row;
    const content = contentOf(row, ownAci);
    return session.exclusive(recipient, async () => {
      const batch = store.batch();
      // Asked before too, which spares the requests; since then the server had all the time it wanted. Of retry requests
      // too, for which libsignal asks nothing (V-30).
      const held = await gate.refusal(batch, row);
      if (held !== undefined) throw new Settled({ kind: 'held', error: held });
      const peer = await peers.get(batch, 'aci', recipient);
      const devices = others(peer, recipient === ownAci ? ownDevice : 0);
      if (devices.length === 0) {
        throw settled('later', 'DEVICES_UNSETTLED', `no device of ${recipient} has keys yet`);
      }
      checkSize(content.length, devices.length);
      const messages: OutgoingMessage[] = [];
      const meant: number[] = [];
      const lacking: number[] = [];
      for (const device of devices) {
        const { id: deviceId, registrationId } = device;
        const to = { serviceId: recipient, deviceId };
        const mine = peer !== undefined && isMeant(peer, deviceId, row.tag, row.devices);
        const sealed =
          row.kind === 'retry'
            ? await session.sealPlaintext(batch, to, row.plaintext, route?.seal)
            : await gate.seal(batch, row, to, mine ? content : fillerFor(content.length, platform.random), {
                filler: !mine,
                seal: route?.seal,
              });
        if (sealed === undefined) lacking.push(deviceId);
        else messages.push({ ...(await this.#tag(batch, row, device, sealed)), deviceId, registrationId });
        if (mine) meant.push(deviceId);
      }
      if (lacking.length > 0) return { kind: 'lacking', devices: lacking };
      const announces = row.kind === 'app' && !(await gate.byCarrier(batch, row));
      const announcement = announces ? await tags.announce(batch, recipient, stamp) : undefined;
      if (announcement !== undefined) outboxRows.put(batch, recipient, announcement.timestamp, announcement);
      await batch.commit(); // durable before the ciphertext leaves, so no message key is used twice
      if (announcement !== undefined) {
        this.#parts.onPeer?.(recipient);
        onOutbox(announcement);
      }
      return { kind: 'sealed', messages, meant };
    });
  }

  /** The outer tag, for a device that takes one. The carrier's peers are under another key than the one it is made with. */
  async #tag(batch: Batch, row: OutboxRow, to: PeerDevice, sealed: SealedMessage): Promise<SealedMessage> {
    const { tagging, gate } = this.#parts;
    if (tagging === undefined || to.tags === undefined || (await gate.byCarrier(batch, row))) return sealed;
    return tagging.add(batch, row.recipient, to, sealed);
  }

  /** Prepares the next round, or ends the attempt. @throws Settled */
  async #react(
    row: OutboxRow,
    route: SealedRoute | undefined,
    outcome: SendOutcome,
    signal: AbortSignal,
  ): Promise<void> {
    const { pacing, platform } = this.#parts;
    const { recipient } = row;
    const now = platform.clock.now();
    switch (outcome.kind) {
      case 'accepted':
        return;
      case 'mismatched':
        await this.#change(recipient, (batch) => this.#parts.session.drop(batch, recipient, outcome.extra));
        for (const device of outcome.missing) await this.#fetch(row, device, route, signal);
        return;
      case 'stale':
        for (const device of outcome.stale) await this.#fetch(row, device, route, signal);
        return;
      case 'unauthorized':
        if (route !== undefined) {
          await this.#refuseSealed(recipient);
          return;
        }
        throw settled(
          'later',
          'REQUEST_REFUSED',
          'the server does not take our credentials',
          now + REFUSED_MS,
        );
      case 'unregistered':
        await this.#noteUnregistered(recipient);
        throw unregistered(recipient);
      case 'too-large':
        throw settled(
          'failed',
          'PAYLOAD_TOO_LARGE',
          'the server finds the message too large: its own limit is lower than ours',
        );
      case 'challenge':
        throw settled(
          'later',
          'CHALLENGE_REQUIRED',
          'the server asks for a captcha before it takes more',
          now + CHALLENGE_MS,
        );
      case 'rate-limited':
        pacing.empty(recipient, now);
        throw settled('later', 'RATE_LIMITED', 'the server asks to wait', now + outcome.retryAfterMs);
      case 'unavailable': {
        const retryAt = outcome.retryAfterMs === undefined ? undefined : now + outcome.retryAfterMs;
        throw settled('later', 'SERVER_UNREACHABLE', `the server answers ${String(outcome.status)}`, retryAt);
      }
      case 'forbidden':
        throw settled('failed', 'REQUEST_REFUSED', 'the server does not allow this recipient');
      case 'refused':
        throw refused(outcome.status, 'the message', now);
    }
  }

  /** Fetches keys and begins sessions. @throws Settled */
  async #fetch(
    row: OutboxRow,
    device: number | '*',
    route: SealedRoute | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { authenticated, anonymous, gate, platform, session, ownAci, ownDevice } = this.#parts;
    const { recipient } = row;
    signal.throwIfAborted();
    const outcome =
      route === undefined
        ? await fetchBundles(authenticated, recipient, device)
        : await fetchBundles(anonymous, recipient, device, route.accessKey);
    const now = platform.clock.now();
    switch (outcome.kind) {
      case 'bundle':
        await this.#change(recipient, async (batch) => {
          for (const entry of usable(outcome.bundle, recipient === ownAci ? ownDevice : 0)) {
            await gate.begin(batch, row, outcome.bundle.identityKey, entry);
          }
        });
        return;
      case 'unauthorized':
        if (route === undefined) {
          throw settled('later', 'REQUEST_REFUSED', 'the server does not give out keys', now + REFUSED_MS);
        }
        await this.#refuseSealed(recipient);
        await this.#fetch(row, device, undefined, signal);
        return;
      case 'unregistered':
        if (device !== '*') {
          await this.#change(recipient, (batch) => session.drop(batch, recipient, [device]));
          return;
        }
        await this.#noteUnregistered(recipient);
        throw unregistered(recipient);
      case 'rate-limited':
        throw settled(
          'later',
          'RATE_LIMITED',
          'the server gives out no more keys for now',
          now + outcome.retryAfterMs,
        );
      case 'unavailable': {
        const retryAt = outcome.retryAfterMs === undefined ? undefined : now + outcome.retryAfterMs;
        throw settled('later', 'SERVER_UNREACHABLE', `the server answers ${String(outcome.status)}`, retryAt);
      }
      case 'refused':
        throw refused(outcome.status, 'a key fetch', now);
    }
  }

  async #commit(batch: Batch): Promise<void> {
    await batch.commit();
    this.#parts.gate.committed(batch);
  }

  async #refuseSealed(recipient: ServiceId): Promise<void> {
    this.#parts.platform.log.info({ recipient }, 'sealed sender was refused; sending unsealed from now on');
    await this.#patchPeer(recipient, { sealed: 'refused' });
  }

  async #noteUnregistered(recipient: ServiceId): Promise<void> {
    await this.#patchPeer(recipient, {
      unregisteredUntil: this.#parts.platform.clock.now() + UNREGISTERED_MS,
    });
  }

  async #patchPeer(recipient: ServiceId, patch: Partial<Peer>): Promise<void> {
    await this.#change(recipient, async (batch) => {
      const peer = await peers.get(batch, 'aci', recipient);
      peers.put(batch, 'aci', recipient, { devices: [], ...peer, ...patch });
    });
  }

  /** A change of sessions in the recipient's lane. A changed identity is noted even though the change fails. */
  async #change(recipient: ServiceId, work: (batch: Batch) => Promise<void>): Promise<void> {
    const { session, store } = this.#parts;
    await session.exclusive(recipient, async () => {
      const batch = store.batch();
      try {
        await work(batch);
      } catch (error) {
        if (isBotError(error, 'IDENTITY_CHANGED')) await this.#commit(batch);
        throw error;
      }
      await this.#commit(batch);
    });
    this.#parts.onPeer?.(recipient);
  }
}

function others(peer: Peer | undefined, ownDevice: number): Peer['devices'] {
  return (peer?.devices ?? []).filter((device) => device.id !== ownDevice);
}

function usable(bundle: Bundle, ownDevice: number): Bundle['devices'] {
  return bundle.devices.filter((device) => device.deviceId !== ownDevice);
}
