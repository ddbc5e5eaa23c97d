/** Attack lab: a server that lies about keys, reads along, and is found out by a run (sections 8 and 12). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { toBase64 } from '../../../src/bytes.ts';
import { outboxRows } from '../../../src/store/tables.ts';
import { Scene } from '../../support/scene.ts';
import { peerOf, until, wholeRun, type Peer } from './support/duo.ts';

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
});
