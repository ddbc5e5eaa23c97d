/** V-29: what libsignal asks about identities is answered by the table of trust, and by nothing else. */
import {
  Direction,
  IdentityChange,
  ProtocolAddress,
  PublicKey,
  type IdentityKeyStore,
} from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { fromBase64, toBase64, type Bytes } from '../../src/bytes.ts';
import { BatchIdentityStore, NotingBatch } from '../../src/session/libsignal-stores.ts';
import { aciIdentity } from '../../src/session/own-identity.ts';
import type { TrustState } from '../../src/store/identity-row.ts';
import { identityRows } from '../../src/store/tables.ts';
import { keyPair, makePeer, type Peer } from '../support/peer.ts';

const [PIN, OTHER] = [keyPair(), keyPair()].map(({ publicKey }) => fromBase64(publicKey)) as [Bytes, Bytes];

interface Asked {
  readonly us: Peer;
  readonly them: Peer;
  readonly identities: IdentityKeyStore;
  readonly address: ProtocolAddress;
  readonly commit: () => Promise<void>;
}

/** What libsignal asks with, about a contact in this state. */
async function asked(state: TrustState | undefined): Promise<Asked> {
  const [us, them] = [await makePeer(), await makePeer()];
  if (state !== undefined) {
    const batch = us.store.batch();
    const candidate = state === 'changed' ? { candidate: toBase64(OTHER) } : {};
    const revoked = state === 'revoked' ? { revoked: [toBase64(PIN)] } : {};
    identityRows.put(batch, them.aci, { key: toBase64(PIN), state, since: 1, ...candidate, ...revoked });
    await batch.commit();
  }
  const batch = us.store.batch();
  const identities = new BatchIdentityStore({
    ...{ batch: new NotingBatch(batch), own: aciIdentity(us.account), identities: us.identities },
    ...{ remote: { serviceId: them.aci, deviceId: 2 }, records: new WeakMap() },
    clock: us.platform.clock,
  });
  const address = ProtocolAddress.new(them.aci, 2);
  return { us, them, identities, address, commit: () => batch.commit() };
}

const DIRECTIONS = [Direction.Sending, Direction.Receiving];

describe('isTrustedIdentity', () => {
  it.each<[TrustState | undefined, boolean, boolean]>([
    [undefined, true, true],
    ['tofu', true, false],
    ['introduced', true, false],
    ['verified', true, false],
    ['changed', false, false],
    ['revoked', false, false],
  ])(
    'V-29: compares with the pin for both directions, in %s: %s, another key: %s',
    async (state, pin, other) => {
      const { identities, address } = await asked(state);
      for (const direction of DIRECTIONS) {
        const answers = [PIN, OTHER].map((key) =>
          identities.isTrustedIdentity(address, PublicKey.deserialize(key), direction),
        );
        expect(await Promise.all(answers)).toEqual([pin, other]);
      }
    },
  );
});

describe('saveIdentity', () => {
  it.each(['tofu', 'introduced', 'verified'] as const)(
    'V-29: puts no other key in the place of the pin in %s: it becomes the candidate',
    async (state) => {
      const { us, them, identities, address, commit } = await asked(state);
      const change = await identities.saveIdentity(address, PublicKey.deserialize(OTHER));
      expect(change).toBe(IdentityChange.ReplacedExisting);
      expect((await identities.getIdentity(address))?.serialize()).toEqual(PIN);
      await commit();
      expect(await identityRows.get(us.store.batch(), them.aci)).toMatchObject({
        ...{ key: toBase64(PIN), candidate: toBase64(OTHER), state: 'changed' },
      });
    },
  );

  it('V-29: takes a first key, and the same one again', async () => {
    const { us, them, identities, address, commit } = await asked(undefined);
    expect(await identities.getIdentity(address)).toBeNull();
    for (let i = 0; i < 2; i++)
      expect(await identities.saveIdentity(address, PublicKey.deserialize(PIN))).toBe(
        IdentityChange.NewOrUnchanged,
      );
    await commit();
    const row = await identityRows.get(us.store.batch(), them.aci);
    expect(row).toMatchObject({ key: toBase64(PIN), state: 'tofu' });
  });
});
