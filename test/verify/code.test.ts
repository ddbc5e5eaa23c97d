import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { own, type Bytes } from '../../src/bytes.ts';
import { dammDigit, drawCode, normaliseCode, toLatinDigits } from '../../plugins/verify/code.ts';
import { mentionsCode } from '../../plugins/verify/guard.ts';
import { EVEN_WORDS, ODD_WORDS } from '../../plugins/verify/words.ts';
import { random } from './support/party.ts';

const digits = (typed: string): unknown => normaliseCode(1, typed);
const WRONG = { fault: 'mistyped' };

/** Gives these bytes, then no more. */
function scripted(...bytes: number[]): { bytes(length: number): Bytes } {
  return { bytes: (length) => own(Uint8Array.from(bytes.splice(0, length))) };
}

describe('codes', () => {
  it('V-19: are drawn by rejection, so that each digit and each word is as likely as any other', () => {
    expect(drawCode(1, scripted(250, 255, 4, 18, 252, 22, 249, 101, 203))).toEqual({
      text: '482913',
      spoken: '482 913 8',
    });
    expect(drawCode(2, scripted(0, 0, 255)).text).toBe('adroitness-aardvark-yucatan');
    const counts = new Map<string, number>();
    for (let i = 0; i < 2000; i++) {
      for (const digit of drawCode(1, random).text) counts.set(digit, (counts.get(digit) ?? 0) + 1);
    }
    const expected = 1200;
    const chiSquare = [...counts.values()].reduce(
      (sum, count) => sum + (count - expected) ** 2 / expected,
      0,
    );
    expect(chiSquare).toBeLessThan(40); // 9 degrees of freedom: one draw in 130,000 is above
  });

  it('V-19: are normalised to what was drawn, however they are typed', () => {
    for (const typed of [
      '4829138',
      '482 913 8',
      ' 482-913-8\n',
      'code: 482.913.8',
      '٤٨٢ ٩١٣ ٨',
      '482９138',
    ]) {
      expect(digits(typed)).toEqual({ text: '482913' });
    }
    const words = 'adroitness-aardvark-yucatan';
    for (const typed of [words, 'Adroitness  AARDVARK, Yucatan', ' adroitness-aardvark yucatan ']) {
      expect(normaliseCode(2, typed)).toEqual({ text: words });
    }
    expect(normaliseCode(3, '  Café au lait ')).toEqual({ text: 'Café au lait' });
    expect(normaliseCode(3, 'too short')).toEqual({ fault: 'short' });
  });

  it('are refused when they can be none, before a guess is spent', () => {
    for (const typed of ['', '482913', '48291388', '482 913 9', 'word']) expect(digits(typed)).toEqual(WRONG);
    for (const typed of [
      'adroitness-aardvark',
      'aardvark-adroitness-aardvark',
      'adroitness-aardvark-nosuchword',
    ]) {
      expect(normaliseCode(2, typed)).toEqual(WRONG);
    }
  });

  it('find every single wrong digit and every swap of neighbours', () => {
    expect(dammDigit('572')).toBe(4); // the example of Damm's thesis
    const sixDigits = fc.stringMatching(/^[0-9]{6}$/);
    fc.assert(
      fc.property(sixDigits, fc.nat(6), fc.integer({ min: 1, max: 9 }), (text, place, change) => {
        const whole = text + String(dammDigit(text));
        const at = (i: number): string => whole[i] ?? '';
        const other = String((Number(at(place)) + change) % 10);
        expect(digits(whole)).toEqual({ text });
        expect(digits(whole.slice(0, place) + other + whole.slice(place + 1))).toEqual(WRONG);
        if (place === 6 || at(place) === at(place + 1)) return;
        const swapped = whole.slice(0, place) + at(place + 1) + at(place) + whole.slice(place + 2);
        expect(digits(swapped)).toEqual(WRONG);
      }),
      { numRuns: 500 },
    );
  });

  it('round-trip as they are spoken', () => {
    for (let i = 0; i < 200; i++) {
      for (const format of [1, 2] as const) {
        const { text, spoken } = drawCode(format, random);
        expect(normaliseCode(format, spoken)).toEqual({ text });
      }
    }
  });

  it('have two lists of 256 words of which none is on both', () => {
    expect(new Set([...EVEN_WORDS, ...ODD_WORDS]).size).toBe(512);
    expect(EVEN_WORDS).toHaveLength(256);
    // Word of the PGP list for byte E5 and 82, from its documentation: "topmost Istanbul".
    expect([EVEN_WORDS[0xe5], ODD_WORDS[0x82]]).toEqual(['topmost', 'istanbul']);
    expect([...EVEN_WORDS, ...ODD_WORDS].every((word) => /^[a-z]+$/.test(word))).toBe(true);
  });

  it('are read in every script that Unicode has decimal digits for', () => {
    expect(toLatinDigits('٠١٢٣٤٥٦٧٨٩ ۰۹ ०९ ０９ 𝟎𝟗𝟘𝟡 ab')).toBe('0123456789 09 09 09 0909 ab');
  });
});

describe('the outbound guard', () => {
  it('V-20: finds a code in a text, whatever spaces, hyphens, case or script it is written with', () => {
    for (const text of ['482913', 'it is 482 913 8!', '4-8-2–9 1 3', '٤٨٢٩١٣', 'x482913x']) {
      expect(mentionsCode(text, '482913')).toBe(true);
    }
    for (const text of ['', '482914', '48291 x 3', 'four eight two']) {
      expect(mentionsCode(text, '482913')).toBe(false);
    }
    expect(mentionsCode('say Adroitness aardvark YUCATAN', 'adroitness-aardvark-yucatan')).toBe(true);
    expect(mentionsCode('cafe', 'Café au lait')).toBe(false);
    expect(mentionsCode('CAFÉ-AU-LAIT', 'Café au lait')).toBe(true);
  });
});
