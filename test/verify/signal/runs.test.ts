/** Whole runs between linked bots on the development server (sections 3 to 6). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dammDigit } from '../../../plugins/verify/code.ts';
import { toBase64 } from '../../../src/bytes.ts';
import type { BotError } from '../../../src/errors.ts';
import { Scene } from '../../support/scene.ts';
import { Acting, codeOf, failure, peerOf, until, wholeRun, type Peer } from './support/duo.ts';
import { ShiftingClock } from './support/shifting-clock.ts';

let scene: Scene;
let alice: Peer;
let bob: Peer;
/** Of both. */
const clock = new ShiftingClock();
const HOUR_MS = 3_600_000;

beforeAll(async () => {
  scene = await Scene.start();
  const { platform } = clock;
  [alice, bob] = [await peerOf(scene, { platform }), await peerOf(scene, { platform })];
  if (alice.aci > bob.aci) [alice, bob] = [bob, alice];
});

afterAll(() => scene.close());

async function pinOf(of: Peer, peer: Peer): Promise<string> {
  return toBase64((await of.view(peer)).pin ?? new Uint8Array());
}

describe('a run', () => {
  it.each([
    { profile: 1, format: 1, form: /^\d{3} \d{3} \d$/ },
    { profile: 2, format: 1, form: /^\d{3} \d{3} \d$/ },
    { profile: 2, format: 2, form: /^[a-z]+ [a-z]+ [a-z]+$/ },
  ])('V-25: ends with the same digits on both sides, profile $profile, format $format', async (input) => {
    const { form, ...rest } = input;
    const { a, b, starting, entering } = await wholeRun(alice, bob, rest);
    expect(await codeOf(starting)).toMatch(form);
    expect(a).toEqual({
      event: 'verified',
      aci: bob.aci,
      identityKey: bob.key,
      check: a.check,
      acknowledged: true,
    });
    expect(b).toEqual({ ...a, aci: alice.aci, identityKey: alice.key });
    expect(a.check).toMatch(/^\d{6}$/);
    expect(starting.steps).toEqual([1, 2, 3, 4]);
    expect(entering.steps).toEqual([2, 3, 4]);
    expect([await alice.view(bob), await bob.view(alice)]).toMatchObject([
      { state: 'verified' },
      { state: 'verified' },
    ]);
    expect([await pinOf(alice, bob), await pinOf(bob, alice)]).toEqual([bob.key, alice.key]);
    // Whoever has not waited sees the digits later.
    expect((await alice.status()).runs[0]).toMatchObject({ aci: bob.aci, check: a.check });
    expect((await bob.status()).runs[0]).toMatchObject({ aci: alice.aci, check: a.check });
    expect((await alice.view(bob)).evidence.at(-1)).toMatchObject({ kind: 'pake', role: 'A', suite: 1 });
    expect((await bob.view(alice)).evidence.at(-1)).toMatchObject({ kind: 'pake', role: 'B', suite: 1 });
  });

  it('takes a code that was agreed beforehand, and opens a new session when asked to', async () => {
    const starting = alice.start(bob, { code: '  correct horse battery ' });
    const entering = bob.enter(alice, 'correct horse battery', { fresh: true });
    expect(await starting.end).toMatchObject({ event: 'verified', acknowledged: true });
    expect(await entering.end).toMatchObject({ event: 'verified', acknowledged: true });
    expect(starting.told.some(({ event }) => event === 'code')).toBe(false);
    // Bob has pinned the key before there was an ACCEPT: in the end both hold the same evidence.
    const [a, b] = [(await alice.view(bob)).evidence.at(-1), (await bob.view(alice)).evidence.at(-1)];
    if (a?.kind !== 'pake' || b?.kind !== 'pake') throw new Error('no evidence of a run');
    expect([a.vh, a.runId]).toEqual([b.vh, b.runId]);
  });

  it('V-9: shows nothing on the phones of either, which cannot tell a frame from a filler', async () => {
    await wholeRun(alice, bob, { profile: 2 });
    const kinds = new Set<string>();
    for (const { running } of [alice, bob])
      for (const { kind } of await running.phone.messages()) kinds.add(kind);
    expect(kinds).toContain('null');
    expect([...kinds].filter((kind) => !['null', 'sync', 'receipt'].includes(kind))).toEqual([]);
  });

  it('is refused with our own account, and with a PNI', async () => {
    const own = new Acting(alice.running.bot, 'start', alice.aci, {});
    expect(await failure(own.end)).toBe('USAGE');
    const pni = new Acting(alice.running.bot, 'start', `PNI:${bob.aci}`, {});
    expect(await failure(pni.end)).toBe('USAGE');
  });
});

describe('codes and guesses', () => {
  it('says so where nothing rings, and charges nothing', async () => {
    expect(await failure(bob.enter(alice, '123 456 7', { waitMs: 50 }).end)).toBe('CODE_EXPIRED');
    expect((await bob.status()).guesses).toEqual([]);
  });

  it('V-19: finds a mistyped code before a guess is spent', async () => {
    const starting = alice.start(bob);
    const code = await codeOf(starting);
    expect(
      await failure(bob.enter(alice, code.slice(0, -1) + String((Number(code.at(-1)) + 1) % 10)).end),
    ).toBe('CODE_MISTYPED');
    expect((await bob.status()).guesses).toEqual([]);
    const entering = bob.enter(alice, code);
    await Promise.all([starting.end, entering.end]);
  });

  it('V-22, V-23, V-26: charges wrong codes, says no more than that, and locks after three', async () => {
    for (const round of [1, 2, 3]) {
      const starting = alice.start(bob);
      const entering = bob.enter(alice, wrongCodes[round - 1] ?? '');
      const [a, b] = await Promise.all([problem(starting.end), problem(entering.end)]);
      expect([a.code, b.code]).toEqual(['CODE_REJECTED', 'CODE_REJECTED']);
      for (const { message } of [a, b]) {
        expect(message).toContain('The code was mistyped or somebody interfered. Ask for a new code.');
        expect(message.includes('Repeated failures can be an attack. Meet, or compare safety numbers.')).toBe(
          round > 1,
        );
      }
      expect((await alice.status()).guesses).toMatchObject([{ aci: bob.aci, inARow: round }]);
    }
    expect((await alice.view(bob)).state).toBe('verified'); // a lock drops no trust
    const locked = await problem(alice.start(bob).end);
    expect(locked.code).toBe('VERIFY_LOCKED');
    expect(locked.retryAt).toBeGreaterThan(clock.now() + 23 * HOUR_MS);
    expect((await alice.status()).guesses).toMatchObject([{ locked: true }]);
    expect(await alice.act('unlock', bob)).toEqual({ unlocked: bob.aci });
    // Bob has his own count, and tells that he takes no codes.
    expect(await failure(alice.start(bob).end)).toBe('VERIFY_LOCKED');
    await bob.act('unlock', alice);
    await wholeRun(alice, bob);
  });

  it('V-21: takes no code a second time', async () => {
    const starting = alice.start(bob, { code: 'correct horse battery' });
    expect(await failure(bob.enter(alice, 'correct horse battery').end)).toBe('CODE_REJECTED');
    await alice.act('cancel', bob);
    expect(await failure(starting.end)).toBe('INTERRUPTED');
  });

  it('V-20: sends no text with a live code in it, and cancels the run', async () => {
    const starting = alice.start(bob);
    const code = await codeOf(starting);
    const { timestamp } = await alice.running.bot.send(bob.running.aci, {
      kind: 'text',
      text: `it is ${code}`,
    });
    const sent = await alice.running.bot.sent(bob.running.aci, timestamp, AbortSignal.timeout(10_000));
    expect(sent).toMatchObject({ state: 'failed', error: { code: 'CODE_IN_TEXT' } });
    expect(await failure(starting.end)).toBe('CODE_IN_TEXT');
    // Who has a bot repeat words could find out by it which codes are out: that is a guess.
    expect((await alice.status()).guesses).toMatchObject([{ aci: bob.aci, inARow: 1 }]);
    await alice.act('unlock', bob);
  });

  it('V-20: cancels the run when our own phone sends the code', async () => {
    const starting = alice.start(bob);
    const code = await codeOf(starting);
    await alice.running.phone.send(bob.aci, `psst: ${code.replaceAll(' ', '-')}`);
    expect(await failure(starting.end)).toBe('CODE_IN_TEXT');
    await alice.act('unlock', bob);
  });
});

describe('time and glare', () => {
  it('ends a code that nobody types, without a charge', async () => {
    const starting = alice.start(bob);
    await codeOf(starting);
    await until(async () => (await bob.stateOfRun(alice)) === 'ringing', 'it rings');
    clock.advance(12 * 60_000);
    expect(await failure(starting.end)).toBe('CODE_EXPIRED');
    await until(async () => (await bob.stateOfRun(alice)) !== 'ringing', 'it rings no more');
    expect((await alice.status()).guesses).toEqual([]);
  });

  it('keeps the run whose creator has the smaller ACI when both make a code', async () => {
    const [first, second] = [alice.start(bob), bob.start(alice)];
    const ended = await Promise.race([problem(second.end), problem(first.end)]);
    expect(ended).toMatchObject({ code: 'VERIFY_SUPERSEDED' });
    const code = await codeOf(first);
    await Promise.all([first.end, bob.enter(alice, code).end]);
    expect((await bob.status()).guesses).toEqual([]);
  });

  it('replaces our own run by a newer one', async () => {
    const older = alice.start(bob);
    await codeOf(older);
    const rings = async (): Promise<number | null | undefined> =>
      (await bob.status()).runs.find(({ state }) => state === 'ringing')?.until;
    await until(async () => (await rings()) !== undefined, 'the older one rings');
    const first = await rings();
    clock.advance(1_000);
    const newer = alice.start(bob);
    const code = await codeOf(newer);
    expect(await failure(older.end)).toBe('VERIFY_SUPERSEDED');
    await until(
      async () => ![undefined, first].includes((await rings()) ?? undefined),
      'the newer one rings',
    );
    await Promise.all([newer.end, bob.enter(alice, code).end]);
  });
});

/** Codes that pass the check digit; that one of them is right is as good as impossible. */
const wrongCodes = ['000000', '111111', '222222'].map((digits) => digits + String(dammDigit(digits)));

async function problem(work: Promise<unknown>): Promise<BotError> {
  return work.then(
    () => {
      throw new Error('it has not failed');
    },
    (error: unknown) => error as BotError,
  );
}
