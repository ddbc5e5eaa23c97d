import { createPublicKey, randomUUID, verify } from 'node:crypto';
import { PrivateKey } from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { parseAci } from '../../src/address.ts';
import { fromHex, fromUtf8, own, toHex, type Bytes } from '../../src/bytes.ts';
import { systemPlatform } from '../../src/platform.ts';
import { partySet, type Received, type Setting, type Step } from '../../src/rounds/index.ts';
import { deal, frost, frostKey, identifier, publicKeyOf, type FrostKey } from '../../plugins/frost/key.ts';
import { frostSign, type FrostParams, type FrostState } from '../../plugins/frost/sign.ts';

const { random } = systemPlatform();
const MESSAGE = fromUtf8('pay 3 to nobody');
const draw = (length = 32): Bytes => random.bytes(length);

/** RFC 9591, appendix E.1: FROST(Ed25519, SHA-512), participants 1 and 3 of three. */
const RFC = {
  groupSecretKey: '7b1c33d3f5291d85de664833beb1ad469f7fb6025a0ec78b3a790c6e13a98304',
  groupPublicKey: '15d21ccd7ee42959562fc8aa63224c8851fb3ec85a3faf66040d380fb9738673',
  message: '74657374',
  shares: [
    '929dcc590407aae7d388761cddb0c0db6f5627aea8e217f4a033f2ec83d93509',
    'a91e66e012e4364ac9aaa405fcafd370402d9859f7b6685c07eed76bf409e80d',
    'd3cb090a075eb154e82fdb4b3cb507f110040905468bb9c46da8bdea643a9a02',
  ],
  coefficient: '178199860edd8c62f5212ee91eff1295d0d670ab4ed4506866bae57e7030b204',
  signers: {
    1: {
      randomness: [
        '0fd2e39e111cdc266f6c0f4d0fd45c947761f1f5d3cb583dfcb9bbaf8d4c9fec',
        '69cd85f631d5f7f2721ed5e40519b1366f340a87c2f6856363dbdcda348a7501',
      ],
      commitments: [
        'b5aa8ab305882a6fc69cbee9327e5a45e54c08af61ae77cb8207be3d2ce13de3',
        '67e98ab55aa310c3120418e5050c9cf76cf387cb20ac9e4b6fdb6f82a469f932',
      ],
      share: '001719ab5a53ee1a12095cd088fd149702c0720ce5fd2f29dbecf24b7281b603',
    },
    3: {
      randomness: [
        '86d64a260059e495d0fb4fcc17ea3da7452391baa494d4b00321098ed2a0062f',
        '13e6b25afb2eba51716a9a7d44130c0dbae0004a9ef8d7b5550c8a0e07c61775',
      ],
      commitments: [
        'cfbdb165bd8aad6eb79deb8d287bcc0ab6658ae57fdcc98ed12c0669e90aec91',
        '7487bc41a6e712eea2f2af24681b58b1cf1da278ea11fe4e8b78398965f13552',
      ],
      share: 'bd86125de990acc5e1f13781d8e32c03a9bbd4c53539bbc106058bfd14326007',
    },
  },
  signature:
    '36282629c383bb820a88b71cae937d41f2f2adfcc3d02e55507e2fb9e2dd3cbe' +
    'bd9d2b0844e49ae0f3fa935161e1419aab7b47d21a37ebeae1f17d4987b3160b',
} as const;

function rfcKeys(): FrostKey[] {
  const Fn = frost.utils.Fn;
  const scalar = (hex: string): bigint => Fn.fromBytes(fromHex(hex));
  const { commitment } = frost.utils.generateSecretPolynomial(
    { min: 2, max: 3 },
    fromHex(RFC.groupSecretKey),
    [scalar(RFC.coefficient)],
  );
  const publicShares = RFC.shares.map((share) => basePoint(share));
  const commitments = commitment.map((point) => own(point));
  return RFC.shares.map((share, i) => ({
    min: 2,
    max: 3,
    index: i + 1,
    share: fromHex(share),
    commitments,
    publicShares,
  }));
}

/** A public share: noble derives it when a dealer of one cuts it. */
function basePoint(share: string): Bytes {
  const { commitment } = frost.utils.generateSecretPolynomial({ min: 2, max: 2 }, fromHex(share), [1n]);
  return own(commitment[0] ?? new Uint8Array(0));
}

type Bend = (round: number, from: number, body: Bytes) => Bytes;

interface Ran {
  readonly ends: Map<number, Step<FrostState, Bytes>>;
  /** By round, what each has broadcast. */
  readonly sent: Map<number, Bytes>[];
  readonly states: FrostState[];
}

function run(
  keys: readonly FrostKey[],
  present: readonly number[],
  message: Bytes,
  options: { bend?: Bend; draws?: (index: number) => (length?: number) => Bytes } = {},
): Ran {
  const bend: Bend = options.bend ?? ((_round, _from, body) => body);
  const draws = options.draws ?? (() => draw);
  const [first] = keys;
  if (first === undefined) throw new Error('there are no keys');
  const parties = partySet(
    keys.map(() => ({
      aci: parseAci(randomUUID()),
      deviceId: 2,
      identityKey: own(PrivateKey.generate().getPublicKey().serialize()),
    })),
  );
  const params: FrostParams = { min: first.min, publicKey: publicKeyOf(first) };
  const id = random.bytes(32);
  const ends = new Map<number, Step<FrostState, Bytes>>();
  const sent: Map<number, Bytes>[] = [];
  const states: FrostState[] = [];
  let rows = new Map<number, Bytes>();
  for (let round = 1; round <= 3; round++) {
    const messages = new Map<number, Received>();
    for (const [index, body] of sent.at(-1) ?? [])
      messages.set(index, { broadcast: bend(round - 1, index, body) });
    const bodies = new Map<number, Bytes>();
    const after = new Map<number, Bytes>();
    for (const self of present) {
      const setting: Setting<FrostParams> = {
        ...{ id, self, parties, present, params, message, epoch: 0, round },
        random: { bytes: (length) => draws(self)(length) },
        isSigned: () => false,
      };
      const key = keys[self - 1];
      const row = rows.get(self);
      if (key === undefined) throw new Error('there is no such party');
      if (round > 1 && row === undefined) continue;
      const step =
        row === undefined
          ? frostSign.start(setting, frostKey.decode(own(frostKey.encode(key))))
          : frostSign.step(setting, frostSign.state.decode(row), messages);
      ends.set(self, step);
      if (step.kind !== 'next') continue;
      states.push(step.state);
      after.set(self, own(frostSign.state.encode(step.state)));
      if (step.broadcast !== undefined) bodies.set(self, step.broadcast);
    }
    rows = after;
    sent.push(bodies);
  }
  return { ends, sent, states };
}

function outputOf({ ends }: Ran, index: number): Bytes {
  const end = ends.get(index);
  if (end?.kind !== 'done') throw new Error(`party ${String(index)} has ended with ${String(end?.kind)}`);
  return end.output;
}

function isEd25519(publicKey: Bytes, message: Bytes, signature: Bytes): boolean {
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), publicKey]);
  return verify(null, message, createPublicKey({ key: der, format: 'der', type: 'spki' }), signature);
}

describe('FROST', () => {
  it('gives every value of the vectors of RFC 9591', () => {
    const keys = rfcKeys();
    expect(toHex(publicKeyOf(keys[0] ?? { commitments: [] }))).toBe(RFC.groupPublicKey);
    const left = new Map([1, 3].map((index) => [index, [...RFC.signers[index as 1 | 3].randomness]]));
    const draws = (index: number) => (): Bytes => fromHex(left.get(index)?.shift() ?? '');
    const ran = run(keys, [1, 3], fromHex(RFC.message), { draws });
    for (const index of [1, 3] as const) {
      const { commitments, share } = RFC.signers[index];
      expect(toHex(ran.sent[0]?.get(index) ?? new Uint8Array(0))).toBe(commitments.join(''));
      expect(toHex(ran.sent[1]?.get(index) ?? new Uint8Array(0))).toBe(share);
      expect(toHex(outputOf(ran, index))).toBe(RFC.signature);
    }
  });

  it('signs with any two of three, and OpenSSL verifies it as Ed25519', () => {
    const keys = deal({ min: 2, max: 3 }, draw);
    for (const pair of [[1, 2], [1, 3], [2, 3]]) {
      const signature = outputOf(run(keys, pair, MESSAGE), pair[0] ?? 0);
      expect(isEd25519(publicKeyOf(keys[0] ?? { commitments: [] }), MESSAGE, signature)).toBe(true);
    } // prettier-ignore
  });

  it('has no nonce left in the state that goes with its share of the signature', () => {
    const { states } = run(deal({ min: 2, max: 2 }, draw), [1, 2], MESSAGE);
    expect(states.map(({ kind }) => kind)).toEqual(['committed', 'committed', 'signed', 'signed']);
    const nonces = states.flatMap((state) =>
      state.kind === 'committed' ? [state.hiding, state.binding] : [],
    );
    const rows = states
      .filter(({ kind }) => kind === 'signed')
      .map((state) => toHex(own(frostSign.state.encode(state))));
    expect(nonces).toHaveLength(4);
    for (const nonce of nonces) expect(rows.some((row) => row.includes(toHex(nonce)))).toBe(false);
  });

  it('draws other nonces for the same key and message', () => {
    const keys = deal({ min: 2, max: 2 }, draw);
    const [one, two] = [run(keys, [1, 2], MESSAGE), run(keys, [1, 2], MESSAGE)];
    expect(toHex(one.sent[0]?.get(1) ?? MESSAGE)).not.toBe(toHex(two.sent[0]?.get(1) ?? MESSAGE));
  });

  it.each([
    ['commitments that are too short', 1, (body: Bytes) => body.subarray(1)],
    ['commitments that are no points', 1, (body: Bytes) => new Uint8Array(body.length).fill(0xff)],
    ['commitments that are the identity', 1, identityTwice],
    ['a share that does not hold', 2, flip],
    ['a share that is too long', 2, () => new Uint8Array(33).fill(1)],
  ])('names who sends %s', (_, round, change) => {
    const ran = run(deal({ min: 2, max: 3 }, draw), [1, 2], MESSAGE, {
      bend: (now, from, body) => (now === round && from === 2 ? change(body) : body),
    });
    expect(ran.ends.get(1)).toMatchObject({ kind: 'abort', blame: [{ party: 2 }] });
  });

  it('refuses too few signers, a share of another key, and rows that are none', () => {
    const [key] = deal({ min: 2, max: 3 }, draw);
    const [other] = deal({ min: 2, max: 3 }, draw);
    if (key === undefined || other === undefined) throw new Error('there are no keys');
    const proposed = { parties: [], signers: [1] };
    expect(frostSign.check?.({ min: 2, publicKey: publicKeyOf(key) }, proposed)).toBe('2 signers are needed');
    expect(run([key, other, key], [2], MESSAGE).ends.get(2)).toMatchObject({ kind: 'abort' });
    expect(() => frostKey.decode(fromUtf8('{}'))).toThrow();
    expect(() => frostSign.state.decode(new Uint8Array(9))).toThrow();
    expect(identifier(1)).not.toBe(identifier(2));
  });
});

function flip(body: Bytes): Bytes {
  const bent = new Uint8Array(body);
  bent[0] = (bent[0] ?? 0) ^ 1;
  return bent;
}

/** The encoding of the identity, for both nonces. */
function identityTwice(body: Bytes): Bytes {
  const bent = new Uint8Array(body.length);
  bent[0] = bent[32] = 1;
  return bent;
}
