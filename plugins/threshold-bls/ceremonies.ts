/**
 * Ceremonies: what operators ask for, and what becomes of the results (shares.ts).
 *
 * Where this party holds two shares of a key, an old one and one that not all have confirmed, it offers both, a ceremony
 * for each: the others come to the one that they have. The first that is done is the result; signatures are the same.
 */
import { z } from 'zod';
import { BotError, type Act, type Host, type Transaction } from '../../src/index.ts';
import { parseGroup, type Entry, type Rounds } from '../../src/rounds/index.ts';
import { firstDone } from './ends.ts';
import { encodeKeyShare, fromHex, publicKeyOf, sharingOf, toHex, type KeyShare } from './key-share.ts';
import { keygen, problem, refresh } from './keygen.ts';
import type { Invited } from './policy.ts';
import { holdShare, settleShare, sharesOf, type HeldShare } from './shares.ts';
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
const keyHex = z.string().regex(/^[0-9a-f]{192}$/);
const keygenInput = z.object({ ...common, threshold: z.number(), parties: z.number() });
const refreshInput = z.object({ ...common, publicKey: keyHex });
const signInput = z.object({ ...common, publicKey: keyHex, message: z.string().regex(/^([0-9a-f]{2})*$/) });
const exportInput = z.object({ publicKey: keyHex });

/** The protocols, and where their results go; operators open everything. */
export function entries(): Entry[] {
  return entriesUnder(() => undefined);
}

/** The same under a signing policy. */
export function entriesUnder(invited: Invited): Entry[] {
  const held: Entry['held'] = (output, { topic, run }, { state }) => {
    state.put('backup-note', new TextEncoder().encode(BACKUP_NOTE));
    return holdShare(state, { share: output as KeyShare, parties: run.proposal.parties, topic });
  };
  const done: Entry['done'] = async (output, { topic, run }, { state, volatile }) => {
    const share = output as KeyShare;
    await settleShare(state, { share, parties: run.proposal.parties, topic });
    volatile.put(resultKey(topic), publicKeyOf(share));
  };
  // A list of protocols has no one type for their parameters: each is used with its own codecs.
  return [
    { protocol: keygen, held, done },
    { protocol: refresh, held, done },
    { protocol: sign, invited },
  ];
}

/** What the commands ask for. */
export function acts(host: Host, ceremonies: Rounds): Readonly<Record<string, Act>> {
  const finished = (topics: readonly string[], call: Parameters<Act>[0], wait: number): Promise<unknown> =>
    firstDone(ceremonies, topics, call, wait * 1000);
  return {
    keygen: async (call) => {
      const { group, threshold, parties: count, wait } = read(keygenInput, call.input);
      const parties = parseGroup(group);
      if (parties.length !== count)
        throw usage(`the group has ${String(parties.length)} parties, not ${String(count)}`);
      const wrong = problem(threshold, count, count);
      if (wrong !== undefined) throw usage(wrong);
      const protocol = keygen.name;
      const topic = await ceremonies.open({
        protocol,
        params: { threshold },
        input: undefined,
        parties,
        waitMs: wait * 1000,
      });
      await finished([topic], call, wait);
      return host.update(async (tx) => handleOf(await made(tx, topic)));
    },
    refresh: async (call) => {
      const { group, publicKey, wait } = read(refreshInput, call.input);
      const parties = parseGroup(group);
      const topics: string[] = [];
      for (const { share: input } of await held(host, publicKey)) {
        const { threshold, commitments, epoch } = input;
        const wrong = problem(threshold, parties.length, parties.length);
        if (wrong !== undefined || parties.length !== input.parties)
          throw usage(wrong ?? 'all parties of the key are needed');
        const params = { threshold, commitments };
        const request = { protocol: refresh.name, params, input, parties, epoch, waitMs: wait * 1000 };
        topics.push(await ceremonies.open(request));
      }
      await finished(topics, call, wait);
      return handleOf(await newest(host, publicKey));
    },
    sign: async (call) => {
      const { group, publicKey, message, wait } = read(signInput, call.input);
      const named = parseGroup(group).map(({ aci }) => aci);
      const topics: string[] = [];
      for (const { share: input, parties } of await held(host, publicKey)) {
        const { threshold, epoch } = input;
        const signers = parties.filter(({ aci }) => named.includes(aci)).map(({ index }) => index);
        if (signers.length < named.length)
          throw usage('the group names somebody who has no share of this key');
        if (signers.length <= threshold) throw usage(`${String(threshold + 1)} signers are needed`);
        const params = { threshold, publicKey: fromHex(publicKey), sharing: sharingOf(input) };
        const request = { protocol: sign.name, params, input, parties, signers, epoch, waitMs: wait * 1000 };
        topics.push(await ceremonies.open({ ...request, message: fromHex(message) }));
      }
      const { signature, signers: used } = (await finished(topics, call, wait)) as Signed;
      return { publicKey, signature: toHex(signature), signers: used };
    },
    export: async (call) => {
      const share = await newest(host, read(exportInput, call.input).publicKey);
      return JSON.parse(new TextDecoder().decode(encodeKeyShare(share))) as object;
    },
  };
}

function resultKey(topic: string): string {
  return `key-of/${topic}`;
}

/** The share that a ceremony has made. */
async function made({ state, volatile }: Transaction, topic: string): Promise<KeyShare> {
  const publicKey = await volatile.get(resultKey(topic));
  const [last] = publicKey === undefined ? [] : await sharesOf(state, toHex(publicKey));
  if (last === undefined) throw new BotError('KEY_UNKNOWN', 'the ceremony has left no share');
  return last.share;
}

function held(host: Host, publicKey: string): Promise<readonly HeldShare[]> {
  return host.update(({ state }) => sharesOf(state, publicKey));
}

async function newest(host: Host, publicKey: string): Promise<KeyShare> {
  const [first] = await held(host, publicKey);
  if (first === undefined) throw new BotError('KEY_UNKNOWN', 'this device holds no share of that key');
  return first.share;
}

function handleOf(share: KeyShare): Handle {
  return { publicKey: toHex(publicKeyOf(share)), parties: share.parties, threshold: share.threshold };
}

function read<T>(schema: z.ZodType<T>, input: unknown): T {
  const { success, data, error } = schema.safeParse(input);
  if (success) return data;
  throw usage(error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '));
}

function usage(message: string): BotError {
  return new BotError('USAGE', message);
}
