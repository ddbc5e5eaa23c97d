import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import { isBotError } from '../../src/errors.ts';
import { parseProfile } from '../../src/service/profile.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 2000);
vi.setConfig({ testTimeout: Math.max(60_000, numRuns * 30) });

function taken(text: string): void {
  try {
    parseProfile(text, '/nowhere', () => {
      throw new Error('no such file');
    });
  } catch (error) {
    expect(isBotError(error, 'PROFILE_INVALID')).toBe(true);
  }
}

const name = fc.constantFrom(
  'name',
  'chat',
  'cdn',
  'storage',
  'ca',
  'serverPublicParams',
  'sealedSender',
  'trustRoots',
  'mode',
  '0',
  '2',
  '3',
  '__proto__',
);
const text = fc.oneof(
  fc.string(),
  fc.webUrl(),
  fc.base64String(),
  fc.constantFrom(
    'https://a',
    'http://127.0.0.1',
    '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----',
    'auto',
  ),
);
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    text,
    fc.jsonValue(),
    fc.array(tie('value')),
    fc.dictionary(name, tie('value')),
  ),
}));

it('any text is a profile or PROFILE_INVALID', () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.json()), taken), { numRuns });
});

it('any JSON with the right names is a profile or PROFILE_INVALID', () => {
  fc.assert(fc.property(fc.dictionary(name, value), (profile) => { taken(JSON.stringify(profile, null, 1)); }), { numRuns }); // prettier-ignore
});

it('a good profile with damage in it is a profile or PROFILE_INVALID', () => {
  const good = JSON.stringify(
    { chat: 'https://a:1', cdn: { '0': 'https://b' }, sealedSender: { trustRoots: [], mode: 'off' } },
    null,
    1,
  );
  const damage = fc.tuple(fc.nat(good.length), fc.nat(5), fc.string({ maxLength: 5 }));
  fc.assert(fc.property(damage, ([at, cut, put]) => { taken(good.slice(0, at) + put + good.slice(at + cut)); }), { numRuns }); // prettier-ignore
});
