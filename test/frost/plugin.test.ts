/** The plugin `frost` on the development server: shares of a dealer are taken in, and two of three sign. */
import { PrivateKey } from '@signalapp/libsignal-client';
import { createPublicKey, randomBytes, verify } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { copy, fromHex, fromUtf8, toBase64, toHex, toUtf8 } from '../../src/bytes.ts';
import { me } from '../../src/inspect.ts';
import { parseGroup } from '../../src/rounds/index.ts';
import { importTrust } from '../../src/trust/operator.ts';
import frost, { deal, frostKey } from '../../plugins/frost/index.ts';
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
        next: expect.stringContaining('docs/rounds.md') as string, // a program has no --help
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

  it('takes in no share that does not fit its key, nor another one of a key that it has', async () => {
    interface Written {
      readonly share: string;
      readonly publicShares: readonly string[];
      readonly commitments: readonly string[];
    }
    const { keys } = (await act(0, 'deal', { min: 2, group })) as { keys: Written[] };
    const own = parseGroup(group).find(({ aci }) => aci === bots[0]?.aci)?.index ?? 0;
    const [key, other] = [keys[own - 1], keys[own % 3]];
    if (key === undefined || other === undefined) throw new Error('there are three');
    const identity = `01${'00'.repeat(31)}`;
    for (const wrong of [
      { share: other.share },
      { publicShares: [...key.publicShares].reverse() },
      { publicShares: [identity, ...key.publicShares.slice(1)] },
      { commitments: [...key.commitments.slice(0, 1), identity] },
    ])
      await expect(act(0, 'import', { key: { ...key, ...wrong }, group })).rejects.toMatchObject({
        code: 'USAGE',
        message: expect.stringContaining('does not fit') as string,
      });
    // Of one secret, cut twice: the same public key, and other shares.
    const [first, second] = [1, 2].map(() => {
      let drawn = 0;
      const keys = deal({ min: 2, max: 3 }, (length = 32) =>
        drawn++ === 0 ? new Uint8Array(length).fill(7) : copy(randomBytes(length)),
      );
      const mine = keys[own - 1];
      return mine && (JSON.parse(toUtf8(new Uint8Array(frostKey.encode(mine)))) as object);
    });
    const { publicKey } = (await act(0, 'import', { key: first, group })) as { publicKey: string };
    expect(await act(0, 'import', { key: first, group })).toEqual({ publicKey });
    await expect(act(0, 'import', { key: second, group })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('another share') as string,
    });
    // Signers are those of the import, with their keys.
    const identityKey = toBase64(copy(PrivateKey.generate().getPublicKey().serialize()));
    const [changed, ...rest] = group
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    const named = [{ ...changed, identityKey }, ...rest].map((line) => JSON.stringify(line)).join('\n');
    await expect(act(0, 'sign', { publicKey, group: named, message: '00' })).rejects.toMatchObject({
      code: 'IDENTITY_CHANGED',
    });
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
