/** A group file that is not of the key's parties: refused before anything is open or sent. */
import { PrivateKey } from '@signalapp/libsignal-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { own, toBase64 } from '../../src/bytes.ts';
import { Circle } from './support/circle.ts';

const TIMEOUT_MS = 60_000;

let circle: Circle;
let publicKey: string;

beforeAll(async () => {
  circle = await Circle.start(3);
  publicKey = await circle.key();
}, TIMEOUT_MS);

afterAll(() => circle.stop());

type Line = Readonly<Record<'aci' | 'deviceId' | 'identityKey', unknown>>;

/** @param change of the second line */
function groupWith(change: Partial<Line>, which = [0, 1, 2]): string {
  const lines = which.map((at) => circle.group([at]));
  return lines
    .map((text, i) => (i === 1 ? JSON.stringify({ ...(JSON.parse(text) as Line), ...change }) : text))
    .join('\n');
}

const STRANGER = { aci: '99999999-0000-4000-8000-000000000009', identityKey: newKey() };

function newKey(): string {
  return toBase64(own(PrivateKey.generate().getPublicKey().serialize()));
}

describe.each(['sign', 'refresh'])('%s', (name) => {
  it.each([
    [
      'another key of a party',
      { identityKey: newKey() },
      'IDENTITY_CHANGED',
      /another identity key of party \d/,
    ],
    ['another device of a party', { deviceId: 9 }, 'USAGE', /device 9 of party \d .*, not \d/],
    ['somebody else', STRANGER, 'USAGE', /99999999.* is not of these parties/],
  ])('takes no %s', { timeout: TIMEOUT_MS }, async (_, change, code, message) => {
    const before = (await circle.member(0).rounds.list()).length;
    const input = {
      publicKey,
      group: groupWith(change),
      wait: 60,
      ...(name === 'sign' ? { message: '00' } : {}),
    };
    await expect(circle.act(0, name, input)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
      next: expect.stringContaining('agreed on') as string,
    });
    expect(await circle.member(0).rounds.list()).toHaveLength(before);
    expect(await circle.member(0).sent()).toEqual([]);
  });
});

it('a refresh is of all parties of the key', async () => {
  const input = { publicKey, group: circle.group([0, 1]), wait: 60 };
  await expect(circle.act(0, 'refresh', input)).rejects.toMatchObject({
    code: 'USAGE',
    message: 'all parties of the key are needed',
  });
});
