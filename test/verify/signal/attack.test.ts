/** Attack lab: a server that lies about keys, reads along, and is found out by a run (sections 8 and 12). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Verified } from '../../../plugins/verify/signal/follow.ts';
import { toBase64 } from '../../../src/bytes.ts';
import { identityRows, outboxRows, sessions } from '../../../src/store/tables.ts';
import { Scene } from '../../support/scene.ts';
import { codeOf, failure, peerOf, until, wholeRun, type Peer } from './support/duo.ts';

let scene: Scene;
let alice: Peer;
let bob: Peer;
const heard: string[] = [];

beforeEach(async () => {
  heard.length = 0;
  scene = await Scene.start();
  alice = await peerOf(scene, {
    configure: (bot) => {
      bot.handle((handlers) => {
        handlers.text((ctx) => heard.push(`alice: ${ctx.text}`));
      });
    },
  });
  bob = await peerOf(scene, {
    configure: (bot) => {
      bot.handle((handlers) => {
        handlers.text((ctx) => heard.push(`bob: ${ctx.text}`));
      });
    },
  });
});

afterEach(() => scene.close());

async function say(from: Peer, to: Peer, text: string): Promise<{ timestamp: number }> {
  return from.running.bot.send(to.running.aci, { kind: 'text', text });
}

describe('a directory that lies to both', () => {
  it('V-14, V-15: is read along by before the run, proven by it, and healed', async () => {
    const middle = scene.server.intercept({ between: [alice.aci, bob.aci] });
    await say(alice, bob, 'hello');
    await until(() => heard.includes('bob: hello'), 'bob hears');
    await say(bob, alice, 'hello yourself');
    await until(() => heard.includes('alice: hello yourself'), 'alice hears');
    expect(middle.overheard.map(({ text }) => text)).toEqual(['hello', 'hello yourself']);
    const falseBob = toBase64(middle.falseKeyOf(bob.aci));
    expect(toBase64((await alice.view(bob)).pin ?? new Uint8Array())).toBe(falseBob);

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

    // As long as it lies about the phones, nothing goes; it hears nothing either way.
    const { timestamp } = await say(alice, bob, 'now in private');
    await until(
      async () =>
        (await outboxRows.get(alice.running.store.batch(), bob.running.aci, timestamp))?.state === 'held',
      'it is held',
    );
    middle.stop();
    await wholeRun(bob, alice); // which lets go what was held
    await say(bob, alice, 'indeed');
    await until(() => heard.includes('bob: now in private') && heard.includes('alice: indeed'), 'both hear');
    expect(middle.overheard).toHaveLength(2);
    expect([(await alice.view(bob)).state, (await bob.view(alice)).state]).toEqual(['verified', 'verified']);
  });

  it('refuses the old sessions of the false key, and keeps the way for a repeated ACCEPT', async () => {
    const middle = scene.server.intercept({ between: [alice.aci, bob.aci] });
    await say(alice, bob, 'hello');
    await until(() => heard.includes('bob: hello'), 'bob hears');
    // Alice does not hear the ACCEPT before she comes back.
    const starting = alice.start(bob);
    const entering = bob.enter(alice, await codeOf(starting));
    await until(() => starting.steps.includes(2), 'the code is typed');
    scene.server.faults.add({ path: '/api/v1/message', aci: alice.aci, count: 50, action: { drop: true } });
    await until(() => entering.steps.includes(3), 'bob has healed');
    // What she says in the session with the middle reaches bob's carrier, which takes frames alone.
    await say(alice, bob, 'to the middle');
    await until(() => middle.overheard.some(({ text }) => text === 'to the middle'), 'the middle hears');
    starting.stop();
    await alice.stop();
    scene.server.faults.clear();
    await alice.restart();
    expect(await entering.end).toMatchObject({ acknowledged: true });
    await until(async () => (await alice.view(bob)).state === 'verified', 'alice has healed');
    expect(heard).not.toContain('bob: to the middle');
    expect(toBase64((await bob.view(alice)).pin ?? new Uint8Array())).toBe(alice.key);
  });
});

describe('a directory that lies to one', () => {
  it('a run out of changed: goes by the carrier on the side that knows better, and ends on both', async () => {
    await say(bob, alice, 'hello');
    await until(() => heard.includes('alice: hello'), 'alice hears');
    await say(alice, bob, 'hello yourself');
    await until(() => heard.includes('bob: hello yourself'), 'bob hears');
    // From now on alice is told another key: whoever is in the middle seals with it.
    const middle = scene.server.intercept({ between: [alice.aci, bob.aci], deceives: [alice.aci] });
    await forgetSessions(alice, bob);
    await say(alice, bob, 'to a false key');
    await until(async () => (await alice.view(bob)).state === 'changed', 'alice sees another key');

    const { a, b, starting } = await wholeRun(alice, bob);
    expect(a).toMatchObject({ identityKey: bob.key });
    expect(b).toMatchObject({ identityKey: alice.key, check: a.check });
    expect(starting.told.some(({ event }) => event === 'substituted' || event === 'replaced')).toBe(true);
    expect(await alice.view(bob)).toMatchObject({ state: 'verified' });
    expect(toBase64((await alice.view(bob)).pin ?? new Uint8Array())).toBe(bob.key);
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
    await say(alice, bob, 'hello');
    await until(() => heard.includes('bob: hello'), 'bob hears');
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
    expect(toBase64((await alice.view(bob)).pin ?? new Uint8Array())).toBe(bob.key);
  });
});

/** The sessions are gone, as after a restore. */
async function forgetSessions(of: Peer, peer: Peer): Promise<void> {
  const { store } = of.running;
  const batch = store.batch();
  for await (const [rest] of sessions.scan(store, ['aci', peer.running.aci]))
    sessions.delete(batch, 'aci', peer.running.aci, Number(rest));
  await batch.commit();
}

/** As if the key that is held had been verified. */
async function takeForVerified(of: Peer, peer: Peer): Promise<void> {
  const batch = of.running.store.batch();
  const row = await identityRows.get(batch, peer.running.aci);
  if (row === undefined) throw new Error('no key is held');
  identityRows.put(batch, peer.running.aci, { ...row, state: 'verified', verified: true });
  await batch.commit();
}
