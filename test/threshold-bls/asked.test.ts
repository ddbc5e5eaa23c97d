/** A command that is run again while its ceremony ends: at whichever of its reads that happens, it gives the result. */
import { afterEach, describe, expect, it } from 'vitest';
import { acts, entries, type Handle } from '../../plugins/threshold-bls/ceremonies.ts';
import { toBase64 } from '../../src/bytes.ts';
import type { Bytes } from '../../src/bytes.ts';
import type { Store } from '../../src/store/store.ts';
import { settle } from '../../src/testing/clock.ts';
import { RoundsMember } from '../support/rounds-member.ts';
import { Circle, type Parcel, type Snapshot } from './support/circle.ts';

const TIMEOUT_MS = 120_000;
const NAMES = ['keygen', 'refresh', 'sign'] as const;
type Name = (typeof NAMES)[number];
const LAST_ROUND = 4;
const MESSAGE: Bytes = Uint8Array.of(0);
/** How often an operator looks, and how long a command is given here, ms. */
const LOOK_MS = 250;
const PATIENCE_MS = 20_000;

/** A store that lets something happen once, right after a read. */
class PausingStore implements Store {
  readonly #inner: Store;
  #left = Infinity;
  #between: () => Promise<void> = () => Promise.resolve();

  constructor(inner: Store) {
    this.#inner = inner;
  }

  /** @param reads how many come before it */
  arm(reads: number, between: () => Promise<void>): void {
    [this.#left, this.#between] = [reads, between];
  }

  batch(): ReturnType<Store['batch']> {
    const inner = this.#inner.batch();
    const get = async (key: string): Promise<Bytes | undefined> => {
      const value = await inner.get(key);
      await this.#pause();
      return value;
    };
    return {
      get,
      put: (key, value) => {
        inner.put(key, value);
      },
      delete: (key) => {
        inner.delete(key);
      },
      commit: () => inner.commit(),
    };
  }

  async *scan(prefix: string, options?: Parameters<Store['scan']>[1]): ReturnType<Store['scan']> {
    const rows = [];
    for await (const row of this.#inner.scan(prefix, options)) rows.push(row);
    await this.#pause();
    yield* rows;
  }

  compact(prefix: string, from?: string): Promise<string | undefined> {
    return this.#inner.compact(prefix, from);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #pause(): Promise<void> {
    if (this.#left-- === 0) await this.#between();
  }
}

describe('a command that is run again while its ceremony ends', () => {
  let circle: Circle | undefined;
  afterEach(() => circle?.stop());

  function inputOf(name: Name, publicKey: string): Record<string, unknown> {
    const parties = circle?.members.slice(0, name === 'sign' ? 2 : 3) ?? [];
    const lines = parties.map(({ party: { aci, deviceId, identityKey } }) =>
      JSON.stringify({ aci, deviceId, identityKey: toBase64(identityKey) }),
    );
    const common = { group: lines.join('\n'), wait: 60 };
    if (name === 'keygen') return { ...common, threshold: 1, parties: 3 };
    return name === 'refresh' ? { ...common, publicKey } : { ...common, publicKey, message: '00' };
  }

  /** The first party's command. @param told hears that it waits */
  function command(name: Name, publicKey: string, told: () => void, signal?: AbortSignal): Promise<object> {
    const { host, rounds } = first();
    const call = { contact: undefined, input: inputOf(name, publicKey), tell: told };
    const act = acts(host, rounds)[name];
    if (act === undefined) throw new Error(`there is no ${name}`);
    return act({ ...call, signal: signal ?? new AbortController().signal });
  }

  function first(): RoundsMember {
    if (circle === undefined) throw new Error('there is no circle');
    return circle.member(0);
  }

  /** All but the last word to the first party has been said, whose command was stopped while it waited. */
  async function almost(name: Name): Promise<{ before: Snapshot; last: Parcel; publicKey: string }> {
    circle = await Circle.start(3);
    const made = circle;
    const publicKey = name === 'keygen' ? '' : await made.key();
    const stop = new AbortController();
    const stopped = command(name, publicKey, () => {
      stop.abort();
    }, stop.signal); // prettier-ignore
    await expect(stopped).rejects.toThrow();
    await made.open(
      async (at) => {
        if (name === 'keygen') return made.keygenRequest();
        const share = await made.share(at, publicKey);
        return name === 'refresh' ? made.refreshRequest(share) : made.signRequest(share, [0, 1], MESSAGE);
      },
      name === 'sign' ? [1] : [1, 2],
    );
    const held: Parcel[] = [];
    await made.exchange((parcel) => {
      const { from, to, frame } = parcel;
      const isLast =
        name === 'sign' ? frame.kind === 'message' : frame.kind === 'confirm' && frame.round === LAST_ROUND;
      if (to !== 0 || !isLast || (name !== 'sign' && from === 1)) return [parcel];
      held.push(parcel);
      return [];
    });
    const [last] = held;
    if (last === undefined || held.length > 1) throw new Error('there is no last word');
    const before = await made.snapshot();
    await made.stop();
    return { before, last, publicKey };
  }

  it.each(NAMES)('gives the result of its %s', { timeout: TIMEOUT_MS }, async (name) => {
    const { before, last, publicKey } = await almost(name);
    const waiting = { came: false };
    for (let reads = 0; !waiting.came; reads++) {
      const again = await Circle.start(3, () => entries(), before);
      circle = again;
      const store = new PausingStore(first().peer.store);
      await first().stop();
      again.members[0] = await RoundsMember.start(again.clock, entries(), { peer: first().peer, store });
      await settle(); // what it reads at its start is not meant
      let struck = false;
      store.arm(reads, () => {
        struck = true;
        return again.deliver(last);
      });
      let result: unknown;
      command(name, publicKey, () => {
        waiting.came ||= !struck;
      }).then(
        (value) => {
          result = value;
        },
        (error: unknown) => {
          result = error;
        },
      ); // prettier-ignore
      for (let ms = 0; ms < PATIENCE_MS && result === undefined; ms += LOOK_MS)
        await again.clock.advance(LOOK_MS);
      const at = `when it ends after read ${String(reads)}`;
      expect(struck, at).toBe(true);
      expect(result, at).toEqual(expect.any(Object));
      if (name === 'sign') expect((result as { signers: unknown }).signers, at).toHaveLength(2);
      else expect((result as Handle).publicKey, at).toMatch(publicKey === '' ? /^[0-9a-f]{192}$/ : publicKey);
      const states = (await first().rounds.list()).map(({ state }) => state);
      expect(states.filter((state) => state === 'gathering' || state === 'running'), at).toEqual([]); // prettier-ignore
      await again.stop();
    }
  });
});
