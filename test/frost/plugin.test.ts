/** The plugin `frost` on the development server: shares of a dealer are taken in, and two of three sign. */
import { createPublicKey, verify } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromHex, fromUtf8, toHex } from '../../src/bytes.ts';
import { me } from '../../src/inspect.ts';
import { parseGroup } from '../../src/rounds/index.ts';
import { importTrust } from '../../src/trust/operator.ts';
import frost from '../../plugins/frost/index.ts';
import { Scene, type RunningBot } from '../support/scene.ts';

describe('the plugin frost', { timeout: 60_000 }, () => {
  let scene: Scene;
  let bots: RunningBot[];
  let lines: string[];
  let group: string;

  beforeAll(async () => {
    scene = await Scene.start();
    bots = [];
    for (let i = 0; i < 3; i++) bots.push(await scene.bot((bot) => bot.use(frost)));
    const identities = await Promise.all(bots.map(({ store }) => me(store)));
    lines = identities.map((identity) => JSON.stringify(identity));
    group = lines.join('\n');
    for (const { bot } of bots) if (bot.trust !== undefined) await importTrust(bot.trust, identities, '');
  }, 60_000);

  afterAll(async () => {
    await scene.close();
  });

  function act(at: number, name: string, input: Record<string, unknown>): Promise<object> {
    const signal = AbortSignal.timeout(30_000);
    const call = { contact: undefined, input, signal, tell: () => undefined };
    return bots[at]?.bot.act('frost', name, call) ?? Promise.reject(new Error('there are three'));
  }

  it('signs with two of three whose shares a dealer has cut', async () => {
    const { keys } = (await act(0, 'deal', { min: 2, group })) as { keys: object[] };
    expect(keys).toHaveLength(3);
    const parties = parseGroup(group);
    const made: object[] = [];
    for (const [at, { aci }] of bots.entries()) {
      const key = keys[(parties.find((party) => party.aci === aci)?.index ?? 0) - 1];
      if (key === undefined) throw new Error('there are three');
      made.push(await act(at, 'import', { key, group }));
      await expect(act((at + 1) % 3, 'import', { key, group })).rejects.toMatchObject({
        code: 'USAGE',
      });
    }
    const [{ publicKey = '' } = {}] = made as { publicKey?: string }[];
    expect(made).toEqual(Array(3).fill({ publicKey }));

    const message = fromUtf8('pay 3');
    const input = { publicKey, group: lines.slice(0, 2).join('\n'), message: toHex(message) };
    const [one, two] = (await Promise.all([act(0, 'sign', input), act(1, 'sign', input)])) as {
      signature: string;
    }[];
    expect(one).toEqual(two);
    const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), fromHex(publicKey)]);
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    expect(verify(null, message, key, fromHex(one?.signature ?? ''))).toBe(true);
  });

  it.each([
    ['deal', { min: 1, group: '' }, 'USAGE'],
    ['deal', { min: 2, group: '' }, 'GROUP_INVALID'],
    ['import', { key: {}, group: '' }, 'GROUP_INVALID'],
    ['sign', { publicKey: 'ff', group: '', message: '' }, 'USAGE'],
    ['sign', { publicKey: 'ab'.repeat(32), group: '', message: '' }, 'KEY_UNKNOWN'],
  ])('answers %s of %j with a code', async (name, input, code) => {
    await expect(act(0, name, input)).rejects.toMatchObject({ code });
  });
});
