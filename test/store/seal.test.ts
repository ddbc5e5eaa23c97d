import { describe, expect, it } from 'vitest';
import { fromUtf8, own, type Bytes } from '../../src/bytes.ts';
import { plainSealer } from '../../src/store/seal.ts';

const KEY = 'identity/a peer \u{1f512}';

function sealed(value: Bytes): Bytes {
  return own(Uint8Array.from(plainSealer.seal(KEY, value)));
}

describe('a value of a plain store', () => {
  it('comes back as it was, empty or not', () => {
    for (const value of [new Uint8Array(0), fromUtf8('a pin')])
      expect(plainSealer.open(KEY, sealed(value))).toEqual(value);
  });

  it('is damaged when any of its bits turned over', () => {
    const whole = sealed(fromUtf8('a pin'));
    for (let at = 0; at < whole.length * 8; at++) {
      const changed = own(Uint8Array.from(whole));
      changed[at >> 3] = (changed[at >> 3] ?? 0) ^ (1 << (at & 7));
      expect(() => plainSealer.open(KEY, changed)).toThrow(
        expect.objectContaining({ code: 'STORE_DAMAGED', message: expect.stringContaining(KEY) as string }),
      );
    }
    for (let length = 0; length < whole.length; length++)
      expect(() => plainSealer.open(KEY, whole.slice(0, length))).toThrow();
  });

  it('is damaged under another key', () => {
    expect(() => plainSealer.open('identity/another', sealed(fromUtf8('a pin')))).toThrow();
  });

  it('is read as versions before the first release wrote it', () => {
    expect(plainSealer.open(KEY, fromUtf8('\0a pin'))).toEqual(fromUtf8('a pin'));
  });
});
