/** V-14 for keys that are only stored: no frame came under them, and the service is asked afresh. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { identityRows } from '../../../src/store/tables.ts';
import { Scene } from '../../support/scene.ts';
import { until, wholeRun } from './support/duo.ts';
import { deceiveAlice, pinOf, Talk, textOf, type Middle } from './support/talk.ts';

let scene: Scene;
let talk: Talk;

beforeEach(async () => {
  scene = await Scene.start();
  talk = await Talk.begin(scene);
});

afterEach(() => scene.close());

/** Alice sees another key of Bob's than the one she knows. */
const falseCandidate = (): Promise<Middle> => deceiveAlice(scene, talk);

/** The first key that Alice has seen of Bob is not his, and then he writes to her under his own. */
async function falsePin(): Promise<Middle> {
  const { alice, bob } = talk;
  const middle = scene.server.intercept({ between: [alice.aci, bob.aci], deceives: [alice.aci] });
  const batch = alice.running.store.batch();
  const key = textOf(middle.falseKeyOf(bob.aci));
  identityRows.put(batch, bob.running.aci, { key, state: 'tofu', since: Date.now() });
  await batch.commit();
  await talk.say(bob, 'under my own key');
  await until(async () => (await alice.view(bob)).state === 'changed', 'alice sees another key');
  return middle;
}

describe.each([
  { what: 'a candidate that is not his', begin: falseCandidate },
  { what: 'a pin that is not his', begin: falsePin },
])('$what', ({ begin }) => {
  it.each([1, 2])('is substituted where the service still hands it out, profile %i', async (profile) => {
    const { alice, bob } = talk;
    const middle = await begin();
    const falseKey = textOf(middle.falseKeyOf(bob.aci));
    const { b, starting } = await wholeRun(alice, bob, { profile });
    expect(b.acknowledged).toBe(true);
    expect(await starting.event('substituted')).toMatchObject({ code: 'IDENTITY_SUBSTITUTED', falseKey });
    expect(starting.told.some(({ event }) => event === 'replaced')).toBe(false);
    const after = await alice.view(bob);
    expect(after).toMatchObject({ state: 'verified', candidate: undefined });
    expect([await pinOf(alice, bob), after.revoked.map(textOf)]).toEqual([bob.key, [falseKey]]);
    expect(after.evidence.some(({ kind }) => kind === 'substituted')).toBe(true);
  });

  it.each([1, 2])('is only replaced where the service is right by now, profile %i', async (profile) => {
    const { alice, bob } = talk;
    const middle = await begin();
    middle.stop();
    const { b, starting } = await wholeRun(alice, bob, { profile });
    expect(b.acknowledged).toBe(true);
    expect(await starting.event('replaced')).toMatchObject({
      ...{ code: 'IDENTITY_REPLACED', falseKey: textOf(middle.falseKeyOf(bob.aci)), exposed: [] },
    });
    expect(starting.told.some(({ event }) => event === 'substituted')).toBe(false);
    const after = await alice.view(bob);
    expect(after).toMatchObject({ state: 'verified', revoked: [] });
    expect(after.evidence.some(({ kind }) => kind === 'substituted')).toBe(false);
    await talk.tell(alice, 'in private');
    await talk.tell(bob, 'indeed');
  });
});
