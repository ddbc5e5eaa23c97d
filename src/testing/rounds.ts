/**
 * Rounds: a ceremony of n parties in memory, for those who write a protocol. The machine is the real one, with real identity
 * keys; each party's store is what it last committed. The network between them loses, repeats and mixes up frames, and a
 * party can die before any of its commits. The clock moves whenever nothing is on its way.
 *
 * ```ts
 * const t = testRounds(coinToss, 3);
 * expect(t.outputs[2]).toEqual(t.outputs[1]);
 * ```
 */
import { EMPTY, own, toHex, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { end, open, take, tick, wakeAt } from '../rounds/ceremony.ts';
import { decodeFrame, encodeFrame, signedBytes, type Frame, type Signed } from '../rounds/frame.ts';
import { decodeProposal, encodeProposal, type Proposal } from '../rounds/proposal.ts';
import type { Protocol } from '../rounds/protocol.ts';
import { decodeRun, encodeHead } from '../rounds/run-row.ts';
import { isOpen, type Result, type Run, type Tools } from '../rounds/run.ts';
import { waitingFor } from '../rounds/waiting.ts';
import { testParties, toolsOf } from './parties.ts';
import { rewriting, type Rewrite } from './rewriting.ts';
import type { RoundsTestParty, Wire } from './rounds-view.ts';
import { SeededRandom } from './seeded-random.ts';

export type { RoundsTestParty, Wire } from './rounds-view.ts';
export type { Said } from './rewriting.ts';

export interface RoundsTestOptions<Params = unknown, Input = unknown, State = unknown, Output = unknown> {
  readonly params?: Params;
  /** What each party brings, by index. */
  readonly inputs?: Readonly<Record<number, Input>>;
  /** What is to be signed; default: nothing. */
  readonly message?: Uint8Array;
  /** Of the key; default 0. */
  readonly epoch?: number;
  /** Indices of those who are to take part, rising; default: all. */
  readonly signers?: readonly number[];
  /** Indices of those who do not come, unless `open` has them come later. */
  readonly absent?: readonly number[];
  /** How long the others are waited for, and then each round, ms; default 600,000. More, in bad weather. */
  readonly waitMs?: number;
  /** How long it is let run, ms of its own clock; default: until it has ended at all. `settle` has it go on. */
  readonly ms?: number;
  /** The same seed gives the same ceremony, as far as the protocol draws from `setting.random` alone. */
  readonly seed?: string | number;
  /** How many of the frames are lost: 0 to 1. */
  readonly loss?: number;
  /** How many of them come again: 0 to below 1, together with `death`. */
  readonly twice?: number;
  /** How many of the commits are not reached, as the party dies before; the frame comes again. */
  readonly death?: number;
  /** Frames come in any order. */
  readonly mixes?: boolean;
  /** What single parties run instead, by index: cheats. */
  readonly protocols?: Readonly<Record<number, Protocol<Params, Input, State, Output>>>;
  /** What a cheat says in the place of what its protocol makes, rightly signed: the same to all, and confirmed by all. */
  readonly rewrite?: Rewrite;
  /** Changes, multiplies or swallows what goes over the network; `withBody` tells one party something else. */
  readonly tamper?: (wire: Wire, test: RoundsTest<Params, Input, State, Output>) => readonly Wire[];
}

/** What has to be said of a protocol's parameters and inputs: nothing where `undefined` is one. */
type Needed<Params, Input> = (undefined extends Params ? unknown : { readonly params: Params }) &
  (undefined extends Input ? unknown : { readonly inputs: Readonly<Record<number, Input>> });

interface Member<Output> {
  readonly tools: Tools;
  head: Bytes | undefined;
  slots: ReadonlyMap<string, Bytes>;
  held: Output | undefined;
  output: { readonly value: Output } | undefined;
}

/**
 * Runs a ceremony of the parties 1 to n: all who are to take part and are not absent open it, and it goes on until it has
 * ended at all of them, or `ms` is over.
 * @throws BotError `USAGE` when the protocol's `check` or the options do not have it; `GROUP_INVALID` unless n is 1 to 64;
 * `PLUGIN_FAILED` when the protocol throws before there is a ceremony (after that see `faults`)
 */
export function testRounds<Params, Input, State, Output>(
  protocol: Protocol<Params, Input, State, Output>,
  n: number,
  ...[options]: object extends Needed<Params, Input>
    ? [options?: RoundsTestOptions<Params, Input, State, Output>]
    : [options: RoundsTestOptions<Params, Input, State, Output> & Needed<Params, Input>]
): RoundsTest<Params, Input, State, Output> {
  const test = new RoundsTest(protocol, n, options);
  test.openAll();
  test.settle(options?.ms);
  return test;
}

/** What `testRounds` gives. Indices are those of the parties, 1 to n; an index that there is not is `USAGE`. */
export class RoundsTest<Params = unknown, Input = unknown, State = unknown, Output = unknown> {
  /** ms */
  now = 1_700_000_000_000;
  readonly proposal: Proposal;
  /** What is on its way; a test may add to it. */
  readonly wires: Wire[] = [];
  /** Everything that was ever committed to be sent. */
  readonly sent: Wire[] = [];
  /** What protocols have thrown. The others only hear that one has failed. */
  readonly faults: unknown[] = [];
  /** How often time has passed. */
  ticks = 0;
  readonly #protocol: Protocol<Params, Input, State, Output>;
  readonly #members = new Map<number, Member<Output>>();
  readonly #random: SeededRandom;
  readonly #options: RoundsTestOptions<Params, Input, State, Output>;
  readonly #places = new Map<string, string>();

  /** Nobody has opened it yet. Errors are those of `testRounds`. */
  constructor(
    protocol: Protocol<Params, Input, State, Output>,
    n: number,
    options: RoundsTestOptions<Params, Input, State, Output> = {},
  ) {
    const { signers = Array.from({ length: n }, (_, i) => i + 1), twice = 0, death = 0 } = options;
    if (twice + death >= 1) throw new BotError('USAGE', 'it might never end: `twice` and `death` are below 1 together'); // prettier-ignore
    if (options.waitMs === Infinity) throw new BotError('USAGE', 'it might never end: `waitMs` is finite');
    const seed = String(options.seed ?? 'sim');
    const parties = testParties(n, seed);
    this.#protocol = protocol;
    this.#options = options;
    this.#random = new SeededRandom(seed);
    const proposal = {
      protocol: protocol.name,
      version: protocol.version,
      params: own(protocol.params.encode(options.params as Params)),
      message: own(options.message ?? EMPTY),
      epoch: options.epoch ?? 0,
      parties: parties.set,
      signers,
    };
    this.proposal = decodeProposal(encodeProposal(proposal));
    for (const { index } of parties.set) {
      const runs = options.protocols?.[index] ?? protocol;
      const random = new SeededRandom(`${seed} ${String(index)}`);
      const { rewrite } = options;
      const tools = toolsOf(parties, index, rewrite === undefined ? runs : rewriting(runs, rewrite), random);
      const nothing = { head: undefined, slots: new Map(), held: undefined, output: undefined };
      this.#members.set(index, { tools, ...nothing });
    }
  }

  /** A party opens the ceremony. @param input that of the options, if unsaid */
  open(index: number, input: Input | undefined = this.#options.inputs?.[index]): void {
    const { waitMs = 600_000, inputs } = this.#options;
    const { tools } = this.#member(index);
    if (input === undefined && inputs !== undefined && !(index in inputs))
      throw new BotError('USAGE', `there is no input for party ${String(index)}`);
    const bytes = this.#protocol.input.encode(input as Input);
    const opening = { proposal: this.proposal, self: index, input: bytes, waitMs };
    const opened = open(tools, opening, this.now);
    Object.assign(this.#member(index), { held: undefined, output: undefined });
    this.#commit(index, opened);
  }

  /** All open it who are to take part and are not absent. */
  openAll(): void {
    const { absent = [] } = this.#options;
    for (const index of this.proposal.signers) if (!absent.includes(index)) this.open(index);
  }

  /** How a party stands that has opened the ceremony. @throws BotError `USAGE` when it has not */
  party(index: number): RoundsTestParty<Output> {
    const { phase: state, round, end, blame } = this.run(index);
    const { held, output } = this.#member(index);
    return { state, round, output: output?.value, held, end, blame, waitingFor: this.waitingFor(index) };
  }

  /** Of those who are done, by index. */
  get outputs(): Readonly<Record<number, Output>> {
    const done = [...this.#members].flatMap(([index, { output }]) => (output ? [[index, output.value]] : []));
    return Object.fromEntries(done) as Record<number, Output>;
  }

  output(index: number): Output | undefined {
    return this.#member(index).output?.value;
  }

  waitingFor(index: number): readonly number[] {
    return waitingFor(this.run(index));
  }

  /** All that a party has committed. */
  run(index: number): Run {
    const { head, slots } = this.#member(index);
    if (head === undefined) throw new BotError('USAGE', `party ${String(index)} has not opened it`);
    return decodeRun(head, slots);
  }

  /** The operator of a party ends it. @param isRefused it takes part in no other ceremony of the same proposal either */
  abort(index: number, reason: string, isRefused = false): void {
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
    return { ...content, signature: this.#member(content.sender).tools.sign(signedBytes(content)) };
  }

  /** A frame changed, as `tamper` hands it on. */
  withFrame(wire: Wire, change: (frame: Frame) => Frame): Wire {
    return { ...wire, payload: encodeFrame(change(decodeFrame(wire.payload))) };
  }

  /** A message of a round with another body, rightly signed by its sender; another frame as it is. */
  withBody(wire: Wire, body: Uint8Array): Wire {
    return this.withFrame(wire, (frame) =>
      frame.kind === 'message' ? { ...frame, ...this.sign({ ...frame, body: own(body) }) } : frame,
    );
  }

  /** Hands on what is on its way, and lets time pass whenever nothing is, until all have ended or `ms` is over. */
  settle(ms = Infinity): void {
    const until = this.now + ms;
    for (;;) {
      while (this.wires.length > 0) this.#deliver();
      const going = [...this.#members].filter(([index, { head }]) => head && isOpen(this.run(index).phase));
      if (going.length === 0) return;
      const next = Math.min(...going.map(([index, { tools }]) => wakeAt(tools, this.run(index))));
      if (next > until) return;
      this.now = Math.max(this.now, next);
      for (const [index, { tools }] of going) this.#commit(index, tick(tools, this.run(index), this.now));
      this.ticks++;
    }
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

  #commit(index: number, { run, send, held, output, fault }: Result): void {
    if (fault !== undefined) this.faults.push(fault.error);
    const member = this.#member(index);
    member.head = encodeHead(run);
    member.slots = run.slots;
    if (held !== undefined) member.held = held.value as Output;
    if (output !== undefined) {
      if (member.output !== undefined) throw new Error('a ceremony has given its output twice');
      member.output = { value: output.value as Output };
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

  #member(index: number): Member<Output> {
    const found = this.#members.get(index);
    if (found === undefined) throw new BotError('USAGE', `there is no party ${String(index)}`);
    return found;
  }
}
