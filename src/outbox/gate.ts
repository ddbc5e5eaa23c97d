/**
 * Gate: whether a row may be sealed for its recipient now, and in which sessions (verification brief, 3.1 and 9).
 *
 * Rows to a contact in `changed` or `revoked`, or below the row's policy, are held (V-33). Frames of a run are exempt:
 * they travel by the carrier where trust forbids a session, and with them fillers for devices under another key.
 */
import type { Address, ServiceId } from '../address.ts';
import type { Bytes } from '../bytes.ts';
import { decodeContent } from '../content/content.ts';
import type { BotError } from '../errors.ts';
import { changed, type Identities } from '../identities/identities.ts';
import type { DeviceBundle } from '../session/bundle.ts';
import { VERIFY_TAG, type Carrier } from '../session/carrier.ts';
import { isMeant } from '../session/peer-tags.ts';
import type { Seal, SealedMessage, Session } from '../session/session.ts';
import { policyOf } from '../store/outbox-row.ts';
import type { Batch, Staging } from '../store/store.ts';
import type { OutboxRow } from '../store/rows.ts';
import { peers } from '../store/tables.ts';

/** A text of ours that is about to be sealed. */
export interface GuardedMessage {
  readonly recipient: ServiceId;
  readonly text: string;
  /** ms; names the message. */
  readonly timestamp: number;
}

export type Guard = (message: GuardedMessage) => BotError | undefined | Promise<BotError | undefined>;

export interface GateParts {
  readonly identities: Identities;
  readonly carrier: Carrier;
  readonly session: Session;
  /** Asked before a text is sealed (V-20); one may refuse. */
  readonly guards: readonly Guard[];
}

export class Gate {
  readonly #parts: GateParts;

  constructor(parts: GateParts) {
    this.#parts = parts;
  }

  /** Why trust holds the row back; undefined when it may go. */
  async refusal(batch: Staging, row: OutboxRow): Promise<BotError | undefined> {
    if (isFrame(row)) return undefined;
    return this.#parts.identities.refusal(batch, row.recipient, policyOf(row));
  }

  /** Why a guard refuses the row for good. */
  async guarded({ kind, content, recipient, timestamp }: OutboxRow): Promise<BotError | undefined> {
    const { guards } = this.#parts;
    if (guards.length === 0 || (kind !== 'text' && kind !== 'resend')) return undefined;
    const decoded = decodeContent(content);
    if (decoded.kind !== 'text') return undefined;
    for (const guard of guards) {
      const refused = await guard({ recipient, text: decoded.text, timestamp });
      if (refused !== undefined) return refused;
    }
    return undefined;
  }

  /** Whether the whole row goes by the carrier. */
  async byCarrier(batch: Staging, row: OutboxRow): Promise<boolean> {
    if (!isFrame(row)) return false;
    return row.carrier === true || (await this.#parts.identities.standing(batch, row.recipient)) !== 'open';
  }

  /**
   * Begins a session with a device of the row's recipient. A frame's filler may go to a key that is not the pin, so that
   * a lying directory cannot stop a run with its device list; then that session is the carrier's.
   * @throws BotError `IDENTITY_CHANGED`: the batch then holds the candidate, and may be committed; `CONTENT_INVALID`
   */
  async begin(batch: Batch, row: OutboxRow, identityKey: Bytes, device: DeviceBundle): Promise<void> {
    const { carrier, identities, session } = this.#parts;
    const { recipient } = row;
    if (await this.byCarrier(batch, row)) {
      // A key that the directory has for a filler is no reason to doubt a pin that the run has just proven.
      if ((await identities.standing(batch, recipient)) === 'changed')
        await identities.save(batch, recipient, identityKey);
      await carrier.begin(batch, recipient, identityKey, device);
      return;
    }
    if (!isFrame(row) || (await identities.isTrusted(batch, recipient, identityKey))) {
      await session.begin(batch, recipient, identityKey, device);
      return;
    }
    const peer = (await peers.get(batch, 'aci', recipient)) ?? { devices: [] };
    if (isMeant(peer, device.deviceId, row.tag, row.devices)) {
      await identities.save(batch, recipient, identityKey);
      // From here on all of the run goes by the carrier. A key that is known to be bad changes nothing, and gets no frame.
      if ((await identities.standing(batch, recipient)) === 'open') throw changed(recipient);
    }
    await carrier.begin(batch, recipient, identityKey, device);
  }

  /**
   * Seals a content of the row for one device, in the session where it belongs.
   * @param filler the content is one: a frame's goes where there is a session at all
   * @returns undefined when there is no session to seal in
   * @throws BotError `IDENTITY_CHANGED`
   */
  async seal(
    batch: Batch,
    row: OutboxRow,
    to: Address,
    content: Bytes,
    { filler, seal }: { readonly filler: boolean; readonly seal: Seal | undefined },
  ): Promise<SealedMessage | undefined> {
    const { carrier, session } = this.#parts;
    if (!isFrame(row)) return session.seal(batch, to, content, seal);
    if (await this.byCarrier(batch, row)) return carrier.seal(batch, to, content);
    const sealed = await session.seal(batch, to, content, seal);
    return sealed ?? (filler ? carrier.seal(batch, to, content) : undefined);
  }

  /** The commit of a batch is accepted. */
  committed(batch: Batch): void {
    this.#parts.identities.committed(batch);
  }
}

/** A frame of a run. */
function isFrame({ kind, tag }: Pick<OutboxRow, 'kind' | 'tag'>): boolean {
  return tag === VERIFY_TAG && (kind === 'app' || kind === 'resend');
}
