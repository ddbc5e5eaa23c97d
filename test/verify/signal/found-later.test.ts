/** What a run has found and shown is found again by who looks later: after a restart, and where nobody waited for it. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { showTrust, type TrustDetails } from '../../../src/trust/operator.ts';
import { Scene } from '../../support/scene.ts';
import { until, wholeRun, type Peer } from './support/duo.ts';
import { Talk } from './support/talk.ts';

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

/** `trust show`. */
async function shown(of: Peer, peer: Peer): Promise<TrustDetails> {
  const { trust } = of.running.bot;
  if (trust === undefined) throw new Error('the bot does not run');
  return showTrust(trust, peer.running.aci);
}

it(
  'lists what was sent under the false key, and nothing that was sent before or after',
  { timeout: 60_000 },
  async () => {
    const middle = scene.server.intercept({ between: [alice.aci, bob.aci] });
    const { timestamp } = await talk.say(alice, 'hello');
    await talk.hears('hello');
    const { starting } = await wholeRun(alice, bob);
    const { falseKey, exposed } = await starting.event('substituted');
    middle.stop();
    await wholeRun(bob, alice);
    await talk.tell(alice, 'in private');
    await until(async () => (await shown(alice, bob)).held === 0, 'all is sent');

    await alice.restart();
    const later = await shown(alice, bob);
    expect(later.exposed).toMatchObject([{ falseKeys: [falseKey], messages: [{ timestamp }] }]);
    expect(later.exposed[0]?.messages).toEqual(exposed);
    expect((await alice.status()).exposed).toEqual([{ aci: bob.aci, ...later.exposed[0] }]);
    expect((await shown(bob, alice)).exposed).toMatchObject([{ messages: [] }]);
  },
);

it('lists nothing where no key was false', async () => {
  await talk.tell(alice, 'hello');
  await wholeRun(alice, bob);
  expect((await shown(alice, bob)).exposed).toEqual([]);
});

it('V-25: shows the six digits with the evidence', async () => {
  const { a } = await wholeRun(alice, bob);
  expect(a.check).toMatch(/^\d{6}$/);
  await alice.restart();
  for (const [of, peer] of [
    [alice, bob],
    [bob, alice],
  ] as const)
    expect((await shown(of, peer)).evidence).toMatchObject([{ kind: 'pake', check: a.check }]);
});
