/**
 * A fair coin between bots that do not trust each other, as a round-based protocol: in round 1 everyone sends the hash of
 * a random number, in round 2 the number, and the coin is the exclusive or of all. Nobody can choose a number after having
 * seen the others', because all hashes are confirmed before the first number leaves.
 */
import { createHash } from 'node:crypto';
import type { Codec, Protocol, RoundMessages, Setting } from 'countersign/rounds';

interface State {
  /** 32 bytes */
  readonly number: Uint8Array;
  /** By index; of all, once round 1 is over. */
  readonly hashes: Readonly<Record<number, string>>;
}

const nothing: Codec<undefined> = { encode: () => new Uint8Array(0), decode: () => undefined };

function hashOf({ id }: Setting<unknown>, party: number, number: Uint8Array): string {
  return createHash('sha256').update(id).update(Uint8Array.of(party)).update(number).digest('hex');
}

export const coinToss: Protocol<undefined, undefined, State, Uint8Array> = {
  name: 'example.org.coin-toss',
  version: 1,
  rounds: [{ broadcast: true }, { broadcast: true, maxBytes: 32 }],
  params: nothing,
  input: nothing,
  state: {
    encode: ({ number, hashes }) => new TextEncoder().encode(JSON.stringify({ number: [...number], hashes })),
    decode: (bytes) => {
      const { number, hashes } = JSON.parse(new TextDecoder().decode(bytes)) as {
        number: number[];
        hashes: State['hashes'];
      };
      return { number: Uint8Array.from(number), hashes };
    },
  },
  output: { encode: (coin) => coin, decode: (bytes) => bytes },
  start(setting) {
    const number = setting.random.bytes(32);
    const broadcast = Uint8Array.from(Buffer.from(hashOf(setting, setting.self, number), 'hex'));
    return { kind: 'next', state: { number, hashes: {} }, broadcast };
  },
  step(setting, state, messages) {
    return setting.round === 2 ? open(state, messages) : add(setting, state, messages);
  },
};

/** Makes round 2: the hashes of all are there. */
function open({ number }: State, messages: RoundMessages): ReturnType<typeof coinToss.step> {
  const hashes = Object.fromEntries(
    [...messages].map(([party, { broadcast }]) => [party, Buffer.from(broadcast ?? []).toString('hex')]),
  );
  return { kind: 'next', state: { number, hashes }, broadcast: Uint8Array.from(number) };
}

/** Ends it: the numbers of all are there. Who opens something else than it has promised is named. */
function add(
  setting: Setting<unknown>,
  { hashes }: State,
  messages: RoundMessages,
): ReturnType<typeof coinToss.step> {
  const coin = new Uint8Array(32);
  for (const [party, { broadcast = new Uint8Array(0) }] of messages) {
    if (hashOf(setting, party, broadcast) !== hashes[party]) {
      const blame = [{ party, reason: 'did not open what it promised' }];
      return { kind: 'abort', reason: 'a promise was broken', blame };
    }
    for (const [i, byte] of broadcast.entries()) coin[i] = (coin[i] ?? 0) ^ byte;
  }
  return { kind: 'done', output: coin };
}
