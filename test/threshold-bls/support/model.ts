/**
 * A model of ceremonies of BLS parties: the real machines, rows and signatures, and a network that a test decides about frame
 * by frame. What was computed once is not computed again, so that thousands of patterns can be played from one moment on.
 */
import { own, toHex, type Bytes } from '../../../src/bytes.ts';
import type { State } from '../../../src/index.ts';
import { systemPlatform } from '../../../src/platform.ts';
import { open, take, tick, type Opening } from '../../../src/rounds/ceremony.ts';
import { decodeFrame, type Frame } from '../../../src/rounds/frame.ts';
import type { Proposal } from '../../../src/rounds/proposal.ts';
import type { Protocol } from '../../../src/rounds/protocol.ts';
import { isOpen, type Result, type Run, type Tools } from '../../../src/rounds/run.ts';
import type { KeyShare } from '../../../plugins/threshold-bls/key-share.ts';
import { holdShare, settleShare, type Rows } from '../../../plugins/threshold-bls/shares.ts';
import { testParties } from '../../../src/testing/parties.ts';

export interface Wire {
  readonly from: number;
  readonly to: number;
  readonly frame: Frame;
}

const { random } = systemPlatform();

/** Who they are: the same in all models. */
export const { set: PARTIES, keys: KEYS } = testParties(3);
const verified = new Map<string, boolean>();

/** The same protocol, which does not work out again what it has. */
export function remembering(protocol: Protocol): Protocol {
  const states = new WeakMap<Uint8Array, unknown>();
  const outputs = new Map<string, unknown>();
  const params = new Map<string, unknown>();
  const steps = new Map<string, ReturnType<Protocol['step']>>();
  const recall = <K, V>(map: { get(key: K): V | undefined; set(key: K, value: V): unknown }, key: K, make: () => V): V => {
    const known = map.get(key) ?? make();
    map.set(key, known);
    return known;
  }; // prettier-ignore
  const decode = (bytes: Bytes): unknown =>
    recall(outputs, toHex(bytes), () => protocol.output.decode(bytes));
  return {
    ...protocol,
    state: {
      encode: (state) => protocol.state.encode(state),
      decode: (bytes) => recall(states, bytes, () => protocol.state.decode(bytes)),
    },
    output: { encode: (output) => protocol.output.encode(output), decode },
    params: {
      encode: (value) => protocol.params.encode(value),
      decode: (bytes) => recall(params, toHex(bytes), () => protocol.params.decode(bytes)),
    },
    step: (setting, state, messages) => {
      const seen = [...messages].map(([from, { broadcast, private: mine }]) =>
        [from, toHex(broadcast ?? new Uint8Array(0)), toHex(mine ?? new Uint8Array(0))].join(),
      );
      const key = [toHex(setting.id), setting.self, setting.round, ...seen].join(' ');
      return recall(steps, key, () => {
        const step = protocol.step(setting, state, messages);
        // Its points are as read from bytes: these are written fast.
        return step.kind === 'done'
          ? { ...step, output: decode(own(protocol.output.encode(step.output))) }
          : step;
      });
    },
  };
}

/** One party: its ceremonies by topic, and its shares. */
export class ModelParty {
  readonly index: number;
  runs = new Map<string, Run>();
  rows = new Map<string, Bytes>();
  outputs = new Map<string, unknown>();
  readonly #protocols: readonly Protocol[];

  constructor(index: number, protocols: readonly Protocol[]) {
    this.index = index;
    this.#protocols = protocols;
  }

  copy(): ModelParty {
    const party = new ModelParty(this.index, this.#protocols);
    [party.runs, party.rows] = [new Map(this.runs), new Map(this.rows)];
    return party;
  }

  get state(): State {
    return stateOver(this.rows);
  }

  /** Its ceremonies are not in rows. */
  get stored(): Rows {
    return { state: this.state, volatile: stateOver(new Map()) };
  }

  /** EPOCH/SHARING of each share. */
  get shares(): string[] {
    return [...this.rows.keys()].map((key) => key.split('/').slice(2).join('/')).sort();
  }

  tools(name: string): Tools {
    const protocol = this.#protocols.find((known) => known.name === name);
    if (protocol === undefined) throw new Error(`${name} is not known`);
    return {
      protocol,
      random,
      sign: (bytes) => own(KEYS[this.index - 1]?.sign(bytes) ?? bytes),
      verify: (identityKey, bytes, signature) => {
        const key = toHex(signature);
        const at = PARTIES.findIndex((party) => toHex(party.identityKey) === toHex(identityKey));
        const known = verified.get(key) ?? KEYS[at]?.getPublicKey().verify(bytes, signature) ?? false;
        verified.set(key, known);
        return known;
      },
    };
  }

  /** Commits what a step has led to. @returns what leaves */
  async commit({ run, send, held, output }: Result): Promise<Wire[]> {
    const { topic, proposal } = run;
    this.runs.set(topic, run);
    const made = (value: unknown): Parameters<typeof holdShare>[1] => ({
      share: value as KeyShare,
      parties: proposal.parties,
      topic,
    });
    const isShare = !proposal.protocol.endsWith('sign');
    if (held !== undefined) await holdShare(this.state, made(held.value));
    if (output !== undefined && isShare) await settleShare(this.state, made(output.value));
    if (output !== undefined) this.outputs.set(topic, output.value);
    return send.map(({ to, payload }) => ({ from: this.index, to, frame: decodeFrame(payload) }));
  }
}

export class Model {
  now = 1_700_000_000_000;
  parties: ModelParty[];
  wires: Wire[] = [];
  /** Kept back for later. */
  kept: Wire[] = [];
  /** What becomes of a frame. */
  fate: (wire: Wire) => 'arrives' | 'is lost' | 'is kept' = () => 'arrives';

  constructor(protocols: readonly Protocol[]) {
    this.parties = PARTIES.map(({ index }) => new ModelParty(index, protocols));
  }

  /** All that is now, to be played on from; what was kept back is on its way. */
  fork(): Model {
    const model = new Model([]);
    model.now = this.now;
    model.parties = this.parties.map((party) => party.copy());
    model.wires = [...this.wires, ...this.kept];
    return model;
  }

  party(index: number): ModelParty {
    const found = this.parties[index - 1];
    if (found === undefined) throw new Error(`there is no party ${String(index)}`);
    return found;
  }

  async open(index: number, proposal: Proposal, input: Uint8Array, waitMs = 600_000): Promise<string> {
    const party = this.party(index);
    const opening: Opening = { proposal, self: index, input, waitMs };
    const result = open(party.tools(proposal.protocol), opening, this.now);
    this.wires.push(...(await party.commit(result)));
    return result.run.topic;
  }

  /** Hands on all that is on its way. */
  async deliver(): Promise<void> {
    for (let wire = this.wires.shift(); wire !== undefined; wire = this.wires.shift()) {
      const fate = this.fate(wire);
      if (fate === 'is kept') this.kept.push(wire);
      if (fate !== 'arrives') continue;
      const party = this.party(wire.to);
      const run = party.runs.get(wire.frame.topic);
      if (run === undefined) continue;
      const tools = party.tools(run.proposal.protocol);
      this.wires.push(...(await party.commit(take(tools, run, wire.from, wire.frame, this.now))));
    }
  }

  /** Lets all ask twice, which is as good as often where what is lost is lost each time, and then lets the time run out. */
  async end(): Promise<void> {
    await this.deliver();
    for (let asked = 0; this.#open.length > 0; asked++) {
      const times = this.#open.map(([, run]) => (asked < 2 ? run.askAt : run.deadlineAt));
      this.now = Math.max(this.now, Math.min(...times));
      for (const [party, run] of this.#open) {
        const result = tick(party.tools(run.proposal.protocol), run, this.now);
        this.wires.push(...(await party.commit(result)));
      }
      await this.deliver();
    }
  }

  get #open(): (readonly [ModelParty, Run])[] {
    return this.parties.flatMap((party) =>
      [...party.runs.values()].filter(({ phase }) => isOpen(phase)).map((run) => [party, run] as const),
    );
  }
}

function stateOver(rows: Map<string, Bytes>): State {
  const put = (key: string, value: Uint8Array): void => void rows.set(key, own(value));
  const getJson = (key: string, parser?: { parse(value: unknown): unknown }): Promise<unknown> => {
    const bytes = rows.get(key);
    if (bytes === undefined) return Promise.resolve(undefined);
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return Promise.resolve(parser === undefined ? value : parser.parse(value));
  };
  return {
    get: (key) => Promise.resolve(rows.get(key)),
    put,
    getJson: getJson,
    putJson: (key, value) => {
      put(key, new TextEncoder().encode(JSON.stringify(value)));
    },
    delete: (key) => void rows.delete(key),
    async *scan(prefix = '') {
      for (const key of [...rows.keys()].filter((name) => name.startsWith(prefix)).sort()) {
        const value = rows.get(key);
        if (value !== undefined) yield await Promise.resolve([key, value] as const);
      }
    },
  };
}
