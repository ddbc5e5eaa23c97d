/**
 * A member: an account with the introductions of the plugin, on the real router, dispatcher and trust, without a server.
 * What it leaves to be sent is handed to the others by `post`.
 */
import { parseAci, type Aci } from '../../../src/address.ts';
import { fromBase64, type Bytes } from '../../../src/bytes.ts';
import { decodeContent } from '../../../src/content/content.ts';
import { encodeApp } from '../../../src/content/encode.ts';
import type { Transaction } from '../../../src/context.ts';
import type { ContactIdentity } from '../../../src/identities/state.ts';
import { Dispatcher } from '../../../src/inbox/dispatcher.ts';
import { silentLog } from '../../../src/platform.ts';
import { Plugins } from '../../../src/plugin.ts';
import { definePlugin, type Host } from '../../../src/plugin/contract.ts';
import { systemPlatform } from '../../../src/platform.ts';
import type { Evidence, Proof } from '../../../src/store/identity-row.ts';
import { inboxRows, outboxRows } from '../../../src/store/tables.ts';
import type { ManualClock } from '../../../src/testing/clock.ts';
import type { Trust } from '../../../src/trust/build.ts';
import type { Receipt } from '../../../plugins/verify/introductions/book.ts';
import type { Introductions } from '../../../plugins/verify/introductions/listing.ts';
import {
  setUpIntroductions,
  type Introducing,
  type IntroductionOptions,
} from '../../../plugins/verify/introductions/plugin.ts';
import { INTRODUCTION } from '../../../plugins/verify/introductions/tag.ts';
import { makePeer, type Peer, type PeerOptions } from '../../support/peer.ts';
import { trustOf } from '../../support/trust.ts';

export const T0 = 1_800_000_000_000;
export const DAY = 86_400_000;

export interface Letter {
  readonly to: Aci;
  readonly payload: Bytes;
}

export class Member {
  readonly peer: Peer;
  readonly clock: ManualClock;
  readonly trust: Trust;
  readonly plugins: Plugins;
  readonly notices: string[] = [];
  readonly receipts: Receipt[] = [];
  host!: Host;
  introducing!: Introducing;
  readonly #dispatcher: Dispatcher;
  readonly #stop = new AbortController();
  #running: Promise<unknown> | undefined;
  #last = 0;

  private constructor(peer: Peer, clock: ManualClock, trust: Trust) {
    this.peer = peer;
    this.clock = clock;
    this.trust = trust;
    const { store, platform, aci: self } = peer;
    this.plugins = new Plugins({
      ...{ self, store, platform, trust },
      stamp: () => T0 + ++this.#last,
      onRow: () => undefined,
      onNotice: (_plugin, message) => this.notices.push(message),
    });
    const { router } = this.plugins;
    this.#dispatcher = new Dispatcher({
      ...{ store, platform, router },
      onRow: () => undefined,
      onCommitted: (staging) => {
        trust.desk.committed(staging);
      },
    });
  }

  static async make(
    clock: ManualClock,
    options: IntroductionOptions = {},
    peerOptions: PeerOptions = {},
  ): Promise<Member> {
    const platform = { ...systemPlatform(silentLog), clock };
    const peer = await makePeer({ ...peerOptions, platform });
    const member = new Member(peer, clock, await trustOf(peer));
    await member.plugins.install(
      definePlugin({
        name: 'verify',
        version: '1',
        tags: [INTRODUCTION],
        permissions: ['send', 'identities'],
        setup: (host) => {
          member.host = host;
          member.introducing = setUpIntroductions(host, {
            ...options,
            onReceipt: (receipt) => member.receipts.push(receipt),
          });
        },
      }),
    );
    return member;
  }

  get aci(): Aci {
    return this.peer.aci;
  }

  get key(): Bytes {
    return fromBase64(this.peer.account.identity.publicKey);
  }

  /** Runs what the plugin does of its own accord, and its handlers, until `stop`. */
  start(): void {
    const { signal } = this.#stop;
    this.#running = Promise.all([this.#dispatcher.run(signal), this.plugins.run(signal)]);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** As after a run in which the other has said whether they may be introduced. */
  async verify(other: Member, proof: Partial<Extract<Evidence, { kind: 'pake' }>> = {}): Promise<void> {
    await this.prove(other, {
      ...{ kind: 'pake', runId: '00'.repeat(16), vh: '11'.repeat(32), role: 'A', suite: 1, codeFormat: 1 },
      ...{ device: 2, mayBeIntroduced: true, at: this.clock.now() },
      ...proof,
    });
  }

  async prove(other: Member, proof: Proof, key = other.key): Promise<void> {
    await this.host.update(({ trust }) => trust.identities.pin(other.aci, key, proof));
  }

  /** A key came with a message, or from the directory. */
  async see(other: Member, key = other.key): Promise<void> {
    await this.host.update(async () => {
      const batch = this.peer.store.batch();
      await this.peer.identities.save(batch, other.aci, key);
      await batch.commit();
      this.trust.desk.committed(batch);
    });
  }

  contact(other: Member): Promise<ContactIdentity> {
    return this.host.trust.get(other.aci);
  }

  async state(other: Member): Promise<string> {
    return (await this.contact(other)).state;
  }

  act<T = object>(
    name: string,
    call: { contact?: Member; contacts?: Member[]; input?: object } = {},
  ): Promise<T> {
    return this.plugins.acts.run('verify', name, {
      contact: call.contact?.aci,
      contacts: (call.contacts ?? []).map(({ aci }) => aci),
      input: (call.input ?? {}) as Record<string, unknown>,
      signal: this.#stop.signal,
      tell: () => undefined,
    }) as Promise<T>;
  }

  list(): Promise<Introductions> {
    return this.act('introductions');
  }

  /** Writes as the plugin does. */
  update<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.host.update(work);
  }

  /** What waits to be sent, taken out of the outbox. */
  async sent(): Promise<Letter[]> {
    const batch = this.peer.store.batch();
    const letters: (Letter & { readonly timestamp: number })[] = [];
    for await (const [, { recipient, timestamp, content: bytes }] of outboxRows.scan(this.peer.store)) {
      const content = decodeContent(bytes);
      if (content.kind !== 'app' || content.tag !== INTRODUCTION.tag) continue;
      letters.push({ to: parseAci(recipient), payload: content.payload, timestamp });
      outboxRows.delete(batch, recipient, timestamp);
    }
    await batch.commit();
    return letters.sort((a, b) => a.timestamp - b.timestamp);
  }

  /** Hands over a statement; it came from `bearer`, in a session under that key. */
  async receive(bearer: Member, payload: Uint8Array): Promise<Receipt | undefined> {
    const { store } = this.peer;
    const id = ++this.#last;
    const timestamp = T0 + id;
    const before = this.receipts.length;
    const batch = store.batch();
    const row = {
      ...{ source: bearer.aci, sourceDevice: 2, timestamp, serverTimestamp: timestamp, sealed: true },
      ...{ toPni: false, content: encodeApp(INTRODUCTION.tag, payload), attempts: 0, retryAt: 0 },
      ...{ error: '', plugin: '', receivedAt: timestamp, identityKey: bearer.key },
    };
    inboxRows.put(batch, id, row);
    this.#dispatcher.offer(id, row);
    await batch.commit();
    await this.#dispatcher.idle();
    return this.receipts.slice(before).at(-1);
  }

  /** Hands what waits to whom it is for. @returns what became of it, in order */
  async post(...members: readonly Member[]): Promise<(Receipt | undefined)[]> {
    const receipts = [];
    for (const { to, payload } of await this.sent()) {
      const member = members.find(({ aci }) => aci === to);
      if (member !== undefined) receipts.push(await member.receive(this, payload));
    }
    return receipts;
  }
}

/** Each verifies the other. */
export async function verifyEachOther(a: Member, ...others: readonly Member[]): Promise<void> {
  for (const other of others) {
    await a.verify(other);
    await other.verify(a);
  }
}
