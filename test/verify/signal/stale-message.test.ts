/** What was sent under a false key and still waits when a run proves it false (V-32, section 14.6). */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Scene } from '../../support/scene.ts';
import { peerOf, until, wholeRun, type Peer } from './support/duo.ts';

let scene: Scene;
let alice: Peer;
let bob: Peer;
const heard: string[] = [];
let isFree: Promise<void>;
let free: () => void;

beforeEach(async () => {
  heard.length = 0;
  isFree = new Promise((resolve) => {
    free = resolve;
  });
  scene = await Scene.start();
  alice = await peerOf(scene);
  bob = await peerOf(scene, {
    configure: (bot) => {
      bot.handle((handlers) => {
        handlers.command('admin', (ctx) => heard.push(ctx.text), { policy: { inbound: 'verified' } });
        handlers.text(async (ctx) => {
          heard.push(ctx.text);
          if (ctx.text === 'slow') await isFree;
        });
      });
    },
  });
});

afterEach(() => scene.close());

it('V-32: what the middle has sent is not handled as of the contact that is verified since', async () => {
  const middle = scene.server.intercept({ between: [alice.aci, bob.aci] });
  const say = (text: string): Promise<unknown> =>
    alice.running.bot.send(bob.running.aci, { kind: 'text', text });
  await say('slow');
  await until(() => heard.includes('slow'), 'the handler of the lane is busy');
  await say('!admin wipe'); // seen by the middle, so it could have been any other command
  await say('a text');
  await until(() => middle.overheard.some(({ text }) => text === 'a text'), 'both are on their way');
  await wholeRun(alice, bob);
  expect((await bob.view(alice)).state).toBe('verified');
  middle.stop();
  await wholeRun(bob, alice);
  free();
  await say('!admin show');
  await until(() => heard.includes('!admin show'), 'what comes under the true key is handled');
  expect(heard).toEqual(['slow', '!admin show']);
}, 30_000);
