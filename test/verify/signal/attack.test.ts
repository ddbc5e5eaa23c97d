/** Attack lab: a server that lies about keys, reads along, and is found out by a run (sections 8 and 12). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Verified } from '../../../plugins/verify/signal/follow.ts';
import { toBase64 } from '../../../src/bytes.ts';
import { outboxRows, senderKeys } from '../../../src/store/tables.ts';
import { Scene } from '../../support/scene.ts';
import { codeOf, failure, peerOf, until, wholeRun, type Peer } from './support/duo.ts';
import { deceiveAlice, pinOf, takeForVerified, Talk } from './support/talk.ts';

let scene: Scene;
let talk: Talk;
let alice: Peer;
let bob: Peer;

beforeEach(async () => {
  scene = await Scene.start();
  talk = await Talk.begin(scene);
  ({ alice, bob } = talk);
});

afterEach(() => scene.close());

const DISTRIBUTION = 'a distribution id';

/** As if this device had written to a group. */
async function holdSenderKey({ running: { store, account } }: Peer): Promise<void> {
  const batch = store.batch();
  senderKeys.put(batch, account.aci, account.deviceId, DISTRIBUTION, new Uint8Array([1]));
  await batch.commit();
}

async function hasSenderKey({ running: { store, account } }: Peer): Promise<boolean> {
  return (await senderKeys.get(store.batch(), account.aci, account.deviceId, DISTRIBUTION)) !== undefined;
}

describe('a directory that lies to both', () => {
  it('V-14, V-15: is read along by before the run, proven by it, and healed', async () => {
    const middle = scene.server.intercept({ between: [alice.aci, bob.aci] });
    await talk.tell(alice, 'hello');
    await talk.tell(bob, 'hello yourself');
    expect(middle.overheard.map(({ text }) => text)).toEqual(['hello', 'hello yourself']);
    const falseBob = toBase64(middle.falseKeyOf(bob.aci));
    expect(await pinOf(alice, bob)).toBe(falseBob);
    for (const peer of [alice, bob]) await holdSenderKey(peer);

    const { a, b, starting, entering } = await wholeRun(alice, bob);
    expect(a).toMatchObject({ identityKey: bob.key, acknowledged: true });
    expect(b).toMatchObject({ identityKey: alice.key, check: a.check });
    expect(await starting.event('substituted')).toMatchObject({
      code: 'IDENTITY_SUBSTITUTED',
      falseKey: falseBob,
      identityKey: bob.key,
    });
    expect(await entering.event('substituted')).toMatchObject({
      falseKey: toBase64(middle.falseKeyOf(alice.aci)),
    });

    // The middle may have our sender keys, too (section 8, step 4).
    expect([await hasSenderKey(alice), await hasSenderKey(bob)]).toEqual([false, false]);

    // As long as it lies about the phones, nothing goes; it hears nothing either way.
    const { timestamp } = await talk.say(alice, 'now in private');
    await until(
      async () =>
        (await outboxRows.get(alice.running.store.batch(), bob.running.aci, timestamp))?.state === 'held',
      'it is held',
    );
    middle.stop();
    await wholeRun(bob, alice); // which lets go what was held
    await talk.say(bob, 'indeed');
    await talk.hears('now in private');
    await talk.hears('indeed');
    expect(middle.overheard).toHaveLength(2);
    expect([(await alice.view(bob)).state, (await bob.view(alice)).state]).toEqual(['verified', 'verified']);
  });

  it('is found out by a run of profile 1, too, whose DONE comes although nobody has a session', async () => {
    const middle = scene.server.intercept({ between: [alice.aci, bob.aci] });
    await talk.tell(alice, 'hello');
    await talk.tell(bob, 'hello yourself');
    const { a, b, starting } = await wholeRun(alice, bob, { profile: 1 });
    expect([a.acknowledged, b.acknowledged, b.check]).toEqual([true, true, a.check]);
    expect(await starting.event('substituted')).toMatchObject({
      falseKey: toBase64(middle.falseKeyOf(bob.aci)),
    });
    expect([await pinOf(alice, bob), await pinOf(bob, alice)]).toEqual([bob.key, alice.key]);
  });

  it('refuses the old sessions of the false key, and keeps the way for a repeated ACCEPT', async () => {
    const middle = scene.server.intercept({ between: [alice.aci, bob.aci] });
    await talk.tell(alice, 'hello');
    // Alice does not hear the ACCEPT before she comes back.
    const starting = alice.start(bob);
    const entering = bob.enter(alice, await codeOf(starting));
    await until(() => starting.steps.includes(2), 'the code is typed');
    scene.server.faults.add({ path: '/api/v1/message', aci: alice.aci, count: 50, action: { drop: true } });
    await until(() => entering.steps.includes(3), 'bob has healed');
    // What she says in the session with the middle reaches bob's carrier, which takes frames alone.
    await talk.say(alice, 'to the middle');
    await until(() => middle.overheard.some(({ text }) => text === 'to the middle'), 'the middle hears');
    starting.stop();
    await alice.stop();
    scene.server.faults.clear();
    await alice.restart();
    expect(await entering.end).toMatchObject({ acknowledged: true });
    await until(async () => (await alice.view(bob)).state === 'verified', 'alice has healed');
    expect(talk.heard).not.toContain('to the middle');
    expect(await pinOf(bob, alice)).toBe(alice.key);
  });
});

describe('a directory that lies to one', () => {
  it('a run out of changed: goes by the carrier on the side that knows better, and ends on both', async () => {
    // Whoever is in the middle seals with the key that alice is told.
    const middle = await deceiveAlice(scene, talk);

    const { a, b, starting } = await wholeRun(alice, bob);
    expect(a).toMatchObject({ identityKey: bob.key });
    expect(b).toMatchObject({ identityKey: alice.key, check: a.check });
    expect(await starting.event('substituted')).toMatchObject({ identityKey: bob.key }); // the service still lies
    expect(await alice.view(bob)).toMatchObject({ state: 'verified' });
    expect(await pinOf(alice, bob)).toBe(bob.key);
    expect(middle.overheard.map(({ text }) => text)).not.toContain('to a false key');
  });
});

describe('who knows the code', () => {
  it('V-25: an attacker with the code is shown by digits that differ', async () => {
    // Mallory plays bob towards alice, and alice towards bob, each with the code.
    const mallory = await peerOf(scene);
    const first = alice.start(mallory, { code: 'correct horse battery' });
    const [a] = await Promise.all([first.end, mallory.enter(alice, 'correct horse battery').end]);
    const second = mallory.start(bob, { code: 'correct horse battery' });
    const [, b] = await Promise.all([second.end, bob.enter(mallory, 'correct horse battery').end]);
    expect((a as Verified).check).not.toBe((b as Verified).check);
  });

  it('V-14: a run that contradicts a verified pin heals nothing; a second one may', async () => {
    const middle = scene.server.intercept({ between: [alice.aci, bob.aci] });
    await talk.tell(alice, 'hello');
    const falseBob = toBase64(middle.falseKeyOf(bob.aci));
    await takeForVerified(alice, bob); // by a lucky guess
    const starting = alice.start(bob);
    const entering = bob.enter(alice, await codeOf(starting));
    expect(await failure(starting.end)).toBe('IDENTITY_CHANGED');
    entering.stop();
    const after = await alice.view(bob);
    expect(after).toMatchObject({ state: 'changed', wasVerified: true });
    expect(toBase64(after.pin ?? new Uint8Array())).toBe(falseBob);
    expect(toBase64(after.candidate ?? new Uint8Array())).toBe(bob.key);
    await wholeRun(alice, bob);
    expect(await alice.view(bob)).toMatchObject({ state: 'verified' });
    expect(await pinOf(alice, bob)).toBe(bob.key);
  });
});
