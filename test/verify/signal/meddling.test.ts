/** A server in the middle that alters frames, lies about one device, or about a phone number alone (section 14.6). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeHeader } from '../../../plugins/verify/messages/frame.ts';
import { parsePni } from '../../../src/address.ts';
import type { Bytes } from '../../../src/bytes.ts';
import { decodeContent } from '../../../src/content/content.ts';
import { encodeApp } from '../../../src/content/encode.ts';
import { pad, unpad } from '../../../src/content/padding.ts';
import { VERIFY_TAG } from '../../../src/session/carrier.ts';
import { identityRows, outboxRows } from '../../../src/store/tables.ts';
import { Scene } from '../../support/scene.ts';
import { codeOf, failure, peerOf, until, wholeRun, type Acting } from './support/duo.ts';
import { pinOf, Talk, textOf } from './support/talk.ts';

let scene: Scene;
let talk: Talk;

beforeEach(async () => {
  scene = await Scene.start();
  talk = await Talk.begin(scene);
});

afterEach(() => scene.close());

/** Flips a bit at the end of every frame of a type. */
function flipping(type: string): (content: Bytes) => Bytes | undefined {
  return (padded) => {
    const content = decodeContent(unpad(padded));
    if (content.kind !== 'app' || content.tag !== VERIFY_TAG) return undefined;
    if (decodeHeader(content.payload)?.type !== type) return undefined;
    const payload = content.payload.slice();
    payload[payload.length - 1] = (payload.at(-1) ?? 0) ^ 1;
    return pad(encodeApp(VERIFY_TAG, payload));
  };
}

async function ends(...acts: readonly Acting[]): Promise<string[]> {
  return Promise.all(acts.map(({ end }) => failure(end)));
}

describe('a middle that alters frames', () => {
  it.each(['offer', 'reply', 'proof'])(
    '%s: ends the run on both sides, and nobody is trusted',
    async (type) => {
      const { alice, bob } = talk;
      const middle = scene.server.intercept({ between: [alice.aci, bob.aci], meddle: flipping(type) });
      const starting = alice.start(bob);
      const entering = bob.enter(alice, await codeOf(starting));
      expect(await ends(starting, entering)).toEqual(['CODE_REJECTED', 'CODE_REJECTED']);
      expect(middle.relayed).toBeGreaterThan(0);
      expect([(await alice.view(bob)).state, (await bob.view(alice)).state]).toEqual(['tofu', 'tofu']);
      // Whose code was looked at has been charged for it.
      expect((await alice.status()).guesses.length).toBe(type === 'offer' ? 0 : 1);
    },
  );

  it('accept: leaves the enterer with the true key, and the creator with nothing but what she had', async () => {
    const { alice, bob } = talk;
    scene.server.intercept({ between: [alice.aci, bob.aci], meddle: flipping('accept') });
    const starting = alice.start(bob);
    const entering = bob.enter(alice, await codeOf(starting));
    expect(await ends(starting)).toEqual(['CODE_REJECTED']);
    await until(async () => (await bob.view(alice)).state === 'verified', 'bob has verified');
    expect(await pinOf(bob, alice)).toBe(alice.key);
    expect((await alice.view(bob)).state).toBe('tofu');
    expect(await bob.stateOfRun(alice)).toBe('accepted');
    entering.stop();
  });

  it('done: goes in the new session, where nobody in the middle can reach it', async () => {
    const { alice, bob } = talk;
    const middle = scene.server.intercept({ between: [alice.aci, bob.aci], meddle: flipping('done') });
    const { a, b } = await wholeRun(alice, bob);
    expect([a.acknowledged, b.acknowledged, b.check]).toEqual([true, true, a.check]);
    expect([await pinOf(alice, bob), await pinOf(bob, alice)]).toEqual([bob.key, alice.key]);
    middle.stop();
  });
});

describe('a lie about a part', () => {
  it('about one device of the enterer: that one gets nothing, and the run ends on both sides', async () => {
    const { alice, bob } = talk;
    await talk.tell(alice, 'hello');
    await talk.tell(bob, 'hello yourself');
    const middle = scene.server.intercept({
      ...{ between: [alice.aci, bob.aci], deceives: [alice.aci] },
      devices: [bob.running.account.deviceId + 1],
    });
    await peerOf(scene, { phone: bob.running.phone });
    const { a, b, starting } = await wholeRun(alice, bob);
    expect([a.acknowledged, b.check]).toEqual([true, a.check]);
    expect(await pinOf(alice, bob)).toBe(bob.key);
    // No frame came under it, and of the device of the run the service says the truth when it is asked.
    expect((await starting.event('replaced'))['falseKey']).toBe(textOf(middle.falseKeyOf(bob.aci)));
    const { timestamp } = await talk.say(alice, 'for both devices, or none');
    const row = async (): Promise<string | undefined> =>
      (await outboxRows.get(alice.running.store.batch(), bob.running.aci, timestamp))?.state;
    await until(async () => (await row()) === 'held', 'it is held as long as the lie lasts');
    expect(middle.overheard.map(({ text }) => text)).not.toContain('for both devices, or none');
  });

  it.each([true, false])(
    'about the phone number: trust in it follows its own key alone (true: %s)',
    async (isTrue) => {
      const { alice, bob } = talk;
      const { pni, pniIdentity } = bob.running.account;
      if (pni === null || pniIdentity === null) throw new Error('the account has no PNI');
      const stranger = textOf(scene.server.intercept({ between: [alice.aci, 'PNI'] }).falseKeyOf('PNI'));
      const batch = alice.running.store.batch();
      const key = isTrue ? pniIdentity.publicKey : stranger;
      identityRows.put(batch, parsePni(pni), { key, state: 'tofu', since: 1 });
      await batch.commit();
      await wholeRun(alice, bob);
      const trust = alice.running.bot.trust;
      if (trust === undefined) throw new Error('the bot does not run');
      const state = await trust.identities.state(trust.store.batch(), parsePni(pni));
      expect(state).toBe(isTrue ? 'verified' : 'tofu');
    },
  );
});
