/**
 * Guessing (section 14.4): what a code is worth to an attacker without it, with a cheap scrypt. Few runs by default, with
 * so few codes that one guess and two are told apart all the same; GUESS_RUNS=10000 gives the figures of the brief, with
 * N = 100: at one side within its 60 s (about 3 ms a guess), at both sides twice as many guesses and twice as long.
 * GUESS_SEED gives other codes. Parties are made once: their keys have nothing to do with it.
 */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { couple, type Party } from './support/party.ts';

const runs = Number(process.env['GUESS_RUNS'] ?? 600);
const seed = process.env['GUESS_SEED'] ?? 'seed';
const timeout = 20_000 + runs * 30;
const N = runs < 10_000 ? 10 : 100;

/** 0..99 without bias, in an order that a seed decides: what a lucky day would show is no fault to be looked for. */
let drawn = 0;
function code(): string {
  for (;;) {
    const [byte = 0] = createHash('sha256')
      .update(`${seed} ${String(drawn++)}`)
      .digest();
    if (byte < 200) return `code ${String(byte % N).padStart(2, '0')}`; // 200 is a multiple of both
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

const [alice, bob] = couple({ profile: 1 });
const [asAlice, asBob] = [poser(alice), poser(bob)];
const all = [alice, bob, asAlice, asBob];
for (const party of all) party.keepsRows = false;

function reset(...parties: readonly Party[]): void {
  for (const party of parties) party.reset();
}

describe('a code out of N', () => {
  it(
    'V-22: is worth one guess at one side',
    async () => {
      let hits = 0;
      for (let i = 0; i < runs; i++) {
        reset(...all);
        await alice.start(bob, code());
        if (await atAlice(alice, asBob, code())) hits++;
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
        reset(...all);
        const right = code();
        const first = code();
        await alice.start(bob, right);
        if (await atBob(bob, asAlice, first, right)) {
          // Now it knows the code: Alice's side is no further success of another guess.
          hits++;
          continue;
        }
        let second = code();
        while (second === first) second = code();
        if (await atAlice(alice, asBob, second)) hits++;
        else if (i % 50 === 0) {
          reset(asBob);
          expect(await atAlice(alice, asBob, right)).toBe(false); // her code is spent
        }
      }
      within(hits, runs, 2 / N);
    },
    2 * timeout,
  );
});
