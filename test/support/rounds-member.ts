/**
 * A member of ceremonies: an account with a plugin that knows some protocols, on the real router, dispatcher and trust,
 * without a server. What it leaves to be sent is handed to the others by `exchange`.
 */
import { parseAci } from '../../src/address.ts';
import { fromBase64, type Bytes } from '../../src/bytes.ts';
import { decodeContent } from '../../src/content/content.ts';
import { encodeApp } from '../../src/content/encode.ts';
import { Dispatcher } from '../../src/inbox/dispatcher.ts';
import { silentLog, systemPlatform, type Log } from '../../src/platform.ts';
import { Plugins } from '../../src/plugin.ts';
import { definePlugin, type Host } from '../../src/plugin/contract.ts';
import { ROUNDS, rounds, type Entry, type Identified, type Rounds } from '../../src/rounds/index.ts';
import type { Store } from '../../src/store/store.ts';
import type { OutboxRow } from '../../src/store/rows.ts';
import { inboxRows, outboxRows } from '../../src/store/tables.ts';
import { settle, type ManualClock } from '../../src/testing/clock.ts';
import type { OperatorRules } from '../../src/trust/policy.ts';
import { makePeer, type Peer } from './peer.ts';
import { trustOf } from './trust.ts';

let letters = 0;

export class RoundsMember {
  readonly peer: Peer;
  readonly rounds: Rounds;
  readonly host: Host;
  readonly #dispatcher: Dispatcher;
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;

  private constructor(peer: Peer, plugins: Plugins, all: Rounds, host: Host) {
    this.peer = peer;
    this.rounds = all;
    this.host = host;
    const { store, platform } = peer;
    this.#dispatcher = new Dispatcher({ store, platform, router: plugins.router, onRow: () => undefined });
    this.#running = Promise.all([this.#dispatcher.run(this.#stop.signal), plugins.run(this.#stop.signal)]);
  }

  /**
   * @param store of the same member before, when it starts again
   * @param policy what its operator asks of contacts instead
   * @param log of its plugins
   */
  static async start(
    clock: ManualClock,
    entries: readonly Entry[],
    before?: { readonly peer: Peer; readonly store?: Store },
    policy?: OperatorRules,
    log: Log = silentLog,
  ): Promise<RoundsMember> {
    const platform = { ...systemPlatform(log), clock };
    const peer = before === undefined ? await makePeer({ platform }) : { ...before.peer, ...pick(before) };
    const trust = await trustOf(peer, policy);
    const plugins = new Plugins({
      self: peer.aci,
      store: peer.store,
      platform,
      trust,
      stamp: () => clock.now() + ++letters,
      onRow: () => undefined,
      onNotice: () => undefined,
    });
    const all = rounds(entries);
    let host: Host | undefined;
    const setup = async (given: Host): Promise<void> => {
      host = given;
      await all.attach(given);
    };
    await plugins.install(definePlugin({ name: 'parties', version: '1', ...all.declares, setup }));
    if (host === undefined) throw new Error('not set up');
    return new RoundsMember(peer, plugins, all, host);
  }

  /** Calls of its handlers that threw. */
  get failed(): number {
    return this.#dispatcher.counters.failed;
  }

  get key(): Bytes {
    return fromBase64(this.peer.account.identity.publicKey);
  }

  get party(): Identified {
    return { aci: this.peer.aci, deviceId: this.peer.account.deviceId, identityKey: this.key };
  }

  async verify(other: RoundsMember): Promise<void> {
    const proof = { kind: 'safety-number', by: 'operator', at: 1 } as const;
    await this.host.update(({ trust }) => trust.identities.pin(other.peer.aci, other.key, proof));
  }

  /** What waits to be sent, taken out of the outbox. */
  async sent(): Promise<readonly OutboxRow[]> {
    const { store } = this.peer;
    const batch = store.batch();
    const rows: OutboxRow[] = [];
    for await (const [, row] of outboxRows.scan(store)) {
      if (row.kind === 'app') rows.push(row);
      outboxRows.delete(batch, row.recipient, row.timestamp);
    }
    await batch.commit();
    return rows;
  }

  /** Takes a frame that `from` has sent; under another key or from another device where that is said. */
  async receive(
    from: RoundsMember,
    payload: Bytes,
    { key = from.key, device = from.party.deviceId }: { readonly key?: Bytes; readonly device?: number } = {},
  ): Promise<void> {
    const { store } = this.peer;
    const id = ++letters;
    const batch = store.batch();
    const row = {
      ...{ source: from.peer.aci, sourceDevice: device, timestamp: id, serverTimestamp: id, sealed: true },
      ...{ toPni: false, content: encodeApp(ROUNDS.tag, payload), attempts: 0, retryAt: 0 },
      ...{ error: '', plugin: '', receivedAt: id, identityKey: key },
    };
    inboxRows.put(batch, id, row);
    await batch.commit();
    this.#dispatcher.offer(id, row);
    await this.#dispatcher.idle();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running.catch(() => undefined);
  }
}

/** Has all verify each other, so that nothing is left to be sent. @returns them */
export async function meet(...members: RoundsMember[]): Promise<RoundsMember[]> {
  for (const member of members) for (const other of members) if (other !== member) await member.verify(other);
  for (const member of members) await member.sent();
  return members;
}

/** Three who know the same protocols and have met. */
export async function threeMembers(
  clock: ManualClock,
  entries: readonly Entry[],
  policy?: OperatorRules,
): Promise<RoundsMember[]> {
  const start = (): Promise<RoundsMember> => RoundsMember.start(clock, entries, undefined, policy);
  return meet(await start(), await start(), await start());
}

/** Hands on what waits, until nothing does. @param drop says what is lost */
export async function exchange(
  members: readonly RoundsMember[],
  drop: (from: RoundsMember, row: OutboxRow) => boolean = () => false,
): Promise<readonly OutboxRow[]> {
  const all: OutboxRow[] = [];
  for (;;) {
    let count = 0;
    for (const from of members) {
      for (const row of await from.sent()) {
        count++;
        all.push(row);
        const to = members.find(({ peer }) => peer.aci === parseAci(row.recipient));
        if (to !== undefined && !drop(from, row)) await to.receive(from, payloadOf(row));
      }
    }
    await settle();
    if (count === 0) return all;
  }
}

/** The frame in a row of a member's outbox. */
export function payloadOf({ content }: OutboxRow): Bytes {
  const decoded = decodeContent(content);
  if (decoded.kind !== 'app') throw new Error('this is no app message');
  return decoded.payload;
}

function pick({ store }: { readonly store?: Store }): { readonly store?: Store } {
  return store === undefined ? {} : { store };
}
