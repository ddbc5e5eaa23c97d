/**
 * Codes: what one person says and the other types.
 *
 *   1 digits    six digits and a check digit (Damm), spoken 482 913 8; 19.9 bits
 *   2 words     three words of the PGP list, odd-even-odd as in magic-wormhole; 24 bits
 *   3 external  agreed beforehand, at least 10 characters
 *
 * The check digit finds every single wrong digit and every swap of neighbours before a guess is spent on it; it is no part
 * of the code that scrypt takes. Codes are shown once, kept in memory only, never stored and never logged (V-19).
 * Spec: verification brief, section 5.
 */
import type { Random } from './math/spake2.ts';
import type { Format } from './messages/frame.ts';
import { EVEN_WORDS, ODD_WORDS } from './words.ts';

export interface Code {
  /** Normalised: what scrypt takes. */
  readonly text: string;
  /** How it is shown and spoken. */
  readonly spoken: string;
}

/** `mistyped`: this can be no code of that format; nothing is charged for it. `short`: agreed codes have 10 characters. */
export type CodeFault = 'mistyped' | 'short';

export type Normalised = { readonly text: string } | { readonly fault: CodeFault };

const DIGITS = 6;
const WORDS = 3;
const MIN_EXTERNAL = 10;
/** Of order 10, totally anti-symmetric (H. Michael Damm, 2004). */
const DAMM: readonly string[] = [
  '0317598642',
  '7092154863',
  '4206871359',
  '1750983426',
  '6123045978',
  '3674209581',
  '5869720134',
  '8945362017',
  '9438617205',
  '2581436790',
];

/** Draws a code without bias (V-19). */
export function drawCode(format: 1 | 2, random: Random): Code {
  if (format === 2) {
    const text = Array.from({ length: WORDS }, (_, i) => wordsAt(i)[random.bytes(1)[0] ?? 0] ?? '').join('-');
    return { text, spoken: text.replaceAll('-', ' ') };
  }
  const text = Array.from({ length: DIGITS }, () => drawDigit(random)).join('');
  return { text, spoken: `${text.slice(0, 3)} ${text.slice(3)} ${String(dammDigit(text))}` };
}

/**
 * What a person typed, in the form that scrypt takes (V-19). Digits of any script count, and whatever is between them
 * does not; words may be apart by anything that is no letter.
 */
export function normaliseCode(format: Format, typed: string): Normalised {
  switch (format) {
    case 1:
      return normaliseDigits(typed);
    case 2:
      return normaliseWords(typed);
    case 3: {
      const text = typed.trim().normalize('NFC');
      return Array.from(text).length < MIN_EXTERNAL ? { fault: 'short' } : { text };
    }
  }
}

/** Decimal digits of every script as 0 to 9; all else stays. */
export function toLatinDigits(text: string): string {
  return text.replace(/(?![0-9])\p{Nd}/gu, valueOf);
}

/** The digit that makes `digits` and it pass the check. */
export function dammDigit(digits: string): number {
  return Array.from(digits).reduce((interim, digit) => Number(DAMM[interim]?.[Number(digit)]), 0);
}

function normaliseDigits(typed: string): Normalised {
  const digits = toLatinDigits(typed).replace(/[^0-9]/g, '');
  const isRight = digits.length === DIGITS + 1 && dammDigit(digits) === 0;
  return isRight ? { text: digits.slice(0, DIGITS) } : { fault: 'mistyped' };
}

function normaliseWords(typed: string): Normalised {
  const words = typed
    .toLowerCase()
    .split(/[^a-z]+/)
    .filter((word) => word !== '');
  const isRight = words.length === WORDS && words.every((word, i) => wordsAt(i).includes(word));
  return isRight ? { text: words.join('-') } : { fault: 'mistyped' };
}

function wordsAt(place: number): readonly string[] {
  return place % 2 === 0 ? ODD_WORDS : EVEN_WORDS;
}

/** 0..9 by rejection. */
function drawDigit(random: Random): number {
  for (;;) {
    const byte = random.bytes(1)[0] ?? 0;
    if (byte < 250) return byte % 10;
  }
}

/** Unicode has decimal digits in runs of tens that begin with zero. */
function valueOf(digit: string): string {
  const codePoint = digit.codePointAt(0) ?? 0;
  let before = 0;
  while (/\p{Nd}/u.test(String.fromCodePoint(codePoint - before - 1))) before++;
  return String(before % 10);
}
