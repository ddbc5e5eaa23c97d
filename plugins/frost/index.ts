/**
 * FROST: Ed25519 signatures by any t of n bots (RFC 9591), as a second protocol on the runtime of rounds.
 *
 * There is no key generation here: a trusted dealer cuts the key and hands each party its share. So whoever deals has held
 * the whole key once.
 *
 *   deal    {"min": t, "group": the parties, in JSON lines}                                 -> {"publicKey": HEX, "keys": shares by index}
 *   import  {"key": one of them, "group": the parties}                                      -> {"publicKey": HEX}
 *   sign    {"publicKey": HEX, "group": the signers, "message": HEX, "wait"?: seconds}      -> {"publicKey", "signature": HEX}
 *
 * `key.ts` is keys and the dealer, `sign.ts` the pure machine, `keys.ts` the shares that are kept.
 */
import { z } from 'zod';
import {
  BotError,
  definePlugin,
  systemPlatform,
  type Act,
  type Bytes,
  type Host,
  type Plugin,
} from '../../src/index.ts';
import { indicesOf, parseGroup, rounds, type Entry, type Rounds } from '../../src/rounds/index.ts';
import { deal, frostKey, holds, publicKeyOf } from './key.ts';
import { keyOf, NEXT, putKey } from './keys.ts';
import { frostSign } from './sign.ts';

export { deal, frostKey, publicKeyOf, type FrostKey } from './key.ts';
export { frostSign } from './sign.ts';

/** Longest message, bytes: each ceremony keeps its own for a day. */
const MAX_MESSAGE = 1_048_576;
// No group in it: a long text would overflow the stack.
const hex = z
  .string()
  .max(2 * MAX_MESSAGE, `has more than ${String(MAX_MESSAGE)} bytes`)
  .regex(/^[0-9a-f]*$/)
  .refine(({ length }) => length % 2 === 0, 'is no hex');
const dealInput = z.object({ min: z.int().min(2), group: z.string() });
const importInput = z.object({ key: z.record(z.string(), z.unknown()), group: z.string() });
const signInput = z.object({
  publicKey: z.string().regex(/^[0-9a-f]{64}$/),
  group: z.string(),
  message: hex,
  wait: z.number().positive().max(86_400).default(600),
});

export default function frost(): Plugin {
  const ceremonies = rounds(frostEntries());
  return definePlugin({
    name: 'frost',
    version: '1.0.0',
    ...ceremonies.declares,
    async setup(host) {
      await ceremonies.attach(host);
      for (const [name, act] of Object.entries(acts(host, ceremonies))) host.act(name, act);
    },
  });
}

/** For a plugin of one's own: the output is in the ceremony's view. */
export function frostEntries(): Entry[] {
  return [{ protocol: frostSign }];
}

function acts(host: Host, ceremonies: Rounds): Readonly<Record<string, Act>> {
  return {
    deal: ({ input }) => {
      const { min, group } = read(dealInput, input);
      return Promise.resolve(dealt(min, parseGroup(group).length));
    },
    import: async ({ input }) => {
      const { key: written, group } = read(importInput, input);
      const parties = parseGroup(group);
      const key = taken(() => frostKey.decode(new TextEncoder().encode(JSON.stringify(written))));
      if (!holds(key)) throw usage('this share does not fit the commitments of its key');
      if (parties.length !== key.max)
        throw usage(`the key has ${String(key.max)} parties, and the group ${String(parties.length)}`);
      const own = parties.find(({ index }) => index === key.index);
      if (own?.aci !== host.trust.own.aci) throw usage('this share is for another party of the group');
      return { publicKey: await host.update(({ state }) => putKey(state, { key, parties })) };
    },
    sign: async (call) => {
      const { publicKey, group, message, wait } = read(signInput, call.input);
      const { key, parties } = await host.update(({ state }) => keyOf(state, publicKey));
      const signers = indicesOf(parties, parseGroup(group));
      const params = { min: key.min, publicKey: publicKeyOf(key) };
      const request = { protocol: frostSign.name, params, input: key, parties, signers, waitMs: wait * 1000 };
      const topic = await ceremonies.open({ ...request, message: fromHex(message) });
      call.tell({ step: 'waiting', ceremony: topic });
      const { state, end, output, blame } = await ceremonies.ended(topic, call.signal);
      for (const { party, reason } of blame) call.tell({ step: 'blamed', party, reason });
      if (state === 'done') return { publicKey, signature: Buffer.from(output as Bytes).toString('hex') };
      throw new BotError(
        'CEREMONY_ENDED',
        `the ceremony has ended: ${end?.reason ?? 'without a reason'}${blame.map(({ party, reason }) => `; party ${String(party)} ${reason}`).join('')}`,
      );
    },
  };
}

/** Nothing of it is kept here. */
function dealt(min: number, max: number): object {
  if (min > max) throw usage(`of ${String(max)} parties no ${String(min)} can sign`);
  const { random } = systemPlatform();
  const keys = deal({ min, max }, (length = 32) => random.bytes(length));
  const [first] = keys;
  return {
    publicKey: first === undefined ? '' : Buffer.from(publicKeyOf(first)).toString('hex'),
    keys: keys.map((key) => JSON.parse(new TextDecoder().decode(frostKey.encode(key))) as object),
  };
}

function read<T>(schema: z.ZodType<T>, input: unknown): T {
  const { success, data, error } = schema.safeParse(input);
  if (success) return data;
  throw usage(error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '));
}

/** What was given by hand, and does not fit, is the caller's fault. */
function taken<T>(decode: () => T): T {
  try {
    return decode();
  } catch (cause) {
    throw new BotError('USAGE', 'this is not a share of a key', { cause, next: NEXT });
  }
}

function usage(message: string): BotError {
  return new BotError('USAGE', message, { next: NEXT });
}

function fromHex(text: string): Bytes {
  return new Uint8Array(Buffer.from(text, 'hex'));
}
