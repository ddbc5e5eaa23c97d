/**
 * Guessing (section 14.4): what a code is worth to an attacker without it. N = 100 codes and a cheap scrypt; few runs by
 * default, so that the ranges are wide. GUESS_RUNS=10000 gives those of the brief, GUESS_SEED other codes.
 */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { couple, type Party } from './support/party.ts';

const runs = Number(process.env['GUESS_RUNS'] ?? 600);
const seed = process.env['GUESS_SEED'] ?? 'seed';
const timeout = 20_000 + runs * 30;
const N = 100;

/** 0..99 without bias, in an order that a seed decides: what a lucky day would show is no fault to be looked for. */
let drawn = 0;
function code(): string {
  for (;;) {
    const [byte = 0] = createHash('sha256')
      .update(`${seed} ${String(drawn++)}`)
      .digest();
    if (byte < 200) return `code ${String(byte % N).padStart(2, '0')}`;
  }
}

function within(hits: number, attempts: number, probability: number): void {
  const deviation = Math.sqrt(attempts * probability * (1 - probability));
  expect(Math.abs(hits - attempts * probability)).toBeLessThanOrEqual(3 * deviation);
}

/** The attacker answers Alice's OFFER as if it were Bob. @returns whether the guess was right */
async function atAlice(alice: Party, attacker: Party, guess: string): Promise<boolean> {
  await attacker.take(alice.frame('offer'), alice);
  await attacker.type(guess);
  await alice.take(attacker.frame('reply'), attacker);
  return alice.kind === 'proved';
}

/** The attacker asks Bob, as if it were Alice, to type the code, and reads from cB whether its guess is the same. */
async function atBob(bob: Party, attacker: Party, guess: string, right: string): Promise<boolean> {
  await attacker.start(bob, guess);
  await bob.take(attacker.frame('offer'), attacker);
  await bob.type(right);
  await attacker.take(bob.frame('reply'), bob);
  return attacker.kind === 'proved';
}

/** An attacker that goes by the name of this party. */
function poser(as: Party): Party {
  const [attacker] = couple({ profile: 1 });
  Object.assign(attacker, { own: { ...attacker.own, aci: as.own.aci, device: as.own.device } });
  return attacker;
}

describe('a code out of N', () => {
  it(
    'V-22: is worth one guess at one side',
    async () => {
      let hits = 0;
      for (let i = 0; i < runs; i++) {
        const [alice, bob] = couple({ profile: 1 });
        await alice.start(bob, code());
        if (await atAlice(alice, poser(bob), code())) hits++;
        else expect([alice.kind, alice.counters.charges.length]).toEqual(['closed', 1]);
      }
      within(hits, runs, 1 / N);
    },
    timeout,
  );

  it(
    'V-22: is worth two guesses at both sides, and no third',
    async () => {
      let hits = 0;
      for (let i = 0; i < runs; i++) {
        const right = code();
        const [alice, bob] = couple({ profile: 1 });
        const first = code();
        await alice.start(bob, right);
        if (await atBob(bob, poser(alice), first, right)) {
          // Now it knows the code: Alice's side is no further success of another guess.
          hits++;
          continue;
        }
        let second = code();
        while (second === first) second = code();
        if (await atAlice(alice, poser(bob), second)) hits++;
        else expect(await atAlice(alice, poser(bob), right)).toBe(false); // her code is spent
      }
      within(hits, runs, 2 / N);
    },
    2 * timeout,
  );
});
