/** `--key-change follow`: a first-use key is followed by new ones, and never by an old one. */
import { describe, expect, it } from 'vitest';
import { toBase64, type Bytes } from '../../src/bytes.ts';
import { mayFollow } from '../../src/identities/following.ts';
import type { Identity, TrustState } from '../../src/store/identity-row.ts';
import { identityRows } from '../../src/store/tables.ts';
import { makePeer } from '../support/peer.ts';

const [first, second, third] = [1, 2, 3].map((n) => new Uint8Array(33).fill(n).fill(5, 0, 1)) as [
  Bytes,
  Bytes,
  Bytes,
];

describe('a first-use key that may be followed', () => {
  it('is followed by a new key and that by the next, and does not come back', async () => {
    const [{ identities, store }, { aci }] = [await makePeer(), await makePeer()];
    identities.relaxed = true;
    const see = async (key: Bytes): Promise<Identity | undefined> => {
      const batch = store.batch();
      await identities.save(batch, aci, key);
      await batch.commit();
      return identityRows.get(store.batch(), aci);
    };
    expect(await see(first)).toMatchObject({ state: 'tofu', key: toBase64(first) });
    expect(await see(second)).toMatchObject({ state: 'tofu', key: toBase64(second) });
    expect(await identities.isTrusted(store.batch(), aci, third)).toBe(true);
    expect(await see(third)).toMatchObject({ state: 'tofu', key: toBase64(third) });
    // No phone gets its old key again, but whoever sits in between could change at will.
    expect(await identities.isTrusted(store.batch(), aci, first)).toBe(false);
    expect(await see(first)).toMatchObject({
      ...{ state: 'changed', key: toBase64(third), candidate: toBase64(first) },
    });
  });

  it('is not followed by a key that is known to be bad, nor once it is more than first seen', () => {
    const row = (state: TrustState): Identity => ({ key: toBase64(first), state, since: 1 });
    expect(mayFollow(row('tofu'), toBase64(second))).toBe(true);
    expect(mayFollow({ ...row('tofu'), revoked: [toBase64(second)] }, toBase64(second))).toBe(false);
    for (const state of ['introduced', 'verified', 'changed', 'revoked'] as const)
      expect(mayFollow(row(state), toBase64(second))).toBe(false);
  });
});
