/**
 * Statements: what one contact says about another one's identity key, and that it no longer holds.
 *
 *   32 x FF | "spake2-signal introduction v1" | kind 1 (01 introduction, 02 revocation) | statement id 16
 *   introducer ACI 17 | introducer identity key 33 | subject ACI 17 | subject identity key 33
 *   method 1 (1 PAKE, 2 safety number) | verified at 8 (a whole day, UTC) | issued at 8 | not after 8 (ms)
 *   audience kind 1 (1 ACI, 2 group id) | lv audience (17 or 32) | depth 1
 *   lv bundle (0 bytes, or device 1 | registration id 2 | the profile 2 block of a payload)
 *   signature 64 (XEdDSA of the ACI identity key; 64 zeros: unsigned)
 *
 * Keys are not `lv` here: their length is the field's. A statement has one encoding, all else is refused; depth is read as it
 * is, since what is not 0 is refused by a rule and not by the format. Signatures are randomised, so a statement is known
 * by its introducer and id, and two are the same when all before the signature is.
 *
 * Left out of section 10: bundles that are handed on where there is no service. Bots are accounts of a service, which gives
 * prekeys out, refused unless they are under the introduced key; programs without one have no contacts to introduce. The
 * field stays, as it is of the format and signed: nobody here fills it, and one that comes filled is read and not used.
 * Spec: verification brief, section 10.
 */
import { verifySignature, type Aci, type Bytes, type OwnKey, type RunBundle } from '../../../src/index.ts';
import { encodeBundle, readBundle } from '../messages/payload.ts';
import { aciBytes, readAci, readDevice } from '../messages/service-id.ts';
import { concat, lv, Reader, time, u16, u8 } from '../messages/wire.ts';

/** Who may rely on a statement: one account, or whoever is in a group with the introducer. */
export type Audience =
  | { readonly kind: 'aci'; readonly aci: Aci }
  /** 32 bytes. */
  | { readonly kind: 'group'; readonly id: Bytes };

/** How the introducer has verified the subject. */
export type Method = 'pake' | 'safety-number';

export interface Statement {
  readonly kind: 'introduction' | 'revocation';
  /** 16 bytes, of the introducer's choice. */
  readonly id: Bytes;
  readonly introducer: Aci;
  /** 33 bytes, as both keys. */
  readonly introducerKey: Bytes;
  readonly subject: Aci;
  readonly subjectKey: Bytes;
  readonly method: Method;
  /** ms, the beginning of a day (UTC). */
  readonly verifiedAt: number;
  /** ms, by the introducer's clock. */
  readonly issuedAt: number;
  /** ms */
  readonly notAfter: number;
  readonly audience: Audience;
  /** 0..255; 0 is the only one that is ever used. */
  readonly depth: number;
  /** The subject's prekeys, as others may hand them on. Not used. */
  readonly bundle: RunBundle | undefined;
}

/** A statement as it came, or goes. */
export interface Signed {
  readonly statement: Statement;
  /** From the kind to the bundle. */
  readonly body: Bytes;
  /** 64 bytes; undefined when it is unsigned. */
  readonly signature: Bytes | undefined;
}

export const DAY_MS = 86_400_000;
export const ID_BYTES = 16;
export const GROUP_ID_BYTES = 32;

const LABEL = 'spake2-signal introduction v1';
const PREFIX = concat(new Uint8Array(32).fill(0xff), new TextEncoder().encode(LABEL));
const KINDS = { introduction: 1, revocation: 2 } as const;
const METHODS = { pake: 1, 'safety-number': 2 } as const;
const AUDIENCES = { aci: 1, group: 2 } as const;
const KEY_BYTES = 33;
const DJB = 0x05;
const ACI_BYTES = 17;
const SIGNATURE_BYTES = 64;
const MAX_REGISTRATION_ID = 16_383;
const UNSIGNED: Bytes = new Uint8Array(SIGNATURE_BYTES);
const NONE: Bytes = new Uint8Array(0);

/** @param own who signs; undefined for an unsigned statement */
export function encodeStatement(statement: Statement, own: Pick<OwnKey, 'sign'> | undefined): Bytes {
  const body = encodeBody(statement);
  return concat(PREFIX, body, own?.sign(LABEL, body) ?? UNSIGNED);
}

/** @returns undefined unless this is the one encoding of a statement; its signature is not looked at */
export function decodeStatement(bytes: Uint8Array): Signed | undefined {
  const reader = new Reader(bytes);
  const prefix = reader.bytes(PREFIX.length);
  reader.require(prefix.every((byte, i) => byte === PREFIX[i]));
  const statement = readBody(reader);
  const signature = reader.bytes(SIGNATURE_BYTES);
  if (!reader.isDone || statement === undefined) return undefined;
  const body = new Uint8Array(bytes.slice(PREFIX.length, bytes.length - SIGNATURE_BYTES));
  return { statement, body, signature: signature.every((byte) => byte === 0) ? undefined : signature };
}

/** @param key 33 bytes: what we hold for the introducer, never the key that the statement names */
export function isSignedBy(key: Uint8Array, { body, signature }: Signed): boolean {
  return signature !== undefined && verifySignature(key, LABEL, body, signature);
}

function encodeBody(statement: Statement): Bytes {
  const { audience, bundle } = statement;
  return concat(
    u8(KINDS[statement.kind]),
    statement.id,
    aciBytes(statement.introducer),
    statement.introducerKey,
    aciBytes(statement.subject),
    statement.subjectKey,
    u8(METHODS[statement.method]),
    time(statement.verifiedAt),
    time(statement.issuedAt),
    time(statement.notAfter),
    u8(AUDIENCES[audience.kind]),
    lv(audience.kind === 'aci' ? aciBytes(audience.aci) : audience.id),
    u8(statement.depth),
    lv(bundle === undefined ? NONE : encodeHanded(bundle)),
  );
}

function readBody(reader: Reader): Statement | undefined {
  const kind = reader.oneOf(1, 2) === KINDS.introduction ? 'introduction' : 'revocation';
  const id = reader.bytes(ID_BYTES);
  const introducer = readAci(reader);
  const introducerKey = readPlainKey(reader);
  const subject = readAci(reader);
  const subjectKey = readPlainKey(reader);
  const method = reader.oneOf(1, 2) === METHODS.pake ? 'pake' : 'safety-number';
  const verifiedAt = reader.time();
  reader.require(verifiedAt % DAY_MS === 0);
  const times = { verifiedAt, issuedAt: reader.time(), notAfter: reader.time() };
  const audience = readAudience(reader);
  const depth = reader.u8();
  const bundle = readHanded(reader);
  if (introducer === undefined || subject === undefined || audience === undefined) return undefined;
  const who = { introducer, introducerKey, subject, subjectKey };
  return { kind, id, ...who, method, ...times, audience, depth, bundle };
}

function readAudience(reader: Reader): Audience | undefined {
  if (reader.oneOf(1, 2) === AUDIENCES.group) return { kind: 'group', id: reader.lv(GROUP_ID_BYTES) };
  reader.require(reader.u16() === ACI_BYTES);
  const aci = readAci(reader);
  return aci === undefined ? undefined : { kind: 'aci', aci };
}

function readPlainKey(reader: Reader): Bytes {
  const key = reader.bytes(KEY_BYTES);
  reader.require(key[0] === DJB);
  return key;
}

function encodeHanded(bundle: RunBundle): Bytes {
  return concat(u8(bundle.deviceId), u16(bundle.registrationId), encodeBundle(bundle));
}

function readHanded(reader: Reader): RunBundle | undefined {
  const bytes = reader.lv();
  if (bytes.length === 0) return undefined;
  const inner = new Reader(bytes);
  const deviceId = readDevice(inner);
  const registrationId = inner.u16();
  inner.require(registrationId >= 1 && registrationId <= MAX_REGISTRATION_ID);
  const bundle = readBundle(inner, { deviceId, registrationId });
  reader.require(inner.isDone);
  return bundle;
}
