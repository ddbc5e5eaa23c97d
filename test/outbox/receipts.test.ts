import { describe, expect, it } from 'vitest';
import { Receipts } from '../../src/outbox/receipts.ts';
import type { OutboxRow } from '../../src/store/rows.ts';
import { owedReceipts } from '../../src/store/tables.ts';
import { NOW, rows, scene, until } from '../support/outbox-scene.ts';
import { introduce } from '../support/peer.ts';

describe('Receipts', () => {
  it('gathers what is owed to one sender into one row', async () => {
    const { alice, bob, clock } = await scene();
    await introduce(alice, bob);
    const batch = alice.store.batch();
    for (const timestamp of [NOW + 1, NOW + 2, NOW + 3]) owedReceipts.put(batch, bob.aci, timestamp, NOW);
    await batch.commit();
    const offered: OutboxRow[] = [];
    let stamp = NOW;
    const receipts = new Receipts({
      store: alice.store,
      clock,
      stamp: () => ++stamp,
      onOutbox: (row) => offered.push(row),
    });
    const stop = new AbortController();
    const running = receipts.run(stop.signal);
    await clock.advance(1000);
    await until(() => offered.length === 1);
    stop.abort();
    await running;
    expect(offered).toMatchObject([{ recipient: bob.aci, kind: 'receipt', urgent: false }]);
    for await (const owed of owedReceipts.scan(alice.store)) throw new Error(`still owed: ${owed[0]}`);
    expect(await rows(alice)).toHaveLength(1);
  });
});
