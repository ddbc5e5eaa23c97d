/**
 * Ceremonies: what operators ask for, and what becomes of the results (shares.ts).
 *
 * Where this party holds two shares of a key, an old one and one that not all have confirmed, it offers both, a ceremony
 * for each: the others come to the one that they have. The first that is done is the result; signatures are the same.
 */
import { z } from 'zod';
import { BotError, isBotError, type Act, type Host, type Transaction } from '../../src/index.ts';
import {
  indicesOf,
  parseGroup,
  type CeremonyView,
  type Entry,
  type OpenRequest,
  type Rounds,
  type Run,
} from '../../src/rounds/index.ts';
import { askedKey, openUntold, setTold, type Asked } from './asked.ts';
import { firstDone, type Ended } from './ends.ts';
import { keyHex, messageHex, read, usage } from './input.ts';
import {
  encodeKeyShare,
  encodePoints,
  fromHex,
  publicKeyOf,
  sharingOf,
  toHex,
  type KeyShare,
} from './key-share.ts';
import { keygen, problem, refresh } from './keygen.ts';
import { keyActs } from './keys.ts';
import { mismatchOf, usesOlder } from './mismatch.ts';
import type { Invited } from './policy.ts';
import { allShares, claimShares, holdShare, settleShare, sharesOf, type Made } from './shares.ts';
import { sign, type Signed } from './sign.ts';

/** What a key's share file says: nothing of it is secret. */
export interface Handle {
  /** 96 bytes, hex. */
  readonly publicKey: string;
  /** n */
  readonly parties: number;
  /** t */
  readonly threshold: number;
}

/** What `countersign backup` says once there is a share. */
const BACKUP_NOTE =
  'It holds shares of threshold keys. Backups undo a refresh: the shares of t + 1 parties from before it still sign. Once all parties have refreshed, destroy the older backups.';
const WAIT_SECONDS = 600;
const common = { group: z.string(), wait: z.number().positive().max(86_400).default(WAIT_SECONDS) };
const keygenInput = z.object({ ...common, threshold: z.number(), parties: z.number() });
const refreshInput = z.object({ ...common, publicKey: keyHex });
const signInput = z.object({ ...common, publicKey: keyHex, message: messageHex });
const exportInput = z.object({ publicKey: keyHex });

/** The protocols, and where their results go; operators open everything. */
export function entries(): Entry[] {
  return entriesUnder(() => undefined);
}

/** The same under a signing policy. */
export function entriesUnder(invited: Invited): Entry[] {
  const held: Entry['held'] = (output, { topic, run }, { state }) => {
    state.put('backup-note', new TextEncoder().encode(BACKUP_NOTE));
    return holdShare(state, madeBy(run, topic, output));
  };
  const done: Entry['done'] = async (output, { topic, run, endOthers }, tx) => {
    const made = madeBy(run, topic, output);
    const publicKey = publicKeyOf(made.share);
    await claimShares(tx, publicKey);
    await settleShare(tx.state, made);
    // Those that are open have the old share in their rows.
    await endOthers(
      (other) => usesOlder(other, publicKey, made.share.epoch),
      'the shares of this key are new',
    );
    tx.volatile.put(resultKey(topic), publicKey);
  };
  const refused: Invited = (proposal, from, { state }) => mismatchOf(state, proposal, from);
  const forgotten: Entry['forgotten'] = ({ topic }, { volatile }) => {
    volatile.delete(resultKey(topic));
    volatile.delete(askedKey(topic));
  };
  // A list of protocols has no one type for their parameters: each is used with its own codecs.
  return [
    { protocol: keygen, held, done, forgotten },
    { protocol: refresh, held, done, forgotten, invited: refused },
    { protocol: sign, invited: async (...all) => (await refused(...all)) ?? invited(...all), forgotten },
  ];
}

/** What the commands ask for. */
export function acts(host: Host, ceremonies: Rounds): Readonly<Record<string, Act>> {
  const finished = async (
    asked: (tx: Transaction) => Asked | Promise<Asked>,
    call: Parameters<Act>[0],
    wait: number,
  ): Promise<Ended> => {
    const { topics, repeats, untold } = await host.update(async (tx) =>
      openUntold(tx, ceremonies, await asked(tx)),
    );
    if (repeats?.output !== undefined) call.tell(signedBefore(repeats));
    if (untold !== undefined) call.tell({ step: 'untold', ceremony: untold.topic, at: untold.end?.at });
    const ended = await firstDone(ceremonies, topics, call, wait * 1000).catch(async (error: unknown) => {
      throw await withShare(host, ceremonies, topics, error);
    });
    await setTold(host, topics);
    return ended;
  };
  return {
    ...keyActs(host, ceremonies),
    keygen: async (call) => {
      const { group, threshold, parties: count, wait } = read(keygenInput, call.input);
      const parties = parseGroup(group);
      if (parties.length !== count)
        throw usage(`the group has ${String(parties.length)} parties, not ${String(count)}`);
      const wrong = problem(threshold, count, count);
      if (wrong !== undefined) throw usage(wrong);
      const protocol = keygen.name;
      const request = { protocol, params: { threshold }, input: undefined, parties, waitMs: wait * 1000 };
      const { topic } = await finished(() => ({ requests: [request] }), call, wait);
      return host.update(async (tx) => handleOf(await made(tx, topic)));
    },
    refresh: async (call) => {
      const { group, publicKey, wait } = read(refreshInput, call.input);
      const named = parseGroup(group);
      const asked = async (tx: Transaction): Promise<Asked> => {
        const requests: OpenRequest<unknown, unknown>[] = [];
        await claimShares(tx, fromHex(publicKey));
        const shares = await sharesOf(tx, publicKey);
        for (const { share: input, parties } of shares) {
          const { threshold, epoch } = input;
          if (indicesOf(parties, named).length < parties.length)
            throw usage('all parties of the key are needed');
          const params = { threshold, commitments: encodePoints(input.commitments) };
          requests.push({ protocol: refresh.name, params, input, parties, epoch, waitMs: wait * 1000 });
        }
        // A refresh that has ended since began with a share that is no more.
        const [last] = shares;
        return { requests, earlier: last?.share.epoch === 0 ? undefined : last?.topic };
      };
      await finished(asked, call, wait);
      return handleOf(await newest(host, publicKey));
    },
    sign: async (call) => {
      const { group, publicKey, message, wait } = read(signInput, call.input);
      const named = parseGroup(group);
      const waitMs = wait * 1000;
      const asked = async (tx: Transaction): Promise<Asked> => {
        const requests: OpenRequest<unknown, unknown>[] = [];
        await claimShares(tx, fromHex(publicKey));
        const usable = (await sharesOf(tx, publicKey)).filter(({ isUsable }) => isUsable);
        if (usable.length === 0)
          throw new BotError(
            'CEREMONY_UNCONFIRMED',
            'not all parties have confirmed their shares of this key',
          );
        for (const { share: input, parties } of usable) {
          const { threshold, epoch } = input;
          const signers = indicesOf(parties, named);
          if (signers.length <= threshold) throw usage(`${String(threshold + 1)} signers are needed`);
          const params = { threshold, publicKey: fromHex(publicKey), sharing: sharingOf(input) };
          const request = { protocol: sign.name, params, input, parties, signers, epoch, waitMs };
          requests.push({ ...request, message: fromHex(message) });
        }
        return { requests };
      };
      const { signature, signers: used } = (await finished(asked, call, wait)).output as Signed;
      return { publicKey, signature: toHex(signature), signers: used };
    },
    export: async (call) => {
      const share = await newest(host, read(exportInput, call.input).publicKey);
      return JSON.parse(new TextDecoder().decode(encodeKeyShare(share))) as object;
    },
  };
}

/** It is the same each time, so whoever only wants to see it need not wait for the others. */
function signedBefore({ topic, end, output }: CeremonyView): object {
  const { signature } = output as Signed;
  return { step: 'repeated', ceremony: topic, at: end?.at, signature: toHex(signature) };
}

/** Where a ceremony has ended that has left a share here all the same, its operator is told so. */
async function withShare(
  host: Host,
  ceremonies: Rounds,
  topics: readonly string[],
  error: unknown,
): Promise<unknown> {
  if (!isBotError(error, 'CEREMONY_ENDED')) return error;
  const isKept = await host.update(async (tx) => {
    const views = await Promise.all(topics.map((topic) => ceremonies.viewIn(tx, topic)));
    return (await allShares(tx)).some(({ ceremony }) => views.some((view) => view?.id === ceremony));
  });
  if (!isKept) return error;
  const next = 'The share that was made is kept, since others may count on it: countersign bls keys';
  return new BotError('CEREMONY_ENDED', error.message, { cause: error, next });
}

function resultKey(topic: string): string {
  return `key-of/${topic}`;
}

function madeBy(run: Run, topic: string, output: unknown): Made {
  const { parties } = run.proposal;
  return { share: output as KeyShare, parties, topic, ceremony: toHex(run.id) };
}

/** The share that a ceremony has made. */
async function made(tx: Transaction, topic: string): Promise<KeyShare> {
  const publicKey = await tx.volatile.get(resultKey(topic));
  const [last] = publicKey === undefined ? [] : await sharesOf(tx, toHex(publicKey));
  if (last === undefined) throw new BotError('KEY_UNKNOWN', 'the ceremony has left no share');
  return last.share;
}

async function newest(host: Host, publicKey: string): Promise<KeyShare> {
  const [first] = await host.update((tx) => sharesOf(tx, publicKey));
  if (first === undefined) throw new BotError('KEY_UNKNOWN', 'this device holds no share of that key');
  return first.share;
}

function handleOf(share: KeyShare): Handle {
  return { publicKey: toHex(publicKeyOf(share)), parties: share.parties, threshold: share.threshold };
}
