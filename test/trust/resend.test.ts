/** What a key that was only accepted may ask for again (V-32, V-33). */
import { DecryptionErrorMessage, PlaintextContent } from '@signalapp/libsignal-client';
import { expect, it } from 'vitest';
import { own } from '../../src/bytes.ts';
import { encodeText } from '../../src/content/encode.ts';
import { newRow } from '../../src/store/outbox-row.ts';
import { outboxRows, sentLog } from '../../src/store/tables.ts';
import { acceptIdentity } from '../../src/trust/operator.ts';
import { changed, deliver, nextTime, say, stateOf } from '../support/exchange.ts';

/** As libsignal writes one: field 2 is the timestamp, field 3 the device. */
function requestFor(timestamp: number, deviceId: number): DecryptionErrorMessage {
  const varint = (n: bigint): number[] =>
    n < 128n ? [Number(n)] : [Number(n & 127n) | 128, ...varint(n >> 7n)];
  return DecryptionErrorMessage.deserialize(
    Uint8Array.from([0x10, ...varint(BigInt(timestamp)), 0x18, deviceId]),
  );
}

it('is nothing that was written before, also where the clock was set back since', async () => {
  const { alice, other } = await changed([]);
  const { store, platform, account } = alice.peer;
  const timestamp = nextTime();
  expect(timestamp).toBeGreaterThan(platform.clock.now());
  const content = encodeText('the secret plan', timestamp);
  const batch = store.batch();
  const sent = { content, sentAt: timestamp, devices: [2], urgent: true, tag: '' };
  sentLog.put(batch, other.peer.aci, timestamp, sent);
  await batch.commit();

  await say(other, alice, 'a new phone');
  await alice.receive();
  expect(await stateOf(alice, other)).toBe('changed');
  await acceptIdentity(alice.trust, other.peer.aci);
  await alice.replay();
  const plaintext = own(PlaintextContent.from(requestFor(timestamp, account.deviceId)).serialize());
  const row = { recipient: alice.peer.aci, timestamp: nextTime(), content: new Uint8Array(0), plaintext };
  const retry = newRow({ ...row, kind: 'retry' });
  await deliver(other, retry);
  await alice.receive();
  const kinds: string[] = [];
  for await (const [, row] of outboxRows.scan(store, [other.peer.aci])) kinds.push(row.kind);
  expect(kinds).toContain('null');
  expect(kinds).not.toContain('resend');
});
