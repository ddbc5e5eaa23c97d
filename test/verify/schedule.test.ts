/**
 * Key schedule, labels and layouts, computed here once more with node:crypto out of what section 3 says: the vectors have no
 * run of suite 2, no initial message and no keys for texts.
 */
import { createDecipheriv, createHash, createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Aci, Pni } from '../../src/address.ts';
import { copy, fromHex, fromUtf8, toHex, type Bytes } from '../../src/bytes.ts';
import { checkDigits, commitTo } from '../../plugins/verify/check.ts';
import { initialPlaintext, pageKeys } from '../../plugins/verify/keys.ts';
import type { Greeting } from '../../plugins/verify/machine/state.ts';
import { finishSymmetric } from '../../plugins/verify/math/suite2.ts';
import {
  ABORT,
  decodeFrame,
  encodeFrame,
  type AbortReason,
  type Body,
  type Offer,
} from '../../plugins/verify/messages/frame.ts';
import { decodePayload, encodePayload, type Payload } from '../../plugins/verify/messages/payload.ts';
import { couple, random, type Party } from './support/party.ts';

type Part = Uint8Array | string;

const join = (...parts: readonly Part[]): Bytes =>
  copy(Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part))));
const sha256 = (...parts: readonly Part[]): Bytes =>
  copy(
    createHash('sha256')
      .update(join(...parts))
      .digest(),
  );
const hmac = (key: Part, ...parts: readonly Part[]): Bytes =>
  copy(
    createHmac('sha256', key)
      .update(join(...parts))
      .digest(),
  );

/** HKDF-Expand of RFC 5869. */
function expand(prk: Bytes, info: Bytes, length: number): Bytes {
  const blocks: Bytes[] = [];
  for (let i = 1; 32 * blocks.length < length; i++)
    blocks.push(hmac(prk, blocks.at(-1) ?? '', info, Uint8Array.of(i)));
  return join(...blocks).slice(0, length);
}

/** A sealed payload, opened. */
function opened(keys: Bytes, head: Bytes, sealed: Bytes): Bytes {
  const [ciphertext, tag] = [sealed.subarray(0, -32), sealed.subarray(-32)];
  expect(
    toHex(hmac(keys.subarray(32), fromHex(`00000000000000${byte(head.length)}`), head, ciphertext)),
  ).toBe(toHex(tag));
  const decipher = createDecipheriv('aes-256-ctr', keys.subarray(0, 32), new Uint8Array(16));
  const padded = copy(decipher.update(ciphertext));
  expect(padded.length % 256).toBe(0);
  return padded.slice(0, padded.lastIndexOf(0x80));
}

const byte = (value: number): string => value.toString(16).padStart(2, '0');

describe('suite 2', () => {
  it('has the transcript and the keys of section 3.7', async () => {
    const [alice, bob] = couple({ mode: 2, profile: 1 });
    const channel = (alice.channel = bob.channel = fromUtf8('a channel'));
    const greetings = new Map<Party, Greeting>();
    for (const party of [alice, bob]) {
      await party.greet('correct horse');
      greetings.set(party, party.run as Greeting);
    }
    const [one, other] = [alice.frame('hello'), bob.frame('hello')];
    // Mode 2, profile 1, then the share and its length.
    const head = `5353565001060002${'00'.repeat(16)}0000002502010021`;
    for (const hello of [one, other]) expect(toHex(hello.subarray(0, 32))).toBe(head);
    const isAliceLow = toHex(one.subarray(32)) < toHex(other.subarray(32));
    const [low, high] = isAliceLow ? [alice, bob] : [bob, alice];
    const [lowHello, highHello] = isAliceLow ? [one, other] : [other, one];
    const greeting = greetings.get(low);
    if (greeting === undefined) throw new Error('no greeting');
    const { password, share } = greeting;
    const key = finishSymmetric({
      ...{ password: copy(password), own: { secret: copy(share.secret), share: share.share } },
      ...{ peerShare: highHello.slice(32), id: new Uint8Array(0) },
    });
    if (typeof key === 'string') throw new Error(key);

    await low.take(highHello, high);
    await high.take(lowHello, low);
    const runId = sha256(lowHello, highHello).slice(0, 16);
    const aad = join('spake2-signal v1', sha256(lowHello), sha256(highHello), fromHex('0009'), channel);
    const prk = hmac(sha256('spake2-signal v1 keys', aad), key);
    const confirm = (side: 'low' | 'high'): string => {
      const mac = hmac(expand(prk, join(`confirm ${side}`), 32), aad);
      return `5353565001070002${toHex(runId)}000000220020${toHex(mac)}`;
    };
    const [lowConfirm, highConfirm] = [low.frame('confirm'), high.frame('confirm')];
    expect([toHex(lowConfirm), toHex(highConfirm)]).toEqual([confirm('low'), confirm('high')]);

    await low.take(highConfirm, high);
    await high.take(lowConfirm, low);
    const proof = low.frame('proof');
    // cA is empty.
    expect(toHex(proof.subarray(0, 30))).toMatch(new RegExp(`^5353565001030002${toHex(runId)}.{8}0000$`));
    const [offer, reply] = [join(lowHello, lowConfirm), join(highHello, highConfirm)];
    const keysA = expand(prk, join('payload A', sha256(offer, reply)), 64);
    const payloadA = decodePayload(opened(keysA, proof.slice(0, 24), proof.slice(34)), 'A', 1);
    expect(payloadA).toMatchObject({ aci: low.own.aci, nonce: new Uint8Array(32) });

    await high.take(proof, low);
    const accept = high.frame('accept');
    const keysB = expand(prk, join('payload B', sha256(offer, reply, proof)), 64);
    const payloadB = decodePayload(opened(keysB, accept.slice(0, 24), accept.slice(32)), 'B', 1);
    expect(payloadB).toMatchObject({ aci: high.own.aci, peer: low.own.aci });

    await low.take(accept, high);
    const vh = expand(prk, join('verify', sha256(offer, reply, proof, accept)), 32);
    const done = hmac(expand(prk, join('done'), 32), vh);
    expect(toHex(low.frame('done'))).toBe(`5353565001050002${toHex(runId)}000000250100000020${toHex(done)}`);
    expect(low.trusted[0]?.proof).toMatchObject({ vh: toHex(vh), runId: toHex(runId), suite: 2 });
    const [fromA, fromB] = ['page A', 'page B'].map((label) => expand(prk, join(label, vh), 64));
    expect(low.trusted[0]?.pageKeys).toEqual({ fromA, fromB });
    expect(pageKeys(prk, vh)).toEqual({ fromA, fromB });
  });
});

describe('labels', () => {
  const transcript = { offer: random.bytes(160), reply: random.bytes(147) };

  it('of what B seals first are those of section 7', () => {
    const proof = random.bytes(354);
    const expected = sha256('initial', transcript.offer, transcript.reply, proof);
    expect(initialPlaintext(transcript, proof)).toEqual(expected);
  });

  it('V-25: of the commitment and of the digits, which keep the zeros in front', () => {
    const all = Array.from({ length: 300 }, () => random.bytes(32)).map((nonce) => {
      expect(commitTo(nonce)).toEqual(sha256('spake2-signal v1 commit', nonce));
      const hash = sha256('spake2-signal v1 check', nonce, transcript.offer, transcript.reply);
      const digits = (BigInt(`0x${toHex(hash.subarray(0, 8))}`) % 1_000_000n).toString().padStart(6, '0');
      expect(checkDigits(nonce, transcript)).toBe(digits);
      return digits;
    });
    expect(all.some((digits) => digits.startsWith('0'))).toBe(true);
  });
});

const ALICE = '0f0e0d0c-0b0a-4908-8706-050403020100' as Aci;
const ALICE_HEX = '000f0e0d0c0b0a49088706050403020100';
const RUN = '11'.repeat(16);
const filled = (length: number, value: number): Bytes => new Uint8Array(length).fill(value);
const hex = (length: number, value: number): string => byte(value).repeat(length);

describe('the layout', () => {
  const offer: Offer = {
    ...({ type: 'offer', mode: 1, profile: 2, format: 3, mhf: { log2N: 15, r: 8, p: 1 } } as const),
    ...{ expiresAt: 1_800_000_000_123, sender: { aci: ALICE, device: 7 } },
    ...{ commitment: filled(32, 0xc0), share: filled(65, 4) },
  };
  const reply = { type: 'reply', share: filled(65, 4), confirmation: filled(32, 0xcb) } as const;
  const sealed = filled(3, 0xee);
  const time = 1_800_000_000_123n.toString(16).padStart(16, '0');
  const share = `0041${hex(65, 4)}`;

  it.each<[string, 1 | 2, Body, string]>([
    ['OFFER', 1, offer, `01|010203010f0801${time}${ALICE_HEX}07${hex(32, 0xc0)}${share}`],
    [
      'OFFER without names',
      1,
      { ...offer, mode: 2, sender: undefined },
      `01|020203010f0801${time}${hex(18, 0)}${hex(32, 0xc0)}${share}`,
    ],
    [
      'REPLY',
      1,
      { ...reply, sender: { aci: ALICE, device: 7 } },
      `02|${ALICE_HEX}07${share}0020${hex(32, 0xcb)}`,
    ],
    [
      'REPLY without names',
      1,
      { ...reply, sender: undefined },
      `02|${hex(18, 0)}${share}0020${hex(32, 0xcb)}`,
    ],
    [
      'PROOF',
      1,
      { type: 'proof', confirmation: filled(32, 0xca), sealed },
      `03|0020${hex(32, 0xca)}00000003eeeeee`,
    ],
    ['ACCEPT', 1, { type: 'accept', sealed }, '04|00000003eeeeee'],
    [
      'DONE, kind 1',
      1,
      { type: 'done', kind: 'mac', proof: filled(32, 0xdd) },
      `05|0100000020${hex(32, 0xdd)}`,
    ],
    ['DONE, kind 2', 1, { type: 'done', kind: 'message', proof: sealed }, '05|0200000003eeeeee'],
    ['HELLO', 2, { type: 'hello', profile: 2, share: filled(33, 0x53) }, `06|02020021${hex(33, 0x53)}`],
    ['CONFIRM', 2, { type: 'confirm', mac: filled(32, 0xcc) }, `07|0020${hex(32, 0xcc)}`],
    ['ABORT', 1, { type: 'abort', reason: 'busy' }, '7f|06'],
  ])('of %s is that of section 3.2', (_, suite, body, expected) => {
    const [type = '', rest = ''] = expected.split('|');
    const length = (rest.length / 2).toString(16).padStart(8, '0');
    const bytes = encodeFrame({ suite, runId: fromHex(RUN), body });
    expect(toHex(bytes)).toBe(`5353565001${type}000${String(suite)}${RUN}${length}${rest}`);
    expect(decodeFrame(bytes)).toEqual({ suite, runId: fromHex(RUN), body });
  });

  it('of the reasons of ABORT is 1 to 6, in order', () => {
    const reasons: AbortReason[] = ['unsupported', 'declined', 'failed', 'expired', 'superseded', 'busy'];
    expect(reasons.map((reason) => ABORT[reason])).toEqual([1, 2, 3, 4, 5, 6]);
    const bytes = encodeFrame({ suite: 1, runId: fromHex(RUN), body: { type: 'abort', reason: 'busy' } });
    for (const value of [0, 7, 255]) {
      bytes[28] = value;
      expect(decodeFrame(bytes)).toBeUndefined();
    }
  });

  it('has room for 16 KiB, and for no more', () => {
    const accept = (length: number): Body => ({ type: 'accept', sealed: new Uint8Array(length - 4) });
    const frame = (length: number): Bytes =>
      encodeFrame({ suite: 1, runId: fromHex(RUN), body: accept(length) });
    expect(decodeFrame(frame(16_384))?.body).toEqual(accept(16_384));
    expect(() => frame(16_385)).toThrow(RangeError);
    const longer = join(frame(16_384), Uint8Array.of(0));
    new DataView(longer.buffer).setUint32(24, 16_385);
    new DataView(longer.buffer).setUint32(28, 16_381);
    expect(decodeFrame(longer)).toBeUndefined();
  });

  it.each([
    ['version', 4, 2],
    ['type', 5, 8],
    ['suite', 7, 3],
    ['mode', 28, 3],
    ['profile', 29, 3],
    ['code format', 30, 4],
    ['memory-hard function', 31, 2],
    ['kind of service id', 43, 1],
    ['device', 60, 0],
    ['device', 60, 128],
  ])('knows no other %s', (_, place, value) => {
    const bytes = encodeFrame({ suite: 1, runId: fromHex(RUN), body: offer });
    expect(decodeFrame(bytes)).toBeDefined();
    bytes[place] = value;
    expect(decodeFrame(bytes)).toBeUndefined();
  });

  it('of payloads is that of section 3.5, byte by byte', () => {
    const key = (value: number): Bytes => Uint8Array.of(5, ...filled(32, value));
    const keyHex = (value: number): string => `002105${hex(32, value)}`;
    const pni = {
      ...{ pni: `PNI:${ALICE}` as Pni, key: key(3) },
      ...{ signatureByPni: filled(64, 0xa1), signatureByAci: filled(64, 0xa2) },
    };
    const bundle = {
      ...{ deviceId: 7, registrationId: 0x1234, prekey: { id: 0x01020304, publicKey: key(4) } },
      signedPrekey: { id: 5, publicKey: key(6), signature: filled(64, 0xb1) },
      kyberPrekey: { id: 7, publicKey: Uint8Array.of(8, ...filled(1568, 9)), signature: filled(64, 0xb2) },
    };
    const payload: Payload = {
      ...{ profile: 2, mayBeIntroduced: true, aci: ALICE, device: 7, registrationId: 0x1234 },
      ...{ identityKey: key(1), peer: ALICE, peerKey: key(2), time: 1_800_000_000_123 },
      ...{ nonce: filled(32, 0xcc), pni, bundle, initial: new Uint8Array(0) },
    };
    const own = `${ALICE_HEX}071234${keyHex(1)}${ALICE_HEX}${keyHex(2)}${time}`;
    const pniHex = `01${ALICE_HEX.slice(2)}${keyHex(3)}0040${hex(64, 0xa1)}0040${hex(64, 0xa2)}`;
    const bundleHex = `01020304${keyHex(4)}00000005${keyHex(6)}0040${hex(64, 0xb1)}00000007062108${hex(1568, 9)}0040${hex(64, 0xb2)}`;
    expect(toHex(encodePayload(payload))).toBe(`010203${own}${hex(32, 0xcc)}${pniHex}${bundleHex}00000000`);
    const answer: Payload = {
      ...{ ...payload, mayBeIntroduced: false, nonce: undefined, pni: undefined, bundle: undefined },
      initial: filled(2, 0x33),
    };
    expect(toHex(encodePayload(answer))).toBe(`010200${own}000000023333`);
    const unsaid = { ...answer, peer: undefined, peerKey: undefined };
    expect(toHex(encodePayload(unsaid))).toBe(
      `010200${ALICE_HEX}071234${keyHex(1)}${hex(17, 0)}0000${time}000000023333`,
    );
  });
});
