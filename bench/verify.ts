/**
 * (f) Verify: one side of suite 1, that is share, validation, K, transcript, key schedule and both MACs, without the
 * memory-hard function. OpenSSL's group is held against noble plain and against the fixed baseline, and noble with tables
 * against noble plain. All four take turns in each round; a ratio is the median of the rounds' own ratios of time.
 * Spec: verification brief, section 15.
 */
import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { opensslP256 } from '../plugins/verify/math/p256-openssl.ts';
import { nobleP256 } from '../plugins/verify/math/p256.ts';
import {
  confirm,
  confirmationKeys,
  drawScalar,
  finish,
  makeShare,
  shareOf,
  type Group,
} from '../plugins/verify/math/spake2.ts';
import { concat, equal, toHex, type Bytes } from '../src/bytes.ts';
import { median, progress, report } from './support/measure.ts';
import { baselineSide, type Side } from './support/spake2-openssl.ts';

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 70);
const WARMUPS = 15;
/** Sides in a row of one candidate. */
const PER_TURN = 8;

/** One side as bytes and numbers, as the plugin and the baseline want it. */
interface Material {
  readonly w: Bytes;
  readonly secret: Bytes;
  readonly side: Side;
}

type Candidate = (material: Material) => Uint8Array;

const random = { bytes: (length: number): Bytes => new Uint8Array(randomBytes(length)) };

function plugin(group: Group): Candidate {
  return ({ w, secret, side: { peerShare, idA, idB, aad } }) => {
    const own = { secret, share: shareOf(group, 'A', w, secret) };
    const alleged = finish(group, 'A', { w, own, peerShare, idA, idB });
    if (typeof alleged === 'string') throw new Error(alleged);
    const { kcA, kcB } = confirmationKeys(alleged.ka, aad);
    return concat(own.share, confirm(kcA, alleged.transcript), confirm(kcB, alleged.transcript));
  };
}

const CANDIDATES = {
  openssl: plugin(opensslP256),
  noble: plugin(nobleP256()),
  tables: plugin(nobleP256({ tables: true })),
  baseline: ({ side }: Material) => baselineSide(side),
} satisfies Record<string, Candidate>;

type Name = keyof typeof CANDIDATES;
const NAMES = Object.keys(CANDIDATES) as Name[];

function material(): Material {
  const { order } = opensslP256;
  const [w, secret] = [drawScalar(order, random), drawScalar(order, random)];
  const peerShare = makeShare(opensslP256, 'B', w, random).share;
  const [idA, idB, aad] = [random.bytes(18), random.bytes(18), random.bytes(82)];
  const number = (bytes: Uint8Array): bigint => BigInt(`0x${toHex(bytes)}`);
  return { w, secret, side: { w: number(w), x: number(secret), peerShare, idA, idB, aad } };
}

/** ms for each side of one candidate's turn. */
function turn(name: Name, materials: readonly Material[]): number {
  const candidate = CANDIDATES[name];
  const before = performance.now();
  for (const one of materials) candidate(one);
  return (performance.now() - before) / materials.length;
}

/** All must do the same work, or the figures would say nothing. */
function assertAgreement(one: Material): void {
  const expected = CANDIDATES.noble(one);
  for (const name of NAMES) {
    if (!equal(CANDIDATES[name](one), expected)) throw new Error(`${name} computes something else`);
  }
}

function main(): void {
  assertAgreement(material());
  const rounds: Record<Name, number>[] = [];
  for (let round = 0; round < ROUNDS + WARMUPS; round++) {
    const materials = Array.from({ length: PER_TURN }, material);
    const ms: Record<Name, number> = { openssl: 0, noble: 0, tables: 0, baseline: 0 };
    for (let i = 0; i < NAMES.length; i++) {
      const name = NAMES[(round + i) % NAMES.length] ?? 'noble';
      ms[name] = turn(name, materials);
    }
    if (round >= WARMUPS) rounds.push(ms);
    if (round % 10 === 0) progress(`round ${String(round + 1)}: ${inWords(ms)}`);
  }
  const ratio = (of: Name, to: Name): number => median(rounds.map((ms) => ms[of] / ms[to]));
  const ms = (name: Name): number => median(rounds.map((round) => round[name]));
  report({
    oneSide: {
      ms: ms('openssl'),
      nobleMs: ms('noble'),
      baselineMs: ms('baseline'),
      ratioNoble: ratio('openssl', 'noble'),
      ratioOpenssl: ratio('openssl', 'baseline'),
    },
    noble: { ms: ms('tables'), ratio: ratio('tables', 'noble') },
  });
}

function inWords(ms: Record<Name, number>): string {
  return NAMES.map((name) => `${name} ${ms[name].toFixed(2)} ms`).join(', ');
}

main();
