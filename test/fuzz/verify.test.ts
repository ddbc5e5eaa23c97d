import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Aci, Pni } from '../../src/address.ts';
import { own, toHex, type Bytes } from '../../src/bytes.ts';
import { decodeCounters } from '../../plugins/verify/counters-row.ts';
import { normaliseCode } from '../../plugins/verify/code.ts';
import { mentionsCode } from '../../plugins/verify/guard.ts';
import { checkDigits } from '../../plugins/verify/check.ts';
import { associatedData, verificationHash } from '../../plugins/verify/keys.ts';
import { decodeSlot } from '../../plugins/verify/machine/row.ts';
import {
  ABORT,
  decodeFrame,
  decodeHeader,
  encodeFrame,
  type AbortReason,
  type Body,
  type Frame,
} from '../../plugins/verify/messages/frame.ts';
import { decodePayload, encodePayload, type Payload } from '../../plugins/verify/messages/payload.ts';
import { couple, verify } from '../verify/support/party.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 2000);

const bytes = (length: number): fc.Arbitrary<Bytes> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map(own);
const upTo = (maxLength: number, minLength = 0): fc.Arbitrary<Bytes> =>
  fc.uint8Array({ minLength, maxLength }).map(own);
const uuid = fc.uuid().filter((text) => text !== '00000000-0000-0000-0000-000000000000');
const aci = uuid.map((text) => text as Aci);
const device = fc.integer({ min: 1, max: 127 });
const byte = fc.nat(255);
const ms = fc.nat(8_640_000_000_000_000);
const profile = fc.constantFrom(1 as const, 2 as const);
const key = bytes(32).map((rest): Bytes => Uint8Array.of(5, ...rest));
const kyberKey = bytes(1568).map((rest): Bytes => Uint8Array.of(8, ...rest));
const party = fc.record({ aci, device });

const offer: fc.Arbitrary<Body> = fc
  .record({
    type: fc.constant('offer' as const),
    mode: fc.constantFrom(1 as const, 2 as const),
    profile,
    format: fc.constantFrom(1 as const, 2 as const, 3 as const),
    mhf: fc.record({ log2N: byte, r: byte, p: byte }),
    expiresAt: ms,
    sender: party,
    commitment: bytes(32),
    share: bytes(65),
  })
  .map((body) => (body.mode === 1 ? body : { ...body, sender: undefined }));

const kind = <T extends string>(type: T): fc.Arbitrary<T> => fc.constant(type);
const reply = fc.record({
  type: kind('reply'),
  sender: fc.option(party, { nil: undefined }),
  share: bytes(65),
  confirmation: bytes(32),
});
const accept = fc.record({ type: kind('accept'), sealed: upTo(400) });
const done = fc.oneof(
  fc.record({ type: kind('done'), kind: kind('mac'), proof: bytes(32) }),
  fc.record({ type: kind('done'), kind: kind('message'), proof: upTo(200, 1) }),
);
const abort = fc.record({
  type: kind('abort'),
  reason: fc.constantFrom(...(Object.keys(ABORT) as AbortReason[])),
});
const proof = (length: number): fc.Arbitrary<Body> =>
  fc.record({ type: kind('proof'), confirmation: bytes(length), sealed: upTo(400) });
const hello = fc.record({ type: kind('hello'), profile, share: bytes(33) });
const confirm = fc.record({ type: kind('confirm'), mac: bytes(32) });

const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({
    suite: fc.constant(1 as const),
    runId: bytes(16),
    body: fc.oneof<fc.Arbitrary<Body>[]>(offer, reply, proof(32), accept, done, abort),
  }),
  fc.record({
    suite: fc.constant(2 as const),
    runId: bytes(16),
    body: fc.oneof<fc.Arbitrary<Body>[]>(hello, confirm, proof(0), accept, done, abort),
  }),
);

const id = fc.nat(0xffffff);
const signed = fc.record({ id, publicKey: key, signature: bytes(64) });
const payload: fc.Arbitrary<{ from: 'A' | 'B'; value: Payload }> = fc
  .record({
    from: fc.constantFrom('A' as const, 'B' as const),
    profile,
    mayBeIntroduced: fc.boolean(),
    aci,
    device,
    registrationId: fc.integer({ min: 1, max: 16_383 }),
    identityKey: key,
    peer: fc.option(aci, { nil: undefined }),
    peerKey: fc.option(key, { nil: undefined }),
    time: ms,
    nonce: bytes(32),
    pni: fc.option(
      fc.record({
        pni: uuid.map((text) => `PNI:${text}` as Pni),
        key,
        signatureByPni: bytes(64),
        signatureByAci: bytes(64),
      }),
      { nil: undefined },
    ),
    bundle: fc.record({
      prekey: fc.record({ id, publicKey: key }),
      signedPrekey: signed,
      kyberPrekey: fc.record({ id, publicKey: kyberKey, signature: bytes(64) }),
    }),
    initial: upTo(300),
  })
  .map(({ from, bundle, nonce, initial, ...rest }) => {
    const owner = { deviceId: rest.device, registrationId: rest.registrationId };
    const value = {
      ...rest,
      nonce: from === 'A' ? nonce : undefined,
      bundle: from === 'A' && rest.profile === 2 ? { ...owner, ...bundle } : undefined,
      initial: from === 'B' && rest.profile === 2 ? initial : new Uint8Array(0),
    };
    return { from, value };
  });

/** One place changed, cut or longer. */
const damage = fc.record({
  place: fc.nat(),
  value: fc.integer({ min: 1, max: 255 }),
  cut: fc.option(fc.nat()),
  add: byte,
});

function damaged(
  whole: Bytes,
  { place, value, cut, add }: { place: number; value: number; cut: number | null; add: number },
): Bytes {
  if (cut !== null)
    return cut % 3 === 0 ? own(Uint8Array.of(...whole, add)) : whole.slice(0, cut % whole.length);
  const changed = whole.slice();
  changed[place % whole.length] = (changed[place % whole.length] ?? 0) ^ value;
  return changed;
}

describe('frames', () => {
  it('of any kind are decoded as they were encoded', () => {
    fc.assert(
      fc.property(frame, (value) => {
        expect(decodeFrame(encodeFrame(value))).toEqual(value);
      }),
      { numRuns },
    );
  });

  it('that are decoded have no other encoding', () => {
    fc.assert(
      fc.property(frame, damage, (value, change) => {
        const bytesOf = damaged(encodeFrame(value), change);
        const decoded = decodeFrame(bytesOf);
        if (decoded !== undefined) expect(toHex(encodeFrame(decoded))).toBe(toHex(bytesOf));
      }),
      { numRuns },
    );
  });

  it('out of anything are nothing, without a throw', () => {
    const begun = upTo(300).map((rest): Bytes => Uint8Array.of(0x53, 0x53, 0x56, 0x50, 1, ...rest));
    fc.assert(
      fc.property(fc.oneof(upTo(300), begun), (bytesOf) => {
        const decoded = decodeFrame(bytesOf);
        if (decoded !== undefined) expect(toHex(encodeFrame(decoded))).toBe(toHex(bytesOf));
        if (decoded !== undefined) expect(decodeHeader(bytesOf)).toBeDefined();
      }),
      { numRuns },
    );
  });
});

describe('payloads', () => {
  it('of any kind are decoded as they were encoded, and are no payload of the other side or profile', () => {
    fc.assert(
      fc.property(payload, ({ from, value }) => {
        const encoded = encodePayload(value);
        expect(decodePayload(encoded, from, value.profile)).toEqual(value);
        expect(decodePayload(encoded, from, value.profile === 1 ? 2 : 1)).toBeUndefined();
        expect(decodePayload(encoded, from === 'A' ? 'B' : 'A', value.profile)).toBeUndefined();
      }),
      { numRuns: Math.ceil(numRuns / 4) },
    );
  });

  it('that are decoded have no other encoding', () => {
    fc.assert(
      fc.property(payload, damage, ({ from, value }, change) => {
        const bytesOf = damaged(encodePayload(value), change);
        const decoded = decodePayload(bytesOf, from, value.profile);
        if (decoded !== undefined) expect(toHex(encodePayload(decoded))).toBe(toHex(bytesOf));
      }),
      { numRuns: Math.ceil(numRuns / 4) },
    );
  });
});

describe('rows and codes', () => {
  it('out of anything end without a throw', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          upTo(200),
          fc.json().map((text) => own(new TextEncoder().encode(text))),
        ),
        (row) => {
          expect(decodeSlot(row)).toBeUndefined();
          expect(decodeCounters(row)).toBeUndefined();
        },
      ),
      { numRuns },
    );
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.constantFrom(1 as const, 2 as const, 3 as const),
        (text, format) => {
          const normalised = normaliseCode(format, text);
          if ('text' in normalised) expect(mentionsCode(`say ${text}!`, normalised.text)).toBe(true);
        },
      ),
      { numRuns },
    );
  });
});

describe('keys', () => {
  it('differ where any bound byte does', () => {
    const transcript = fc.record({ offer: upTo(60, 1), reply: upTo(100, 40) });
    fc.assert(
      fc.property(transcript, upTo(40), bytes(32), damage, ({ offer: a, reply: b }, channel, prk, change) => {
        const other = damaged(a, change);
        const nonce = prk;
        if (toHex(other) === toHex(a)) return;
        const changed = { offer: other, reply: b };
        const same = { offer: a, reply: b };
        expect(toHex(associatedData(same, channel))).not.toBe(toHex(associatedData(changed, channel)));
        expect(toHex(associatedData(same, channel))).not.toBe(
          toHex(associatedData(same, Uint8Array.of(...channel, 0))),
        );
        expect(toHex(verificationHash(prk, same))).not.toBe(toHex(verificationHash(prk, changed)));
        expect(checkDigits(nonce, same)).toMatch(/^\d{6}$/);
      }),
      { numRuns },
    );
  });

  it('agree between any two honest sides with the same code, and no others', async () => {
    const code = fc.string({ minLength: 1 });
    await fc.assert(
      fc.asyncProperty(code, code, fc.boolean(), upTo(20), async (one, other, isSame, channel) => {
        const [alice, bob] = couple({ profile: 1 });
        alice.channel = bob.channel = channel;
        const typed = isSame ? one : other;
        await verify(alice, bob, one, typed).catch(() => undefined);
        const hashes = [alice, bob].map(({ trusted }) => trusted[0]?.proof.vh);
        if (one !== typed) expect(hashes).toEqual([undefined, undefined]);
        else expect(hashes[0] !== undefined && hashes[0] === hashes[1]).toBe(true);
      }),
      { numRuns: Math.ceil(numRuns / 40) },
    );
  });
});
