/** Runs brought to a certain point, and openers that are watched or changed. */
import type { Bytes } from '../../../src/bytes.ts';
import type { SessionOpener } from '../../../plugins/verify/machine/settle.ts';
import type { Arrived, Effect } from '../../../plugins/verify/machine/step.ts';
import { couple, T0, type Options, type Party } from './party.ts';

export const kinds = (effects: readonly Effect[]): string[] => effects.map(({ kind }) => kind);

/** Up to REPLY. */
export async function replied(options: Options = {}, typed = '482913'): Promise<[Party, Party]> {
  const [alice, bob] = couple(options);
  await alice.start(bob, '482913');
  await bob.take(alice.frame('offer'), alice);
  await bob.type(typed);
  return [alice, bob];
}

/** Up to PROOF. */
export async function proved(options: Options = {}): Promise<[Party, Party]> {
  const [alice, bob] = await replied(options);
  await alice.take(bob.frame('reply'), bob);
  return [alice, bob];
}

export function watch(opener: SessionOpener, asked: string[]): SessionOpener {
  return {
    trust: (question) => (asked.push('trust'), opener.trust(question)),
    servedKey: (question) => (asked.push('servedKey'), opener.servedKey(question)),
    prepare: (question) => (asked.push('prepare'), opener.prepare(question)),
    openSession: (question) => (asked.push('openSession'), opener.openSession(question)),
    takeSession: (question) => (asked.push('takeSession'), opener.takeSession(question)),
    sealDone: (question) => (asked.push('sealDone'), opener.sealDone(question)),
    openDone: (question) => (asked.push('openDone'), opener.openDone(question)),
  };
}

/** The opener's calls, to be changed one by one. */
export function bound(opener: SessionOpener): SessionOpener {
  return watch(opener, []);
}

export function frameEvent(from: Party, bytes: Bytes): Arrived {
  const openedUnder = from.own.identityKey;
  return { kind: 'frame', bytes, now: T0, from: from.address, openedUnder, gate: 'open' };
}
