/**
 * Noble group: the two steps of SPAKE2 over any curve of noble (RFC 9382, section 3.3).
 * Spec: verification brief, section 1.
 */
import type { Bytes } from '../../../src/index.ts';
import { assertScalars, type Blind, type Group } from './spake2.ts';

/** What is used of a point. */
interface CurvePoint<P> {
  add(other: P): P;
  subtract(other: P): P;
  multiply(scalar: bigint): P;
  is0(): boolean;
}

export interface NobleCurve<P extends CurvePoint<P>> {
  readonly order: bigint;
  readonly base: P;
  readonly fixed: Readonly<Record<Blind, P>>;
  readonly encode: (point: P) => Bytes;
  /** @returns undefined for what must not be taken from a peer */
  readonly decode: (share: Uint8Array) => P | undefined;
  /** Multiplies K by the cofactor, where there is one. */
  readonly clear?: (point: P) => P;
}

export function nobleGroup<P extends CurvePoint<P>>(curve: NobleCurve<P>): Group {
  const { order, base, fixed, encode, decode, clear = (point: P) => point } = curve;
  return {
    order,
    blinded: (blind, w, x) => {
      assertScalars(order, w, x);
      return encode(fixed[blind].multiply(w).add(base.multiply(x)));
    },
    shared: (blind, w, x, share) => {
      assertScalars(order, w, x);
      const peer = decode(share);
      if (peer === undefined) return undefined;
      const unblinded = peer.subtract(fixed[blind].multiply(w));
      return unblinded.is0() ? undefined : encode(clear(unblinded.multiply(x)));
    },
  };
}
