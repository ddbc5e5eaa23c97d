/** The scene of the outbox's tests: Alice has an outbox, Bob is to get what leaves it, and a clock stands still. */
import { expect } from 'vitest';
import { encodeText } from '../../src/content/encode.ts';
import type { OutboxRow } from '../../src/store/rows.ts';
import { outboxRows } from '../../src/store/tables.ts';
import { ManualClock, settle, testPlatform } from './clock.ts';
import { Hub } from './hub.ts';
import { outboxOf, type Outbox } from './outbox.ts';
import { makePeer, type Peer } from './peer.ts';

/** What the clock says. */
export const NOW = 1_700_000_000_000;

export interface OutboxScene {
  readonly clock: ManualClock;
  readonly hub: Hub;
  readonly alice: Peer;
  readonly bob: Peer;
  readonly outbox: Outbox;
}

export async function scene(): Promise<OutboxScene> {
  const clock = new ManualClock(NOW);
  const platform = testPlatform({ clock });
  const [alice, bob] = [await makePeer({ platform }), await makePeer({ platform })];
  const hub = new Hub().add(alice, bob);
  return { clock, hub, alice, bob, outbox: outboxOf(alice, hub) };
}

/** Leaves `number N` for the time `NOW` + N. */
export function leaveText({ outbox, bob }: OutboxScene, timestamp: number, to = bob): Promise<OutboxRow> {
  const content = encodeText(`number ${String(timestamp - NOW)}`, timestamp);
  return outbox.leave({ recipient: to.aci, timestamp, kind: 'text', content });
}

/** Lets the event loop turn until it holds, and no time pass. */
export async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !condition(); i++) await settle();
  expect(condition()).toBe(true);
}

/** What is still in the outbox. */
export async function rows(peer: Peer): Promise<OutboxRow[]> {
  const all: OutboxRow[] = [];
  for await (const [, row] of outboxRows.scan(peer.store)) all.push(row);
  return all;
}
