/**
 * Ceremonies: what operators ask for, and what becomes of the results. Shares are kept in the store under the key's id
 * (SHA-256 of the public key, hex); the newest epoch replaces the one before in the commit that ends its refresh.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { BotError, type Act, type Host, type State } from '../../src/index.ts';
import {
  parseGroup,
  type Entry,
  type Identified,
  type PartySet,
  type Rounds,
} from '../../src/rounds/index.ts';
import { decodeKeyShare, encodeKeyShare, fromHex, publicKeyOf, toHex, type KeyShare } from './key-share.ts';
import { keygen, problem, refresh } from './keygen.ts';
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

const WAIT_SECONDS = 600;
const common = { group: z.string(), wait: z.number().positive().max(86_400).default(WAIT_SECONDS) };
const keyHex = z.string().regex(/^[0-9a-f]{192}$/);
const keygenInput = z.object({ ...common, threshold: z.number(), parties: z.number() });
const refreshInput = z.object({ ...common, publicKey: keyHex });
const signInput = z.object({ ...common, publicKey: keyHex, message: z.string().regex(/^([0-9a-f]{2})*$/) });
const exportInput = z.object({ publicKey: keyHex });

/** The protocols, and where their results go. */
export function entries(): Entry[] {
  const keep: Entry['done'] = (output, { topic, run }, { state, volatile }) => {
    const share = output as KeyShare;
    const publicKey = toHex(publicKeyOf(share));
    state.put(shareKey(publicKey), encodeKeyShare(share));
    state.putJson(partiesKey(publicKey), run.proposal.parties.map(partyLine));
    volatile.put(resultKey(topic), publicKeyOf(share));
  };
  // A list of protocols has no one type for their parameters: each is used with its own codecs.
  return [{ protocol: keygen, done: keep }, { protocol: refresh, done: keep }, { protocol: sign }];
}

/** What the commands ask for. */
export function acts(host: Host, ceremonies: Rounds): Readonly<Record<string, Act>> {
  const finished = async (topic: string, call: Parameters<Act>[0]): Promise<unknown> => {
    call.tell({ step: 'waiting', ceremony: topic });
    const { state, end, output, blame } = await ceremonies.ended(topic, call.signal);
    for (const { party, reason } of blame) call.tell({ step: 'blamed', party, reason });
    if (state === 'done') return output;
    const names = blame.map(({ party, reason }) => `party ${String(party)} ${reason}`).join('; ');
    throw new BotError(
      'CEREMONY_ENDED',
      `the ceremony has ended: ${end?.reason ?? 'without a reason'}${names && ` (${names})`}`,
    );
  };
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
      await finished(topic, call);
      return handleOf(await host.update(({ state, volatile }) => made(state, volatile, topic)));
    },
    refresh: async (call) => {
      const { group, publicKey, wait } = read(refreshInput, call.input);
      const input = await shareOf(host, publicKey);
      const { threshold, commitments, epoch } = input;
      const params = { threshold, commitments };
      const parties = parseGroup(group);
      const wrong = problem(threshold, parties.length, parties.length);
      if (wrong !== undefined || parties.length !== input.parties)
        throw usage(wrong ?? 'all parties of the key are needed');
      const request = { protocol: refresh.name, params, input, parties, epoch, waitMs: wait * 1000 };
      await finished(await ceremonies.open(request), call);
      return handleOf(await shareOf(host, publicKey));
    },
    sign: async (call) => {
      const { group, publicKey, message, wait } = read(signInput, call.input);
      const input = await shareOf(host, publicKey);
      const { threshold, epoch } = input;
      const parties = await host.update(({ state }) => partiesOf(state, publicKey));
      const named = parseGroup(group).map(({ aci }) => aci);
      const signers = parties.filter(({ aci }) => named.includes(aci)).map(({ index }) => index);
      if (signers.length < named.length) throw usage('the group names somebody who has no share of this key');
      if (signers.length <= threshold) throw usage(`${String(threshold + 1)} signers are needed`);
      const params = { threshold, publicKey: fromHex(publicKey) };
      const request = { protocol: sign.name, params, input, parties, signers, epoch, waitMs: wait * 1000 };
      const topic = await ceremonies.open({ ...request, message: fromHex(message) });
      const { signature, signers: used } = (await finished(topic, call)) as Signed;
      return { publicKey, signature: toHex(signature), signers: used };
    },
    export: async (call) => {
      const share = await shareOf(host, read(exportInput, call.input).publicKey);
      return JSON.parse(new TextDecoder().decode(encodeKeyShare(share))) as object;
    },
  };
}

function shareKey(publicKey: string): string {
  return `share/${keyId(publicKey)}`;
}

/** Who has a share: the order of a group's lines is not that of a key's indices. */
function partiesKey(publicKey: string): string {
  return `parties/${keyId(publicKey)}`;
}

function resultKey(topic: string): string {
  return `key-of/${topic}`;
}

function keyId(publicKey: string): string {
  return createHash('sha256').update(fromHex(publicKey)).digest('hex');
}

/** As a line of a group file has it. */
function partyLine({ aci, deviceId, identityKey }: Identified): object {
  return { aci, deviceId, identityKey: Buffer.from(identityKey).toString('base64') };
}

function shareOf(host: Host, publicKey: string): Promise<KeyShare> {
  return host.update(({ state }) => loadShare(state, publicKey));
}

async function loadShare(state: State, publicKey: string): Promise<KeyShare> {
  const row = await state.get(shareKey(publicKey));
  if (row === undefined) throw noShare();
  return decodeKeyShare(row);
}

async function partiesOf(state: State, publicKey: string): Promise<PartySet> {
  const lines = await state.getJson(partiesKey(publicKey), z.array(z.unknown()));
  if (lines === undefined) throw noShare();
  return parseGroup(lines.map((line) => JSON.stringify(line)).join('\n'));
}

/** The share that a ceremony has made. */
async function made(state: State, volatile: State, topic: string): Promise<KeyShare> {
  const publicKey = await volatile.get(resultKey(topic));
  if (publicKey === undefined) throw noShare();
  return loadShare(state, toHex(publicKey));
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

function noShare(): BotError {
  return new BotError('KEY_UNKNOWN', 'this device holds no share of that key');
}
