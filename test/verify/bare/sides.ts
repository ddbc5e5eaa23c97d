/** Sides of bare runs with a cheap scrypt; all else is what a program has. */
import { MemoryGuesses } from '../../../plugins/verify/bare/ledger.ts';
import { occasionalSide } from '../../../plugins/verify/bare/node.ts';
import { pageSide } from '../../../plugins/verify/bare/page.ts';
import type { BarePeer } from '../../../plugins/verify/bare/peer.ts';
import {
  createCode,
  verifyOver,
  type Side,
  type VerifyOptions,
} from '../../../plugins/verify/bare/verify.ts';
import { Mhf } from '../../../plugins/verify/math/mhf.ts';
import { pagePrimitives, nobleScrypt } from '../../../plugins/verify/math/page.ts';
import type { Clock } from '../../../src/platform.ts';
import { systemPlatform } from '../../../src/platform.ts';
import { CHEAP, ENV, random } from '../support/party.ts';
import { wire, type Wire } from './wires.ts';

const PAGE_ENV = {
  primitives: {
    ...pagePrimitives,
    mhf: new Mhf(nobleScrypt, { params: CHEAP, minLog2N: CHEAP.log2N, maxLog2N: CHEAP.log2N }),
  },
  maxProfile: 1 as const,
};

export function nodeSide(clock: Clock = systemPlatform().clock, guesses = new MemoryGuesses(random)): Side {
  return occasionalSide(clock, random, ENV, guesses);
}

export function inPage(): Side {
  return pageSide(PAGE_ENV);
}

/** A code that one side makes and the other is told. */
export function spoken(format: 1 | 2 = 1): { create: ReturnType<typeof createCode>; code: string } {
  const create = createCode(format, random);
  return { create, code: create.spoken };
}

export type Outcome = BarePeer | (Error & { readonly code?: string });

/** Plays both sides to their ends. */
export async function play(
  left: VerifyOptions,
  right: VerifyOptions,
  over: { wire?: Wire; left?: Side; right?: Side } = {},
): Promise<[Outcome, Outcome]> {
  const joined = over.wire ?? wire();
  const end = (work: Promise<BarePeer>): Promise<Outcome> => work.catch((error: unknown) => error as Error);
  return Promise.all([
    end(verifyOver(joined.left, over.left ?? nodeSide(), left)),
    end(verifyOver(joined.right, over.right ?? nodeSide(), right)),
  ]);
}

/** Both sides, where both have succeeded. */
export function peers([left, right]: readonly [Outcome, Outcome]): [BarePeer, BarePeer] {
  if (left instanceof Error) throw left;
  if (right instanceof Error) throw right;
  return [left, right];
}

/** The codes of both failures; undefined for a success. */
export function codes(outcomes: readonly Outcome[]): (string | undefined)[] {
  return outcomes.map((outcome) =>
    outcome instanceof Error ? (outcome.code ?? outcome.message) : undefined,
  );
}

/** Says something in both directions, ends, and gives what each side has heard. */
export async function talk(left: BarePeer, right: BarePeer): Promise<string[][]> {
  const hear = async (peer: BarePeer): Promise<string[]> => {
    const heard: string[] = [];
    for await (const text of peer.texts()) heard.push(text);
    return heard;
  };
  const hearing = Promise.all([hear(left), hear(right)]);
  for (const text of ['one', '', 'three ✓'])
    await Promise.all([left.send(`l ${text}`), right.send(`r ${text}`)]);
  await Promise.all([left.end(), right.end()]);
  const heard = await hearing;
  await Promise.all([left.close(), right.close()]);
  return heard;
}
