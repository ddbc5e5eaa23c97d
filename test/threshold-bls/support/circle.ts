/**
 * A circle: parties with the plugin's protocols on the real runtime, router, dispatcher and trust, with a network between
 * them that a test bends. A party that dies starts again on what was durable, and what it had not acked comes again.
 */
import { own, toBase64, toHex, type Bytes } from '../../../src/bytes.ts';
import { decodeContent } from '../../../src/content/content.ts';
import { signedBytes, type Signed } from '../../../src/rounds/frame.ts';
import {
  decodeFrame,
  encodeFrame,
  partySet,
  type CeremonyView,
  type Entry,
  type Frame,
  type OpenRequest,
  type PartySet,
} from '../../../src/rounds/index.ts';
import { LABEL } from '../../../src/rounds/runtime.ts';
import { openMemory } from '../../../src/store/memory.ts';
import type { Store } from '../../../src/store/store.ts';
import { outboxRows } from '../../../src/store/tables.ts';
import { ManualClock, settle } from '../../../src/testing/clock.ts';
import { ownKeyOf } from '../../../src/trust/own-key.ts';
import { acts, entries } from '../../../plugins/threshold-bls/ceremonies.ts';
import {
  encodePoints,
  publicKeyOf,
  sharingOf,
  type KeyShare,
} from '../../../plugins/threshold-bls/key-share.ts';
import type { KeyLine } from '../../../plugins/threshold-bls/keys.ts';
import { keygen, refresh } from '../../../plugins/threshold-bls/keygen.ts';
import { sharesOf, type HeldShare } from '../../../plugins/threshold-bls/shares.ts';
import { sign } from '../../../plugins/threshold-bls/sign.ts';
import type { Peer } from '../../support/peer.ts';
import { RoundsMember } from '../../support/rounds-member.ts';
import { FaultyStore, type Fault } from '../../support/store-faults.ts';
import type { Left } from './group.ts';

/** A frame on its way; from and to are places in the circle. */
export interface Parcel {
  readonly from: number;
  readonly to: number;
  readonly frame: Frame;
}

/** Rows of each party's store. */
export type Snapshot = readonly {
  readonly peer: Peer;
  readonly rows: readonly (readonly [string, Bytes])[];
}[];

/** A party whose store fails, and how it starts again. */
interface Mortal {
  readonly store: FaultyStore;
  readonly struck: Promise<'struck'>;
}

export class Circle {
  readonly clock: ManualClock;
  readonly members: RoundsMember[] = [];
  /** Of each party, in all its lives. */
  readonly left: Left[][] = [];
  readonly #entries: (at: number) => readonly Entry[];
  readonly #inner: Store[] = [];
  #mortal: Mortal | undefined;
  /** Of the first party. */
  deaths = 0;

  private constructor(clock: ManualClock, entriesOf: (at: number) => readonly Entry[]) {
    this.clock = clock;
    this.#entries = entriesOf;
  }

  /** @param entriesOf what each of them runs; others than the plugin's for one that cheats */
  static async start(
    count: number,
    entriesOf: (at: number) => readonly Entry[] = () => entries(),
    before?: Snapshot,
  ): Promise<Circle> {
    const circle = new Circle(new ManualClock(), entriesOf);
    for (let at = 0; at < count; at++) {
      const store = openMemory();
      const kept = before?.[at];
      const batch = store.batch();
      for (const [key, value] of kept?.rows ?? []) batch.put(key, value);
      await batch.commit();
      const peer = kept === undefined ? undefined : { peer: kept.peer, store };
      const member = await RoundsMember.start(circle.clock, entriesOf(at), peer);
      circle.members.push(member);
      circle.left.push([]);
      circle.#inner.push(member.peer.store);
    }
    if (before === undefined) {
      for (const member of circle.members)
        for (const other of circle.members) if (other !== member) await member.verify(other);
    }
    for (const member of circle.members) await member.sent();
    return circle;
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.stop()));
  }

  async snapshot(): Promise<Snapshot> {
    return Promise.all(
      this.#inner.map(async (store, at) => {
        const rows: (readonly [string, Bytes])[] = [];
        for await (const row of store.scan('')) rows.push(row);
        return { peer: this.member(at).peer, rows };
      }),
    );
  }

  member(at: number): RoundsMember {
    const found = this.members[at];
    if (found === undefined) throw new Error(`there is no member ${String(at)}`);
    return found;
  }

  /** By index, which is not the order here. */
  get parties(): PartySet {
    return partySet(this.members.map(({ party }) => party));
  }

  indexOf(at: number): number {
    const { aci } = this.member(at).party;
    return this.parties.findIndex((party) => party.aci === aci) + 1;
  }

  /** From now on the first party's store has this fault. @returns it */
  async arm(fault?: Fault): Promise<FaultyStore> {
    let strike: () => void = () => undefined;
    const struck = new Promise<'struck'>((resolve) => {
      strike = () => {
        resolve('struck');
      };
    });
    const store = new FaultyStore(this.#innerOf(0), undefined, strike);
    await this.#restart(0, store);
    if (fault !== undefined) store.arm(fault);
    this.#mortal = { store, struck };
    return store;
  }

  /** Everybody, or those named, open the same. @returns the topic */
  async open(
    request: (at: number) => OpenRequest<unknown, unknown> | Promise<OpenRequest<unknown, unknown>>,
    which: readonly number[] = this.members.map((_, at) => at),
  ): Promise<string> {
    let topic = '';
    for (const at of which)
      topic =
        (await this.#surviving(at, async () => this.member(at).rounds.open(await request(at)))) ?? topic;
    return topic;
  }

  /** What a party's operator asks for. */
  async act(
    at: number,
    name: string,
    input: object = {},
    tell: (event: object) => void = () => undefined,
  ): Promise<object> {
    const { host, rounds } = this.member(at);
    const found = acts(host, rounds)[name];
    if (found === undefined) throw new Error(`there is no ${name}`);
    const { signal } = new AbortController();
    return found({ contact: undefined, input: { ...input }, tell, signal });
  }

  async keys(at: number): Promise<readonly KeyLine[]> {
    return ((await this.act(at, 'keys')) as { keys: KeyLine[] }).keys;
  }

  /** A group file of these. */
  group(which: readonly number[] = this.members.map((_, at) => at)): string {
    const lines = which.map((at) => {
      const { aci, deviceId, identityKey } = this.member(at).party;
      return JSON.stringify({ aci, deviceId, identityKey: toBase64(identityKey) });
    });
    return lines.join('\n');
  }

  keygenRequest(threshold = 1): OpenRequest<unknown, unknown> {
    return { protocol: keygen.name, params: { threshold }, input: undefined, parties: this.parties };
  }

  refreshRequest(share: KeyShare): OpenRequest<unknown, unknown> {
    const { threshold, commitments, epoch } = share;
    const params = { threshold, commitments: encodePoints(commitments) };
    return { protocol: refresh.name, params, input: share, parties: this.parties, epoch };
  }

  /** @param signers places */
  signRequest(
    share: KeyShare,
    signers: readonly number[],
    message: Bytes,
    epoch = share.epoch,
  ): OpenRequest<unknown, unknown> {
    const params = {
      threshold: share.threshold,
      publicKey: publicKeyOf(share),
      sharing: sharingOf(share),
    };
    const who = signers.map((at) => this.indexOf(at));
    return { protocol: sign.name, params, input: share, parties: this.parties, signers: who, message, epoch };
  }

  /** A key of them all, made without trouble. @returns its public key, hex */
  async key(threshold = 1): Promise<string> {
    const topic = await this.open(() => this.keygenRequest(threshold));
    await this.exchange();
    const keys = await Promise.all(
      this.members.map(async (member) => (await member.host.update(({ volatile }) => volatile.get(`key-of/${topic}`))) ?? own(new Uint8Array(0))), // prettier-ignore
    );
    if (new Set(keys.map(toHex)).size !== 1) throw new Error('they have different keys');
    return toHex(keys[0] ?? new Uint8Array(0));
  }

  /** Newest first. */
  shares(at: number, publicKey: string): Promise<readonly HeldShare[]> {
    return this.member(at).host.update((tx) => sharesOf(tx, publicKey));
  }

  async share(at: number, publicKey: string): Promise<KeyShare> {
    const [newest] = await this.shares(at, publicKey);
    if (newest === undefined) throw new Error('it has no share');
    return newest.share;
  }

  async view(at: number, topic: string): Promise<CeremonyView> {
    const found = await this.member(at).rounds.show(topic);
    if (found === undefined) throw new Error(`party ${String(at)} has no such ceremony`);
    return found;
  }

  views(topic: string): Promise<CeremonyView[]> {
    return Promise.all(this.members.map((_, at) => this.view(at, topic)));
  }

  /** Hands on what waits, until nothing does. @param bend what becomes of each frame */
  async exchange(bend: (parcel: Parcel) => readonly Parcel[] = (parcel) => [parcel]): Promise<void> {
    for (let isQuiet = false; !isQuiet;) {
      isQuiet = true;
      for (const [from] of this.members.entries()) {
        for (const parcel of await this.#take(from)) {
          isQuiet = false;
          for (const bent of bend(parcel)) await this.deliver(bent);
        }
      }
      await settle();
    }
  }

  async deliver({ from, to, frame }: Parcel): Promise<void> {
    await this.#surviving(to, () => this.member(to).receive(this.member(from), encodeFrame(frame)));
  }

  /** Signs as this party would. */
  signed(at: number, content: Omit<Signed, 'signature'>): Signed {
    const { account } = this.member(at).peer;
    const signature = ownKeyOf(account).sign(LABEL, signedBytes(content));
    return { ...content, signature };
  }

  /** Not a step of the party: the server has it. */
  async #take(from: number): Promise<Parcel[]> {
    const store = this.#innerOf(from);
    const batch = store.batch();
    const parcels: Parcel[] = [];
    for await (const [, row] of outboxRows.scan(store)) {
      outboxRows.delete(batch, row.recipient, row.timestamp);
      const content = row.kind === 'app' ? decodeContent(row.content) : undefined;
      if (content?.kind !== 'app') continue;
      const frame = decodeFrame(content.payload);
      this.left[from]?.push({ to: row.recipient, frame, payload: toHex(content.payload) });
      const to = this.members.findIndex(({ peer }) => peer.aci === row.recipient);
      if (to >= 0) parcels.push({ from, to, frame });
    }
    await batch.commit();
    return parcels;
  }

  /** The same again where the party dies of it. */
  async #surviving<T>(at: number, work: () => Promise<T>): Promise<T | undefined> {
    const mortal = at === 0 ? this.#mortal : undefined;
    if (mortal === undefined) return work();
    const end = await Promise.race([
      work().then(
        (value) => ({ value }),
        (error: unknown) => ({ error }),
      ),
      mortal.struck,
    ]);
    if (end !== 'struck' && 'value' in end && !mortal.store.struck) return end.value;
    if (end !== 'struck' && 'error' in end && !mortal.store.struck) throw end.error;
    this.deaths++;
    this.#mortal = undefined;
    await this.#restart(0, this.#innerOf(0));
    return work();
  }

  async #restart(at: number, store: Store): Promise<void> {
    const { peer } = this.member(at);
    await this.member(at).stop();
    this.members[at] = await RoundsMember.start(this.clock, this.#entries(at), { peer, store });
  }

  #innerOf(at: number): Store {
    const found = this.#inner[at];
    if (found === undefined) throw new Error(`there is no member ${String(at)}`);
    return found;
  }
}
