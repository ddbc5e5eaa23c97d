/** Whatever bytes come behind a ciphertext, looking for a tag ends in a yes or a no; and nobody makes one without the keys. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { own } from '../../src/bytes.ts';
import { decodeAnnouncement, encodeAnnouncement, isTag } from '../../src/content/app-message.ts';
import { signal } from '../../src/proto/messages.js';
import { Listening } from '../../src/inbox/listening.ts';
import { addTag, peelTag, readMark, rotationOf, routeKeyOf } from '../../src/session/outer-tag.ts';
import { aciIdentity, type OwnIdentity } from '../../src/session/own-identity.ts';
import { makePeer, type Peer } from '../support/peer.ts';
import { befriend } from '../support/tagged.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 2000);
const NOW = 1_795_300_000_000;

describe('outer tags', () => {
  let bob: Peer;
  let identity: OwnIdentity;
  let listening: Listening;

  beforeAll(async () => {
    bob = await makePeer();
    identity = aciIdentity(bob.account);
    await befriend(await makePeer(), bob, NOW);
    const { store, identities } = bob;
    listening = new Listening({
      mode: 'tagged',
      store,
      identities,
      own: identity,
      clock: bob.platform.clock,
    });
    await listening.open();
  });

  it('are not heard in any envelope that was made without the keys', () => {
    const field = fc.oneof(fc.nat(9), fc.constant(6), fc.constant(1));
    const content = fc.uint8Array({ maxLength: 120 });
    fc.assert(
      fc.property(field, content, fc.maxSafeNat(), fc.boolean(), (type, bytes, time, hasSource) => {
        fc.pre(type !== 5);
        const envelope = signal.Envelope.encode({
          type,
          content: bytes,
          clientTimestamp: time % 8_640_000_000_000_000,
          serverTimestamp: NOW,
          ...(hasSource ? { sourceServiceIdBinary: new Uint8Array(16), sourceDevice: 2 } : {}),
        }).finish();
        expect(listening.hears(own(envelope))).toBe(false);
      }),
      { numRuns },
    );
  });

  it('are not heard in bytes that are no envelope, and nothing is thrown', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        // Random bytes are an envelope at times, never one that was meant for us.
        const heard = listening.hears(own(bytes));
        if (heard)
          expect(signal.Envelope.decode(bytes).type).toBe(signal.Envelope.Type.SERVER_DELIVERY_RECEIPT);
      }),
      { numRuns },
    );
  });

  it('who knows the route key alone can be peeled, and is not heard', () => {
    const route = routeKeyOf(identity);
    const arbitrary = fc.tuple(
      fc.uint8Array({ minLength: 1, maxLength: 120 }),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.integer({ min: -2, max: 2 }),
    );
    fc.assert(
      fc.property(arbitrary, ([bytes, secret, days]) => {
        const day = Math.floor(NOW / 86_400_000) + days;
        const content = addTag(own(bytes), route, rotationOf(own(secret), day));
        expect(Buffer.from(peelTag(content, route)?.content ?? [])).toEqual(Buffer.from(bytes));
        const envelope = signal.Envelope.encode({ type: 6, content, serverTimestamp: NOW }).finish();
        expect(listening.hears(own(envelope))).toBe(false);
      }),
      { numRuns },
    );
  });

  it('announced lines survive reading and writing, known or not', () => {
    const line = fc.stringMatching(/^[a-z0-9@._/-]{1,40}\/(0|[1-9][0-9]{0,3})$/).filter(isTag);
    fc.assert(
      fc.property(fc.uniqueArray(line, { maxLength: 20 }), (lines) => {
        const tags = lines.filter(isTag);
        expect(decodeAnnouncement(encodeAnnouncement(tags))).toEqual(tags.toSorted());
        expect(readMark(tags)).toBeUndefined();
      }),
      { numRuns },
    );
  });
});
