/** ABORT before a REPLY is bound, when all devices of the peer ring (section 6). */
import { beforeEach, describe, expect, it } from 'vitest';
import { encodeSlot } from '../../plugins/verify/machine/row.ts';
import type { Arrived } from '../../plugins/verify/machine/step.ts';
import { encodeFrame } from '../../plugins/verify/messages/frame.ts';
import { fromUtf8, toUtf8, type Bytes } from '../../src/bytes.ts';
import { couple, slotOf, type Party } from './support/party.ts';

const VERIFIERS = [3, 4];

let alice: Party;
/** Device 3. */
let bob: Party;
let abort: Bytes;

beforeEach(async () => {
  [alice, bob] = couple({ profile: 1 });
  await alice.start(bob, '482913');
  const runId = alice.run?.runId;
  if (runId === undefined) throw new Error('no run');
  abort = encodeFrame({ suite: 1, runId, body: { type: 'abort', reason: 'failed' } });
});

const from = (device: number): Partial<Arrived> => ({
  from: { aci: bob.own.aci, device },
  verifiers: VERIFIERS,
});

describe('an ABORT of one device', () => {
  it('leaves the code to the other devices of the peer, and ends the run with the last of them', async () => {
    for (let i = 0; i < 2; i++) await alice.take(abort, bob, from(3));
    await alice.take(abort, bob, from(9)); // one that has not said yet that it verifies
    expect(alice.kind).toBe('offered');
    const refused = alice.notices.filter(({ kind }) => kind === 'refused');
    expect(refused).toEqual([3, 9].map((device) => ({ kind: 'refused', device, reason: 'failed' })));
    await alice.take(abort, bob, from(4));
    expect([alice.kind, alice.ended]).toEqual(['closed', 'aborted']);
  });

  it('does not keep another device from typing; from then on that one alone ends the run', async () => {
    await bob.take(alice.frame('offer'), alice);
    await bob.type('482913');
    await alice.take(abort, bob, from(4));
    await alice.take(bob.frame('reply'), bob);
    await alice.take(abort, bob, from(4));
    expect(alice.kind).toBe('proved');
    await alice.take(abort, bob, from(3));
    expect(alice.kind).toBe('closed');
  });

  it('ends the run where no device is known to verify', async () => {
    await alice.take(abort, bob);
    expect(alice.kind).toBe('closed');
  });

  it('is not in the row of a version that did not keep it', () => {
    const { run, ...rest } = JSON.parse(toUtf8(encodeSlot(alice.slot))) as { run: Record<string, unknown> };
    delete run['refused'];
    const slot = slotOf(fromUtf8(JSON.stringify({ run, ...rest })));
    expect(slot.run).toMatchObject({ kind: 'offered', refused: [] });
  });
});
