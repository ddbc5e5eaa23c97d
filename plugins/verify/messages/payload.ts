/**
 * Payloads: what the two sides tell each other under the confirmed key, before sealing.
 *
 *   version 1 = 01 | profile 1 | flags 1 (bit 0 may be introduced, bit 1 PNI block)
 *   own service id 17 | own device 1 | registration id 2 | lv identity key (33)
 *   peer's service id as I know it 17 (zero: unknown) | lv peer's identity key as I see it (33 or 0) | time 8
 *   from A: check nonce 32
 *   PNI block, if flagged: PNI 17 | lv PNI identity key (33) | lv PNI's signature of the ACI key (64)
 *                          | lv ACI's signature of the PNI key (64)
 *   profile 2, from A: prekey id 4 | lv prekey (33) | signed prekey id 4 | lv key (33) | lv signature (64)
 *                      | Kyber prekey id 4 | lv key (1569) | lv signature (64)
 *   lv4 initial message (profile 2, from B; otherwise empty)
 *
 * Each payload has one encoding; all else is refused.
 * Spec: verification brief, section 3.5.
 */
import type { Aci, Bytes, DeviceId, PniBlock, RunBundle } from '../../../src/index.ts';
import type { Role } from '../math/spake2.ts';
import type { Profile } from './frame.ts';
import { aciBytes, pniBytes, readAci, readDevice, readPni } from './service-id.ts';
import { concat, lv, lv4, Reader, time, u16, u32, u8 } from './wire.ts';

export interface Payload {
  readonly profile: Profile;
  /** A contact may vouch for this account towards others (V-36). */
  readonly mayBeIntroduced: boolean;
  readonly aci: Aci;
  readonly device: DeviceId;
  /** 1..16383 */
  readonly registrationId: number;
  /** 33 bytes. */
  readonly identityKey: Bytes;
  /** The receiver as the sender knows it; undefined where it does not. */
  readonly peer: Aci | undefined;
  /** 33 bytes; undefined where the sender has none. */
  readonly peerKey: Bytes | undefined;
  /** ms since 1970. */
  readonly time: number;
  /** 32 bytes; from A alone. */
  readonly nonce: Bytes | undefined;
  /** Neither signature is looked at here. */
  readonly pni: PniBlock | undefined;
  /** From A in profile 2: public halves of prekeys that were made for this run. */
  readonly bundle: RunBundle | undefined;
  /** From B in profile 2, unless the session stays. */
  readonly initial: Bytes;
}

const VERSION = 1;
const KEY_BYTES = 33;
const DJB = 0x05;
const SIGNATURE_BYTES = 64;
const KYBER_KEY_BYTES = 1569;
const KYBER_1024 = 0x08;
const NONCE_BYTES = 32;
const MAX_REGISTRATION_ID = 16_383;
const NONE: Bytes = new Uint8Array(0);

/** @throws RangeError when the initial message is longer than a frame */
export function encodePayload(payload: Payload): Bytes {
  const { pni, bundle } = payload;
  return concat(
    Uint8Array.of(VERSION, payload.profile, (payload.mayBeIntroduced ? 1 : 0) | (pni ? 2 : 0)),
    aciBytes(payload.aci),
    u8(payload.device),
    u16(payload.registrationId),
    lv(payload.identityKey),
    aciBytes(payload.peer),
    lv(payload.peerKey ?? NONE),
    time(payload.time),
    payload.nonce ?? NONE,
    pni ? encodePni(pni) : NONE,
    bundle ? encodeBundle(bundle) : NONE,
    lv4(payload.initial),
  );
}

/**
 * @param from whose payload it is; only A's has a nonce and a bundle, only B's an initial message
 * @returns undefined unless this is the one encoding of a payload of that side in this profile
 */
export function decodePayload(bytes: Uint8Array, from: Role, profile: Profile): Payload | undefined {
  const reader = new Reader(bytes);
  reader.require(reader.u8() === VERSION && reader.u8() === profile);
  const flags = reader.oneOf(0, 1, 2, 3);
  const aci = readAci(reader);
  const device = readDevice(reader);
  const registrationId = reader.u16();
  reader.require(registrationId >= 1 && registrationId <= MAX_REGISTRATION_ID);
  const identityKey = readKey(reader);
  const peer = readAci(reader);
  const peerKey = readOptionalKey(reader);
  const sentAt = reader.time();
  const nonce = from === 'A' ? reader.bytes(NONCE_BYTES) : undefined;
  const pni = (flags & 2) === 0 ? undefined : readPniBlock(reader);
  const bundle =
    from === 'A' && profile === 2 ? readBundle(reader, { deviceId: device, registrationId }) : undefined;
  const initial = reader.lv4();
  reader.require(initial.length === 0 || (from === 'B' && profile === 2));
  if (!reader.isDone || aci === undefined) return undefined;
  const mayBeIntroduced = (flags & 1) !== 0;
  const who = { aci, device, registrationId, identityKey };
  return { profile, mayBeIntroduced, ...who, peer, peerKey, time: sentAt, nonce, pni, bundle, initial };
}

function encodePni({ pni, key, signatureByPni, signatureByAci }: PniBlock): Bytes {
  return concat(pniBytes(pni), lv(key), lv(signatureByPni), lv(signatureByAci));
}

function readPniBlock(reader: Reader): PniBlock {
  const pni = readPni(reader);
  const key = readKey(reader);
  return { pni, key, signatureByPni: reader.lv(SIGNATURE_BYTES), signatureByAci: reader.lv(SIGNATURE_BYTES) };
}

/** From the prekey id to the Kyber prekey's signature. */
export function encodeBundle({ prekey, signedPrekey, kyberPrekey }: RunBundle): Bytes {
  return concat(
    u32(prekey.id),
    lv(prekey.publicKey),
    u32(signedPrekey.id),
    lv(signedPrekey.publicKey),
    lv(signedPrekey.signature),
    u32(kyberPrekey.id),
    lv(kyberPrekey.publicKey),
    lv(kyberPrekey.signature),
  );
}

export function readBundle(reader: Reader, owner: Pick<RunBundle, 'deviceId' | 'registrationId'>): RunBundle {
  const prekey = { id: reader.u32(), publicKey: readKey(reader) };
  const signed = { id: reader.u32(), publicKey: readKey(reader) };
  const signedPrekey = { ...signed, signature: reader.lv(SIGNATURE_BYTES) };
  const kyber = { id: reader.u32(), publicKey: readKyberKey(reader) };
  return { ...owner, prekey, signedPrekey, kyberPrekey: { ...kyber, signature: reader.lv(SIGNATURE_BYTES) } };
}

/** A Curve25519 key with its type byte. */
export function readKey(reader: Reader): Bytes {
  const key = reader.lv(KEY_BYTES);
  reader.require(key[0] === DJB);
  return key;
}

function readOptionalKey(reader: Reader): Bytes | undefined {
  const key = reader.lv();
  reader.require(key.length === 0 || (key.length === KEY_BYTES && key[0] === DJB));
  return key.length === 0 ? undefined : key;
}

function readKyberKey(reader: Reader): Bytes {
  const key = reader.lv(KYBER_KEY_BYTES);
  reader.require(key[0] === KYBER_1024);
  return key;
}
