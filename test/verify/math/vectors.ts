/**
 * The SPAKE2 vectors of `test/vectors`, typed. All bytes are hex.
 */
import { readFileSync } from 'node:fs';

/** One run of the RFC's construction on a group. */
export interface RfcRow {
  readonly suite: string;
  readonly A: string;
  readonly B: string;
  readonly aad: string;
  readonly w: string;
  readonly x: string;
  readonly y: string;
  readonly pA: string;
  readonly pB: string;
  readonly K: string;
  readonly TT: string;
  readonly hashTT: string;
  readonly Ke: string;
  readonly Ka: string;
  readonly KcA: string;
  readonly KcB: string;
  readonly confA: string;
  readonly confB: string;
}

export interface RefuseRow {
  readonly why: string;
  readonly encoding: string;
}

interface RfcVectors {
  readonly suite: string;
  readonly constants: {
    readonly groups: Readonly<
      Record<
        string,
        { M: string; N: string; seedM: string; seedN: string; firstBlockM: number; firstBlockN: number }
      >
    >;
  };
  readonly vectors: readonly (Omit<RfcRow, 'suite'> & { readonly tcId: number })[];
}

interface DerivedVectors {
  readonly rfc9382: readonly RfcRow[];
  readonly codeToScalar: readonly {
    readonly code: string;
    readonly suite: number;
    readonly runId: string;
    readonly salt: string;
    readonly log2N: number;
    readonly r: number;
    readonly p: number;
    readonly okm: string;
    readonly w: string;
  }[];
  readonly refuse: { readonly p256: readonly RefuseRow[]; readonly edwards25519: readonly RefuseRow[] };
}

/** Scalars are little-endian here. */
interface Suite2Row {
  readonly password: string;
  readonly entropy1: string;
  readonly entropy2: string;
  readonly w: string;
  readonly x: string;
  readonly y: string;
  readonly K: string;
  readonly key: string;
}

interface Suite2Vectors {
  readonly constants: { readonly M: string; readonly N: string; readonly S: string };
  readonly symmetric: readonly (Suite2Row & {
    readonly idSymmetric: string;
    readonly msg1: string;
    readonly msg2: string;
    readonly sortedFirst: string;
  })[];
  readonly asymmetric: readonly (Suite2Row & {
    readonly idA: string;
    readonly idB: string;
    readonly msgA: string;
    readonly msgB: string;
  })[];
  readonly passwordToScalar: readonly { readonly password: string; readonly scalarLE: string }[];
  readonly arbitraryElement: readonly { readonly seed: string; readonly element: string }[];
  readonly finalize: readonly (
    | {
        readonly kind: 'symmetric';
        readonly password: string;
        readonly idSymmetric: string;
        readonly msg1: string;
        readonly msg2: string;
        readonly K: string;
        readonly key: string;
      }
    | {
        readonly kind: 'asymmetric';
        readonly password: string;
        readonly idA: string;
        readonly idB: string;
        readonly X: string;
        readonly Y: string;
        readonly K: string;
        readonly key: string;
      }
  )[];
}

interface RunVectors {
  readonly runs: readonly {
    readonly name: string;
    readonly code: string;
    readonly x: string;
    readonly y: string;
    readonly w: string;
    readonly AAD: string;
    readonly TT: string;
    readonly cA: string;
    readonly cB: string;
    readonly OFFER: string;
  }[];
}

function load(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../vectors/${name}`, import.meta.url), 'utf8'));
}

export const rfc = load('spake2-rfc9382-vectors.json') as RfcVectors;
export const derived = load('spake2-derived-vectors.json') as DerivedVectors;
export const suite2 = load('spake2-ed25519-python-rust-vectors.json') as Suite2Vectors;
export const runs = load('spake2-run-vectors.json') as RunVectors;

/** The RFC's rows in the form of the derived ones: there identities are text, here they are hex. */
export const rfcRows: readonly RfcRow[] = rfc.vectors.map((row) => ({
  ...row,
  suite: rfc.suite,
  A: Buffer.from(row.A).toString('hex'),
  B: Buffer.from(row.B).toString('hex'),
}));
