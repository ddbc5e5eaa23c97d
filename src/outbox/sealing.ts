/**
 * Sealing: whether and how a message to a recipient goes under sealed sender (protocol brief, section 5.6). Sealed needs
 * our certificate, which upkeep keeps fresh, and the recipient's access key, which comes from their profile key.
 */
import { SenderCertificate } from '@signalapp/libsignal-client';
import { ProfileKey } from '@signalapp/libsignal-client/dist/zkgroup/index.js';
import { isPni, type ServiceId } from '../address.ts';
import { fromBase64, type Bytes } from '../bytes.ts';
import type { Clock } from '../platform.ts';
import { HINT } from '../session/identify.ts';
import type { Seal } from '../session/session.ts';
import type { Batch } from '../store/store.ts';
import type { OutboxKind } from '../store/rows.ts';
import { facts, peers } from '../store/tables.ts';

export interface SealedRoute {
  readonly seal: Seal;
  /** 16 bytes */
  readonly accessKey: Bytes;
}

interface CertificateFact {
  readonly certificate: string;
  /** ms */
  readonly expiresAt: number;
}

/** Where no answer is expected, a failure to decrypt is worth no retry request. */
const HINTS: Partial<Record<OutboxKind, number>> = {
  receipt: HINT.IMPLICIT,
  null: HINT.IMPLICIT,
  retry: HINT.DEFAULT,
};

export class Sealing {
  readonly #clock: Clock;
  readonly #allowed: boolean;
  #last: { readonly text: string; readonly certificate: SenderCertificate } | undefined;
  readonly #accessKeys = new Map<string, Bytes>();

  /** @param allowed the profile's mode is not `off` */
  constructor(clock: Clock, allowed: boolean) {
    this.#clock = clock;
    this.#allowed = allowed;
  }

  /** @returns undefined when the message goes unsealed */
  async route(batch: Batch, recipient: ServiceId, kind: OutboxKind): Promise<SealedRoute | undefined> {
    if (!this.#allowed || isPni(recipient)) return undefined;
    const peer = await peers.get(batch, 'aci', recipient);
    if (peer?.profileKey === undefined || peer.sealed === 'refused') return undefined;
    const fact = (await facts.get(batch, 'senderCertificate')) as CertificateFact | undefined;
    const health = (await facts.get(batch, 'sealedSender')) as { state: string } | undefined;
    if (fact === undefined || health?.state === 'off' || fact.expiresAt <= this.#clock.now())
      return undefined;
    const hint = HINTS[kind] ?? HINT.RESENDABLE;
    return {
      seal: { certificate: this.#certificate(fact.certificate), hint },
      accessKey: this.#accessKey(peer.profileKey),
    };
  }

  #certificate(text: string): SenderCertificate {
    if (this.#last?.text !== text) {
      this.#last = { text, certificate: SenderCertificate.deserialize(fromBase64(text)) };
    }
    return this.#last.certificate;
  }

  #accessKey(profileKey: string): Bytes {
    const known = this.#accessKeys.get(profileKey);
    if (known !== undefined) return known;
    const key = new Uint8Array(new ProfileKey(fromBase64(profileKey)).deriveAccessKey());
    if (this.#accessKeys.size >= 1000) this.#accessKeys.clear();
    this.#accessKeys.set(profileKey, key);
    return key;
  }
}
