/**
 * One side of runs without a server: the parts of the plugin on the host of a store in memory. Who is on the other side is a
 * `Party`; what would be received is handed over, and what would be sent waits in the outbox.
 */
import { decodeFrame, type FrameType } from '../../../../plugins/verify/messages/frame.ts';
import { decodeSlot } from '../../../../plugins/verify/machine/row.ts';
import { EMPTY_SLOT, type Slot } from '../../../../plugins/verify/machine/slot.ts';
import { setUpSignal } from '../../../../plugins/verify/signal/plugin.ts';
import { FRAME } from '../../../../plugins/verify/signal/tags.ts';
import type { Aci } from '../../../../src/address.ts';
import { toBase64, type Bytes } from '../../../../src/bytes.ts';
import { offlinePlugins } from '../../../../src/bot/offline-host.ts';
import { decodeContent } from '../../../../src/content/content.ts';
import { encodeText } from '../../../../src/content/encode.ts';
import type { AppFields } from '../../../../src/router.ts';
import type { Context } from '../../../../src/context.ts';
import type { Act } from '../../../../src/plugin/acts.ts';
import type { Host } from '../../../../src/plugin/contract.ts';
import type { Store } from '../../../../src/store/store.ts';
import {
  contacts,
  identityRows,
  outboxRows,
  peers,
  pluginVolatile,
  sentLog,
} from '../../../../src/store/tables.ts';
import { ManualClock, settle, testPlatform } from '../../../support/clock.ts';
import { makePeer, type Peer } from '../../../support/peer.ts';
import { ENV, type Party } from '../../support/party.ts';

type FrameContext = Context & AppFields<Bytes>;

/** How a frame has come, where it is not by the session with its sender, and for the first time. */
type Arrival = Partial<Pick<FrameContext, 'attempt' | 'toPni'>> & { readonly device?: number };

export class Solo {
  readonly clock: ManualClock;
  readonly store: Store;
  /** Lines for the operator. */
  readonly lines: string[] = [];
  readonly #peer: Peer;
  readonly #acts = new Map<string, Act>();
  #handler: ((ctx: FrameContext) => unknown) | undefined;

  private constructor(peer: Peer, clock: ManualClock, store: Store) {
    this.#peer = peer;
    this.clock = clock;
    this.store = store;
  }

  /** @param watched the store as the plugin sees it */
  static async begin(watched: (store: Store) => Store = (store) => store): Promise<Solo> {
    const clock = new ManualClock();
    const peer = await makePeer({ platform: testPlatform({ clock }) });
    return Solo.#on(peer, clock, watched(peer.store));
  }

  static async #on(peer: Peer, clock: ManualClock, store: Store): Promise<Solo> {
    const solo = new Solo(peer, clock, store);
    await offlinePlugins(store, peer.platform, {
      ...{ name: 'verify', version: '0', permissions: ['send', 'sync', 'identities'] },
      setup: (host) => {
        setUpSignal(solo.#watch(host), { env: ENV });
      },
    });
    return solo;
  }

  /** The next process on the same store; nothing has happened in it yet. */
  again(): Promise<Solo> {
    return Solo.#on(this.#peer, this.clock, this.#peer.store);
  }

  get aci(): Aci {
    return this.#peer.aci;
  }

  /** Its key becomes one that is known for a day. */
  async meet(...parties: readonly Party[]): Promise<void> {
    const batch = this.store.batch();
    for (const { own } of parties) {
      const since = this.clock.now() - 86_400_000;
      identityRows.put(batch, own.aci, { key: toBase64(own.identityKey), state: 'tofu', since });
    }
    await batch.commit();
  }

  /** A text of ours went to them. */
  async answer(...parties: readonly Party[]): Promise<void> {
    const sentAt = this.clock.now();
    const content = encodeText('hello', sentAt);
    const batch = this.store.batch();
    for (const { own } of parties)
      sentLog.put(batch, own.aci, sentAt, { content, sentAt, devices: [2], urgent: true, tag: '' });
    await batch.commit();
  }

  /** The account's phone has them in its list. */
  async list(party: Party, name: string): Promise<void> {
    const batch = this.store.batch();
    contacts.put(batch, party.own.aci, { name });
    await batch.commit();
  }

  /** These devices of theirs have announced what they handle; others have not. */
  async know(party: Party, tags: Readonly<Record<number, readonly string[]>>): Promise<void> {
    const devices = Object.entries(tags).map(([id, handled]) => ({
      ...{ id: Number(id), registrationId: 1, tags: handled },
    }));
    const batch = this.store.batch();
    peers.put(batch, 'aci', party.own.aci, { devices });
    await batch.commit();
  }

  async take(bytes: Bytes, from: Party, arrival: Arrival = {}): Promise<void> {
    const { aci, device, identityKey } = from.own;
    const context: Partial<FrameContext> = {
      sender: { serviceId: aci, deviceId: arrival.device ?? device },
      ...{ toPni: false, attempt: 1, ...arrival, identityKey, value: bytes },
    };
    await this.#handler?.(context as FrameContext);
  }

  /** @returns what it gives; what it tells meanwhile is heard */
  act(
    name: string,
    party: Party,
    input: object = {},
    hear: (event: object) => void = () => undefined,
  ): Promise<object> {
    const act = this.#acts.get(name);
    if (act === undefined) throw new Error(`no act ${name}`);
    const { signal } = new AbortController();
    return act({ contact: party.own.aci, input: { ...input }, signal, tell: hear });
  }

  /** Starts a run, which somebody follows. @returns the code, and what comes of it */
  async start(
    party: Party,
    hear?: (event: object) => void,
  ): Promise<{ readonly code: string; readonly end: Promise<object> }> {
    const { first, end } = await this.#begun('start', party, {}, hear);
    return { code: String((first as { code?: string }).code), end };
  }

  /** Types a code for what rings. @returns what comes of it, once REPLY is on its way */
  async enter(party: Party, code: string): Promise<{ readonly end: Promise<object> }> {
    return this.#begun('enter', party, { code });
  }

  async slot({ own: { aci } }: Party): Promise<Slot> {
    const row = await pluginVolatile.get(this.store.batch(), 'verify', `run/${aci}`);
    return (row && decodeSlot(row)) ?? EMPTY_SLOT;
  }

  async state(party: Party): Promise<string | undefined> {
    return (await this.slot(party)).run?.kind;
  }

  /** Frames of this type to this party, oldest first. */
  async sent(type: FrameType, { own: { aci } }: Party): Promise<Bytes[]> {
    await settle();
    const found: Bytes[] = [];
    for await (const [, row] of outboxRows.scan(this.store, [aci])) {
      const content = decodeContent(row.content);
      if (content.kind !== 'app' || content.tag !== FRAME.tag) continue;
      if (decodeFrame(content.payload)?.body.type === type) found.push(content.payload);
    }
    return found;
  }

  /** An act, from its first event on. */
  async #begun(
    name: string,
    party: Party,
    input: object,
    hear: (event: object) => void = () => undefined,
  ): Promise<{ readonly first: object; readonly end: Promise<object> }> {
    let begins: (event: object) => void = () => undefined;
    const first = new Promise<object>((resolve) => {
      begins = resolve;
    });
    const end = this.act(name, party, input, (event) => {
      begins(event);
      hear(event);
    });
    end.catch(() => undefined); // whoever asks for it gets it
    return { first: await Promise.race([first, end]), end };
  }

  #watch(host: Host): Host {
    return {
      ...host,
      app: (type, handler) => {
        if (type.tag === FRAME.tag) this.#handler = handler as unknown as (ctx: FrameContext) => unknown;
      },
      act: (name, act) => {
        this.#acts.set(name, act);
      },
      notify: (line) => {
        this.lines.push(line);
      },
      run: () => undefined,
    };
  }
}
