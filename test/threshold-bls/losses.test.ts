/**
 * Losses: the last round of a generation and of a refresh among three parties, with every pattern of frames that the server
 * drops for good. Whatever is lost, there is one sharing of which all hold their share; and when it is known where each
 * stands, they sign and refresh again.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { fromUtf8, own, toHex } from '../../src/bytes.ts';
import type { Proposal } from '../../src/rounds/proposal.ts';
import type { Protocol } from '../../src/rounds/protocol.ts';
import {
  encodeKeyShare,
  encodePoints,
  publicKeyOf,
  sharingOf,
} from '../../plugins/threshold-bls/key-share.ts';
import { keygen, refresh } from '../../plugins/threshold-bls/keygen.ts';
import { verify } from '../../plugins/threshold-bls/math/signing.ts';
import { sharesOf } from '../../plugins/threshold-bls/shares.ts';
import { sign, type Signed } from '../../plugins/threshold-bls/sign.ts';
import { Model, PARTIES, remembering, type Wire } from './support/model.ts';

const LAST_ROUND = 4;
const TIMEOUT_MS = 240_000;
const ALL = PARTIES.map(({ index }) => index);
const PAIRS = ALL.flatMap((from) =>
  ALL.filter((to) => to !== from).map((to) => `${String(from)}${String(to)}`),
);
const NONE = new Uint8Array(0);
const PROTOCOLS = [keygen, refresh].map((protocol) => remembering(protocol as unknown as Protocol));
const MESSAGE = fromUtf8('any two of them');

function proposalOf(protocol: { name: string; version: number }, rest: Partial<Proposal> = {}): Proposal {
  const { name, version } = protocol;
  return { protocol: name, version, params: NONE, message: NONE, epoch: 0, parties: PARTIES, signers: ALL, ...rest };
} // prettier-ignore

function isLast({ frame }: Wire): boolean {
  return (frame.kind === 'message' || frame.kind === 'confirm') && frame.round === LAST_ROUND;
}

/** `v12`: the verdict of 1 does not reach 2, `c12` its confirmation. */
function nameOf({ from, to, frame }: Wire): string {
  return `${frame.kind === 'message' ? 'v' : 'c'}${String(from)}${String(to)}`;
}

/** All that can be lost. */
const FRAMES = ['v', 'c'].flatMap((kind) => PAIRS.map((pair) => kind + pair));

function* patterns(frames: readonly string[]): Iterable<ReadonlySet<string>> {
  for (let bits = 0; bits < 2 ** frames.length; bits++)
    yield new Set(frames.filter((_, at) => (bits & (2 ** at)) !== 0));
}

/** Opens a refresh of each share that each of them holds. */
async function openRefreshes(model: Model): Promise<void> {
  for (const party of model.parties) {
    for (const { share } of await sharesOf(party.stored, publicKey)) {
      const { threshold, commitments, epoch } = share;
      const params = own(refresh.params.encode({ threshold, commitments: encodePoints(commitments) }));
      await model.open(party.index, proposalOf(refresh, { params, epoch }), encodeKeyShare(share));
    }
  }
}

function common(model: Model, among: readonly number[] = ALL): string[] {
  const [first = [], ...rest] = among.map((index) => model.party(index).shares);
  return first.filter((share) => rest.every((shares) => shares.includes(share)));
}

let publicKey: string;
/** All have dealt, and no verdict has arrived. */
let before: { readonly generation: Model; readonly refresh: Model };

beforeAll(async () => {
  const generation = new Model(PROTOCOLS);
  generation.fate = (wire) => (isLast(wire) ? 'is kept' : 'arrives');
  const params = own(keygen.params.encode({ threshold: 1 }));
  for (const index of ALL) await generation.open(index, proposalOf(keygen, { params }), NONE);
  await generation.deliver();
  const keyed = generation.fork();
  await keyed.end();
  publicKey = toHex(publicKeyOf(keyed.party(1).outputs.values().next().value as never));
  const refreshing = keyed.fork();
  refreshing.fate = generation.fate;
  await openRefreshes(refreshing);
  await refreshing.deliver();
  expect(refreshing.kept).toHaveLength(PAIRS.length);
  before = { generation, refresh: refreshing };
}, TIMEOUT_MS);

/** Which shares each of them holds: kinds of ends that were followed up already. */
const followed = new Set<string>();

/** Plays on. @param lost for good */
async function play(from: Model, lost: ReadonlySet<string>, areAbortsLost: boolean): Promise<Model> {
  const model = from.fork();
  model.fate = (wire) => {
    if (wire.frame.kind === 'abort') return areAbortsLost ? 'is lost' : 'arrives';
    return isLast(wire) && lost.has(nameOf(wire)) ? 'is lost' : 'arrives';
  };
  await model.end();
  return model;
}

function ends(model: Model): string[] {
  return model.parties.map(({ runs }) => [...runs.values()].at(-1)?.phase ?? 'none');
}

describe.each([
  ['tell each other that they end it', false],
  ['cannot tell each other that they end it', true],
])('three parties that %s', (_, areAbortsLost) => {
  it.each(['generation', 'refresh'] as const)(
    'have one sharing in common after every loss in the last round of a %s',
    { timeout: TIMEOUT_MS },
    async (which) => {
      const broken: string[] = [];
      const kinds = new Map<string, Model>();
      for (const lost of patterns(FRAMES)) {
        const model = await play(before[which], lost, areAbortsLost);
        const isDone = ends(model).includes('done');
        const [newest] = common(model).slice(-1);
        const isNew = newest !== undefined && Number(newest.split('/')[0]) === (which === 'refresh' ? 1 : 0);
        const isSound = which === 'refresh' ? newest !== undefined && (!isDone || isNew) : !isDone || isNew;
        const isNamed = model.parties.some(({ runs }) => [...runs.values()].some((run) => run.blame.length > 0));
        if (!isSound || isNamed) broken.push([...lost].join(' '));
        const kind = model.parties.map(({ shares }) => shares.map((share) => Number(share.split('/')[0])));
        kinds.set(JSON.stringify(kind), model);
      }
      expect(broken).toEqual([]);
      if (which === 'generation') return;
      // From nobody has the new one to all have it and the old one is gone.
      expect(kinds.size).toBeGreaterThan(2);
      for (const [kind, model] of kinds) {
        if (followed.has(kind)) continue;
        followed.add(kind);
        await signInPairs(model);
        await refreshAgain(model);
      }
    },
  ); // prettier-ignore
});

/** Every two meet at the shares that both have. */
async function signInPairs(after: Model): Promise<void> {
  for (const pair of [
    [1, 2],
    [1, 3],
    [2, 3],
  ]) {
    // prettier-ignore
    const model = new Model([sign]);
    for (const index of pair) {
      for (const { share } of await sharesOf(after.party(index).stored, publicKey)) {
        const { threshold, epoch } = share;
        const params = own(
          sign.params.encode({ threshold, publicKey: publicKeyOf(share), sharing: sharingOf(share) }),
        );
        const rest = { params, epoch, message: MESSAGE, signers: pair };
        await model.open(index, proposalOf(sign, rest), encodeKeyShare(share));
      }
    }
    await model.deliver();
    for (const index of pair) {
      const [signed] = [...model.party(index).outputs.values()] as Signed[];
      expect(signed?.signers).toEqual(pair);
      const key = new Uint8Array(Buffer.from(publicKey, 'hex'));
      expect(verify(key, signed?.signature ?? NONE, MESSAGE)).toBe(true);
    }
  }
}

/** Nothing is lost any more: one of what they offer is done by all, and what is older than it is gone. */
async function refreshAgain(after: Model): Promise<void> {
  const model = after.fork();
  const last = common(model).at(-1) ?? '';
  await openRefreshes(model);
  await model.end();
  const newest = common(model).at(-1) ?? '';
  expect(Number(newest.split('/')[0])).toBe(Number(last.split('/')[0]) + 1);
  for (const { shares } of model.parties) expect(shares.filter((share) => share < newest.slice(0, 11))).toEqual([]);
} // prettier-ignore

describe('a party that confirms to some and leaves others', () => {
  it('cannot part the two that are honest', { timeout: TIMEOUT_MS }, async () => {
    const broken: string[] = [];
    const frames = FRAMES.filter((name) => !name.endsWith('3'));
    for (const lost of patterns(frames)) {
      for (const leaves of [[], [1], [2], [1, 2]]) {
        for (const isEarly of [true, false]) {
          const model = before.refresh.fork();
          model.fate = (wire) => (isLast(wire) && lost.has(nameOf(wire)) ? 'is lost' : 'arrives');
          const run = [...model.party(3).runs.values()].at(-1);
          if (run === undefined) throw new Error('there is a refresh');
          const { topic, id } = run;
          const frame = { kind: 'abort', topic, id, reason: 'it says so', evidence: [] } as const;
          const farewell = leaves.map((to): Wire => ({ from: 3, to, frame }));
          if (isEarly) model.wires.unshift(...farewell);
          else await model.deliver();
          model.wires.push(...(isEarly ? [] : farewell));
          await model.end();
          if (common(model, [1, 2]).length === 0) broken.push([...lost, leaves, isEarly].join(' '));
        }
      }
    }
    expect(broken).toEqual([]);
  });
});

describe('a refresh whose shares are not held', () => {
  it('parts them, so this model would show it', async () => {
    const model = before.refresh.fork();
    for (const party of model.parties) {
      const tools = party.tools.bind(party);
      party.tools = (name) => {
        const made = tools(name);
        return { ...made, protocol: { ...made.protocol, isHeld: false } };
      };
    }
    model.fate = (wire) => (isLast(wire) && nameOf(wire) === 'c12' ? 'is lost' : 'arrives');
    await model.end();
    expect(common(model)).toEqual([]);
  });
});
