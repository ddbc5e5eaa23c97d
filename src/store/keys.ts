/**
 * Keys: text in the order of its UTF-8 bytes, which is the order of code points and, beyond the basic plane, not the
 * order in which JavaScript compares strings.
 */
import { BotError } from '../errors.ts';

/** A half-open range of keys: above `above` or from `from` on, below `below`. */
export interface KeyRange {
  /** The first key that belongs to it, or the one just before when `exclusive`. */
  readonly from: string;
  readonly exclusive: boolean;
  /** Absent: to the end. */
  readonly below: string | undefined;
}

/** Keys below this one are the store's own and never show. */
const FIRST_KEY = '\u0001';

const LONE_SURROGATE = /\p{Surrogate}/u;
const SURROGATES = 0xd800;
const AFTER_SURROGATES = 0xe000;

/** Negative, zero or positive, as `a` stands before, at or behind `b` in UTF-8. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/** A code unit's place in UTF-8: surrogates stand for code points above all others. */
function rank(unit: number): number {
  return unit >= SURROGATES && unit < AFTER_SURROGATES ? unit + 0x10000 : unit;
}

/**
 * Refuses what has no place of its own in UTF-8, and the store's own keys.
 * @throws BotError `USAGE`
 */
export function checkKey(key: string): void {
  if (key < FIRST_KEY || LONE_SURROGATE.test(key)) {
    throw new BotError(
      'USAGE',
      'a key is text that is not empty, well-formed, and does not begin with U+0000',
    );
  }
}

/** The keys that begin with `prefix` and stand behind `after`. */
export function rangeOf(prefix: string, after: string | undefined): KeyRange {
  const below = successor(prefix);
  const start = prefix < FIRST_KEY ? FIRST_KEY : prefix;
  return after !== undefined && compareKeys(after, start) >= 0
    ? { from: after, exclusive: true, below }
    : { from: start, exclusive: false, below };
}

export function isInRange(key: string, range: KeyRange): boolean {
  const place = compareKeys(key, range.from);
  if (range.exclusive ? place <= 0 : place < 0) return false;
  return range.below === undefined || compareKeys(key, range.below) < 0;
}

/** The least text above all that begin with `prefix`; undefined when there is none. */
function successor(prefix: string): string | undefined {
  const points = Array.from(prefix, (char) => char.codePointAt(0) ?? 0);
  for (;;) {
    const last = points.pop();
    if (last === undefined) return undefined;
    if (last === 0x10ffff) continue;
    points.push(last + 1 === SURROGATES ? AFTER_SURROGATES : last + 1);
    return String.fromCodePoint(...points);
  }
}
