/**
 * Rounds: a ceremony of n parties in memory. Each has a real identity key and a store that is what it last committed; the
 * network between them loses, repeats and mixes up frames, and a party can die before any of its commits.
 */
import { PrivateKey } from '@signalapp/libsignal-client';
import { createHash } from 'node:crypto';
import type { Aci } from '../../src/address.ts';
import { own, toHex, type Bytes } from '../../src/bytes.ts';
import type { Random } from '../../src/platform.ts';
import { end, open, take, tick, wakeAt } from '../../src/rounds/ceremony.ts';
import { decodeFrame, encodeFrame, signedBytes, type Frame, type Signed } from '../../src/rounds/frame.ts';
import { partySet, type PartySet } from '../../src/rounds/party-set.ts';
import type { Proposal } from '../../src/rounds/proposal.ts';
import type { Protocol } from '../../src/rounds/protocol.ts';
import { decodeRun, encodeHead } from '../../src/rounds/run-row.ts';
import type { Result, Run, Tools } from '../../src/rounds/run.ts';
import { waitingFor } from '../../src/rounds/waiting.ts';

/** Random bytes that are the same each time the test runs. */
export class SeededRandom implements Random {
  readonly #seed: string;
  #count = 0;

  constructor(seed: string) {
    this.#seed = seed;
  }

  bytes(length: number): Bytes {
    const blocks = Array.from({ length: Math.ceil(length / 32) }, () =>
      createHash('sha256')
        .update(`${this.#seed} ${String(this.#count++)}`)
        .digest(),
    );
    return new Uint8Array(Buffer.concat(blocks).subarray(0, length));
  }

  /** 0 to below 1. */
  fraction(): number {
    return new DataView(this.bytes(4).buffer).getUint32(0) / 0x1_0000_0000;
  }

  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }
}

export interface Wire {
  readonly from: number;
  readonly to: number;
  readonly payload: Bytes;
}

export interface Weather {
  /** Of 1: how many frames are lost, come twice, and how many commits are not reached. */
  readonly loss?: number;
  readonly twice?: number;
  readonly death?: number;
  /** Frames come in any order. */
  readonly mixes?: boolean;
}

export interface Ceremony extends Weather {
  readonly seed?: string;
  readonly message?: Bytes;
  readonly epoch?: number;
  readonly signers?: readonly number[];
  readonly waitMs?: number;
  /** What single parties run instead. */
  readonly protocols?: Readonly<Record<number, Protocol>>;
  /** Changes, multiplies or swallows what goes over the network. */
  readonly tamper?: (wire: Wire, sim: RoundsSim) => readonly Wire[];
}

interface Member {
  readonly key: PrivateKey;
  readonly tools: Tools;
  head: Bytes | undefined;
  slots: ReadonlyMap<string, Bytes>;
  output: unknown;
  outputs: number;
}

/** Parties 1 to n, with their keys. */
export function testParties(n: number): { readonly set: PartySet; readonly keys: readonly PrivateKey[] } {
  const members = Array.from({ length: n }, (_, i) => {
    const key = PrivateKey.generate();
    const aci = `00000000-0000-4000-8000-${String(i + 1).padStart(12, '0')}` as Aci;
    return { key, party: { aci, deviceId: 2, identityKey: key.getPublicKey().serialize() } };
  });
  return { set: partySet(members.map(({ party }) => party)), keys: members.map(({ key }) => key) };
}

export class RoundsSim {
  now = 1_700_000_000_000;
  readonly proposal: Proposal;
  readonly wires: Wire[] = [];
  /** Everything that was ever committed to be sent. */
  readonly sent: Wire[] = [];
  /** What protocols have thrown. */
  readonly faults: unknown[] = [];
  /** How often one was looked at because its time had come. */
  ticks = 0;
  readonly #members = new Map<number, Member>();
  readonly #random: SeededRandom;
  readonly #options: Ceremony;
  readonly #places = new Map<string, string>();

  /** @param protocol is handed to every party; its types do not matter here */
  constructor(protocol: Protocol, n: number, params: Uint8Array, options: Ceremony = {}) {
    const { seed = 'sim', signers = Array.from({ length: n }, (_, i) => i + 1) } = options;
    const { set, keys } = testParties(n);
    this.#options = options;
    this.#random = new SeededRandom(seed);
    this.proposal = {
      protocol: protocol.name,
      version: protocol.version,
      params: own(params),
      message: options.message ?? new Uint8Array(0),
      epoch: options.epoch ?? 0,
      parties: set,
      signers,
    };
    for (const [i, key] of keys.entries()) {
      const tools: Tools = {
        protocol: options.protocols?.[i + 1] ?? protocol,
        random: new SeededRandom(`${seed} ${String(i + 1)}`),
        sign: (bytes) => own(key.sign(bytes)),
        verify: (identityKey, bytes, signature) =>
          keys[set.findIndex((party) => toHex(party.identityKey) === toHex(identityKey))]
            ?.getPublicKey()
            .verify(bytes, signature) ?? false,
      };
      this.#members.set(i + 1, {
        key,
        tools,
        head: undefined,
        slots: new Map(),
        output: undefined,
        outputs: 0,
      });
    }
  }

  open(index: number, input: Uint8Array = new Uint8Array(0)): void {
    const { waitMs = 600_000 } = this.#options;
    const { tools } = this.#member(index);
    this.#commit(index, open(tools, { proposal: this.proposal, self: index, input, waitMs }, this.now));
  }

  openAll(inputs: Readonly<Record<number, Uint8Array>> = {}): void {
    for (const index of this.proposal.signers) this.open(index, inputs[index]);
  }

  run(index: number): Run {
    const { head, slots } = this.#member(index);
    if (head === undefined) throw new Error(`party ${String(index)} has not begun`);
    return decodeRun(head, slots);
  }

  output(index: number): unknown {
    return this.#member(index).output;
  }

  waitingFor(index: number): readonly number[] {
    return waitingFor(this.run(index));
  }

  /** @param isRefused for good, as an operator does */
  end(index: number, reason: string, isRefused = false): void {
    this.#commit(index, end(this.run(index), reason, this.now, isRefused));
  }

  /** The time of one party is over, and of no other. */
  lapse(index: number): void {
    const run = this.run(index);
    this.#commit(index, tick(this.#member(index).tools, run, run.deadlineAt));
  }

  /** A party's data is gone: it knows of no ceremony. */
  forget(index: number): void {
    this.#member(index).head = undefined;
  }

  /** Signs as this party would: for parties that cheat. */
  sign(content: Omit<Signed, 'signature'>): Signed {
    return { ...content, signature: own(this.#member(content.sender).key.sign(signedBytes(content))) };
  }

  /** A frame as it goes over the network, changed. */
  rewrite(wire: Wire, change: (frame: Frame) => Frame): Wire {
    return { ...wire, payload: encodeFrame(change(decodeFrame(wire.payload))) };
  }

  /** Hands on what is on its way, and lets time pass whenever nothing is, until all have ended or `ms` is over. */
  settle(ms = 3_600_000): void {
    const until = this.now + ms;
    for (;;) {
      while (this.wires.length > 0) this.#deliver();
      const open_ = [...this.#members].filter(([index]) => this.#isOpen(index));
      if (open_.length === 0) return;
      const next = Math.min(...open_.map(([index, { tools }]) => wakeAt(tools, this.run(index))));
      if (next > until) return;
      this.now = Math.max(this.now, next);
      for (const [index, { tools }] of open_) this.#commit(index, tick(tools, this.run(index), this.now));
      this.ticks++;
    }
  }

  #isOpen(index: number): boolean {
    if (this.#member(index).head === undefined) return false;
    const { phase } = this.run(index);
    return phase === 'gathering' || phase === 'running';
  }

  #deliver(): void {
    const { loss = 0, twice = 0, death = 0, mixes = false } = this.#options;
    const at = mixes ? this.#random.below(this.wires.length) : 0;
    const [wire] = this.wires.splice(at, 1);
    if (wire === undefined || this.#member(wire.to).head === undefined) return;
    if (this.#random.fraction() < loss) return;
    const { tools } = this.#member(wire.to);
    const result = take(tools, this.run(wire.to), wire.from, decodeFrame(wire.payload), this.now);
    // Dead before the commit: nothing of it has happened, and the message comes again.
    if (this.#random.fraction() < death) this.wires.push(wire);
    else this.#commit(wire.to, result);
    if (this.#random.fraction() < twice) this.wires.push(wire);
  }

  #commit(index: number, { run, send, output, fault }: Result): void {
    if (fault !== undefined) this.faults.push(fault.error);
    const member = this.#member(index);
    member.head = encodeHead(run);
    member.slots = run.slots;
    if (output !== undefined) {
      member.output = output.value;
      member.outputs++;
      if (member.outputs > 1) throw new Error('a ceremony has given its output twice');
    }
    for (const { to, payload } of send) {
      const wire = { from: index, to, payload };
      this.#watch(wire);
      this.sent.push(wire);
      this.wires.push(...(this.#options.tamper?.(wire, this) ?? [wire]));
    }
  }

  /** No honest party ever sends two different messages from one place. */
  #watch({ from, payload }: Wire): void {
    const frame = decodeFrame(payload);
    if (frame.kind !== 'message') return;
    const place = `${toHex(frame.id)} ${String(frame.round)} ${String(from)} ${String(frame.recipient)}`;
    const known = this.#places.get(place);
    if (known !== undefined && known !== toHex(payload)) throw new Error('two messages for one place');
    this.#places.set(place, toHex(payload));
  }

  #member(index: number): Member {
    const found = this.#members.get(index);
    if (found === undefined) throw new Error(`there is no party ${String(index)}`);
    return found;
  }
}
