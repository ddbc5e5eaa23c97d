/** What a proposal costs whoever has not asked for it: no point of a curve is decoded for it, some ms each. */
import { afterEach, expect, it, vi } from 'vitest';
import { encodePoints, publicKeyOf, sharingOf } from '../../plugins/threshold-bls/key-share.ts';
import { refresh, type RefreshParams } from '../../plugins/threshold-bls/keygen.ts';
import { decodeG2 } from '../../plugins/threshold-bls/math/curve.ts';
import { sign, type SignParams } from '../../plugins/threshold-bls/sign.ts';
import { fromHex, fromUtf8, own } from '../../src/bytes.ts';
import type { OpenRequest } from '../../src/rounds/index.ts';
import { Circle } from './support/circle.ts';

// As it is, but counted.
vi.mock('../../plugins/threshold-bls/math/curve.ts', { spy: true });

const TIMEOUT_MS = 60_000;

let circle: Circle | undefined;

afterEach(async () => {
  await circle?.stop();
  circle = undefined;
});

it('refuses the parameters of a refresh by their length, and by the most parties of a key', () => {
  vi.mocked(decodeG2).mockClear();
  const paramsOf = (threshold: number, points = threshold + 1): Uint8Array<ArrayBuffer> => {
    const bytes = new Uint8Array(1 + points * 96);
    bytes[0] = threshold;
    return bytes;
  };
  expect(refresh.params.decode(paramsOf(63)).commitments).toHaveLength(64 * 96);
  for (const bytes of [paramsOf(64), paramsOf(255), paramsOf(1, 3), paramsOf(1, 1), paramsOf(1).subarray(1)])
    expect(() => refresh.params.decode(own(bytes))).toThrow(RangeError);
  expect(() => refresh.params.decode(new Uint8Array(0))).toThrow(RangeError);
  expect(decodeG2).not.toHaveBeenCalled();
});

it('decodes no point for what another party proposes, be it refused or left to the operator', { timeout: TIMEOUT_MS }, async () => {
  const of = await Circle.start(3);
  circle = of;
  const publicKey = await of.key();
  vi.mocked(decodeG2).mockClear();
  const share = await of.share(2, publicKey);
  expect(decodeG2).toHaveBeenCalled();
  const signing = of.signRequest(share, [0, 1, 2], fromUtf8('pay 3'));
  const refreshing = of.refreshRequest(share);
  const good = encodePoints(share.commitments);
  /** The same key, and another point behind it. */
  const other = own(Buffer.concat([good.subarray(0, 96), good.subarray(0, 96)]));
  const proposals: { request: OpenRequest<unknown, unknown>; isRefused: boolean }[] = [
    { request: signing, isRefused: false },
    { request: refreshing, isRefused: false },
    { request: { ...signing, epoch: 7 }, isRefused: true },
    { request: { ...refreshing, epoch: 7 }, isRefused: true },
    { request: withParams<SignParams>(signing, { sharing: new Uint8Array(32) }), isRefused: true },
    { request: withParams<SignParams>(signing, { publicKey: new Uint8Array(96) }), isRefused: false },
    { request: withParams<RefreshParams>(refreshing, { commitments: other }), isRefused: true },
  ];
  expect([signing.protocol, refreshing.protocol]).toEqual([sign.name, refresh.name]);
  expect([publicKeyOf(share), sharingOf(share)]).toMatchObject([fromHex(publicKey), { length: 32 }]);
  for (const { request, isRefused } of proposals) {
    const topic = await of.open(() => request, [2]);
    vi.mocked(decodeG2).mockClear();
    await of.exchange();
    expect(decodeG2).not.toHaveBeenCalled();
    expect((await of.view(2, topic)).end !== undefined).toBe(isRefused);
    for (const at of [0, 1]) expect(await of.member(at).rounds.show(topic)).toBeUndefined();
    await of.member(2).rounds.abort(topic);
    await of.exchange();
  }
}); // prettier-ignore

function withParams<Params>(
  request: OpenRequest<unknown, unknown>,
  params: Partial<Params>,
): OpenRequest<unknown, unknown> {
  return { ...request, params: { ...(request.params as Params), ...params } };
}
