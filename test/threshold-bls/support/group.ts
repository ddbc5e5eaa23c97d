/** Bots with the plugin that know each other's keys, on the development server, in this process; and what has left them. */
import { toBase64, toHex, type Bytes } from '../../../src/bytes.ts';
import { decodeContent } from '../../../src/content/content.ts';
import { decodeFrame, ROUNDS, type Frame } from '../../../src/rounds/index.ts';
import { decodeRun } from '../../../src/rounds/run-row.ts';
import type { Run } from '../../../src/rounds/run.ts';
import { openMemory } from '../../../src/store/memory.ts';
import type { Batch, Staging, Store } from '../../../src/store/store.ts';
import { outboxRows, pluginState, pluginVolatile } from '../../../src/store/tables.ts';
import { importTrust } from '../../../src/trust/operator.ts';
import thresholdBls from '../../../plugins/threshold-bls/index.ts';
import type { Handle } from '../../../plugins/threshold-bls/ceremonies.ts';
import { verify } from '../../../plugins/threshold-bls/math/signing.ts';
import { sharesOf, type HeldShare } from '../../../plugins/threshold-bls/shares.ts';
import { StagedTransaction } from '../../../src/context.ts';
import type { BotChoices, RunningBot, Scene } from '../../support/scene.ts';

const PLUGIN = 'threshold-bls';

export interface Left {
  readonly to: string;
  readonly frame: Frame;
  readonly payload: string;
}

/** A store that notes which frames were left to be sent, once they are durable. */
export class NotingStore implements Store {
  readonly inner: Store;
  readonly left: Left[];

  constructor(inner: Store, left: Left[]) {
    this.inner = inner;
    this.left = left;
  }

  batch(): Batch {
    const inner = this.inner.batch();
    const rows = new Map<string, Bytes>();
    return {
      get: (key) => inner.get(key),
      put: (key, value) => {
        if (key.startsWith(outboxRows.key())) rows.set(key, value);
        inner.put(key, value);
      },
      delete: (key) => {
        inner.delete(key);
      },
      commit: async () => {
        await inner.commit();
        for (const value of rows.values()) this.left.push(...(await framesIn(value)));
      },
    };
  }

  scan(prefix: string, options?: Parameters<Store['scan']>[1]): ReturnType<Store['scan']> {
    return this.inner.scan(prefix, options);
  }

  compact(prefix: string, from?: string): Promise<string | undefined> {
    return this.inner.compact(prefix, from);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}

async function framesIn(row: Bytes): Promise<Left[]> {
  const only: Staging = { get: () => Promise.resolve(row), put: () => undefined, delete: () => undefined };
  const found = await outboxRows.get(only, '' as never, 0);
  const content = found?.kind === 'app' ? decodeContent(found.content) : undefined;
  if (found === undefined || content?.kind !== 'app' || content.tag !== ROUNDS.tag) return [];
  return [{ to: found.recipient, frame: decodeFrame(content.payload), payload: toHex(content.payload) }];
}

export class Party {
  running: RunningBot;
  /** Of all its processes. */
  readonly left: Left[];
  inner: Store;
  readonly #scene: Scene;
  readonly #choices: BotChoices;

  constructor(scene: Scene, running: RunningBot, inner: Store, left: Left[], choices: BotChoices) {
    [this.#scene, this.running, this.inner, this.left] = [scene, running, inner, left];
    this.#choices = choices;
  }

  static async start(scene: Scene, inner: Store = openMemory(), choices: BotChoices = {}): Promise<Party> {
    const left: Left[] = [];
    const running = await scene.bot((bot) => void bot.use(thresholdBls()), {
      ...choices,
      store: new NotingStore(inner, left),
    });
    return new Party(scene, running, inner, left, choices);
  }

  /** Another process on what is stored. @param around a store that stands before the real one */
  async restart(around: (store: Store) => Store = (store) => store): Promise<void> {
    const store = around(new NotingStore(this.inner, this.left));
    const { phone, account } = this.running;
    const configure = (bot: RunningBot['bot']): void => void bot.use(thresholdBls());
    this.running = await this.#scene.run(phone, account, store, configure, this.#choices);
  }

  get line(): string {
    const { aci, deviceId, identity } = this.running.account;
    return JSON.stringify({ aci, deviceId, identityKey: identity.publicKey });
  }

  act(name: string, input: object, told: (event: object) => void = () => undefined): Promise<object> {
    const signal = new AbortController().signal;
    const whole = { ...input };
    return this.running.bot.act(PLUGIN, name, { contact: undefined, input: whole, signal, tell: told });
  }

  async shares(publicKey: string): Promise<readonly HeldShare[]> {
    const parts = { self: this.running.aci, store: this.inner, stamp: () => 0 };
    const scope = { plugin: PLUGIN, permissions: new Set<never>() };
    return sharesOf(new StagedTransaction(parts, scope, this.inner.batch()), publicKey);
  }

  /** All that the plugin keeps, by key; what is volatile behind a `~`. */
  async rows(): Promise<Map<string, Bytes>> {
    const found = new Map<string, Bytes>();
    for await (const [key, value] of pluginState.scan(this.inner, [PLUGIN])) found.set(key, value);
    for await (const [key, value] of pluginVolatile.scan(this.inner, [PLUGIN])) found.set(`~${key}`, value);
    return found;
  }

  /** Its ceremonies, without what was said in them. */
  async runs(): Promise<readonly Run[]> {
    const heads = [...(await this.rows())].filter(([key]) => key.startsWith('~rounds/run/'));
    return heads.map(([, head]) => decodeRun(head, new Map()));
  }
}

export class Group {
  readonly parties: readonly Party[];

  private constructor(parties: readonly Party[]) {
    this.parties = parties;
  }

  /** @param stores one for each party */
  static async start(scene: Scene, stores: readonly Store[], choices: BotChoices = {}): Promise<Group> {
    const parties = [];
    for (const store of stores) parties.push(await Party.start(scene, store, choices));
    const group = new Group(parties);
    for (const { running } of parties) {
      const { trust } = running.bot;
      if (trust === undefined) throw new Error('the bot does not run');
      const known = parties.map(({ running: { account } }) => ({
        aci: account.aci,
        identityKey: account.identity.publicKey,
      }));
      await importTrust(trust, known, toHex(new Uint8Array(32)));
    }
    return group;
  }

  lines(which: readonly number[] = this.parties.map((_, at) => at)): string {
    return which.map((at) => this.party(at).line).join('\n');
  }

  party(at: number): Party {
    const found = this.parties[at];
    if (found === undefined) throw new Error(`there is no party ${String(at)}`);
    return found;
  }

  async keygen(threshold = 1, wait = 60): Promise<string> {
    const input = { group: this.lines(), threshold, parties: this.parties.length, wait };
    const made = (await Promise.all(this.parties.map((party) => party.act('keygen', input)))) as Handle[];
    const [publicKey, ...others] = new Set(made.map((handle) => handle.publicKey));
    if (publicKey === undefined || others.length > 0) throw new Error('they have different keys');
    return publicKey;
  }

  async refresh(publicKey: string, wait = 60): Promise<void> {
    const input = { group: this.lines(), publicKey, wait };
    await Promise.all(this.parties.map((party) => party.act('refresh', input)));
  }

  /** @param which from 0 @returns whether all have the same signature, and it is valid */
  async sign(publicKey: string, which: readonly number[], text: string, wait = 60): Promise<boolean> {
    const bytes = new TextEncoder().encode(text);
    const input = { group: this.lines(which), publicKey, message: toHex(bytes), wait };
    const ends = await Promise.all(which.map((at) => this.party(at).act('sign', input)));
    const signatures = new Set(ends.map((end) => (end as { signature: string }).signature));
    const [signature = ''] = signatures;
    return signatures.size === 1 && verify(hex(publicKey), hex(signature), bytes);
  }
}

/** What was said twice from one place and not in the same words: nothing, if all is well. */
export function twoTales(left: readonly Left[]): string[] {
  const said = new Map<string, string>();
  const found: string[] = [];
  for (const { frame, payload } of left) {
    if (frame.kind !== 'message' && frame.kind !== 'confirm') continue;
    const to = frame.kind === 'message' ? String(frame.recipient) : 'confirm';
    const place = `${toBase64(frame.id)} ${String(frame.round)} ${to}`;
    if ((said.get(place) ?? payload) !== payload) found.push(place);
    said.set(place, payload);
  }
  return found;
}

export function hex(text: string): Bytes {
  return new Uint8Array(Buffer.from(text, 'hex'));
}
