import { createCipheriv, createHmac, timingSafeEqual } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { copy, fromUtf8, type Bytes } from '../../src/bytes.ts';
import { pad, Seal, unpad } from '../../plugins/verify/seal.ts';

const isEqual = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b);
const keys = (): Bytes => Uint8Array.from({ length: 64 }, (_, i) => i);
const seal = (): Seal => new Seal(keys(), isEqual);
const head = fromUtf8('head');

describe('a seal', () => {
  it('is AES-256-CTR, then HMAC-SHA-256 over len8(head), head and ciphertext', async () => {
    const cipher = createCipheriv('aes-256-ctr', keys().subarray(0, 32), new Uint8Array(16));
    const ciphertext = cipher.update(pad(fromUtf8('hello')));
    const length = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 4);
    const tag = createHmac('sha256', keys().subarray(32))
      .update(length)
      .update(head)
      .update(ciphertext)
      .digest();
    expect(await seal().seal(head, fromUtf8('hello'))).toEqual(copy(Buffer.concat([ciphertext, tag])));
  });

  it.each([0, 1, 255, 256, 257, 5000])('opens what it has sealed, of %d bytes', async (length) => {
    const plaintext = new Uint8Array(length).fill(0x80);
    const sealed = await seal().seal(head, plaintext);
    expect((sealed.length - 32) % 256).toBe(0);
    expect(await seal().open(head, sealed)).toEqual(plaintext);
  });

  it('V-10: refuses a second use, and overwrites its keys at the first', async () => {
    const given = keys();
    const used = new Seal(given, isEqual);
    const sealed = await used.seal(head, fromUtf8('once'));
    expect(given.every((byte) => byte === 0)).toBe(true);
    await expect(used.seal(head, fromUtf8('twice'))).rejects.toThrow('used once');
    await expect(used.open(head, sealed)).rejects.toThrow('used once');
    const opened = seal();
    await opened.open(head, sealed);
    await expect(opened.open(head, sealed)).rejects.toThrow('used once');
  });

  it('opens nothing with one bit changed, of another head, or cut', async () => {
    const sealed = await seal().seal(head, fromUtf8('hello'));
    for (let i = 0; i < sealed.length; i++) {
      const changed = copy(sealed);
      changed[i] = (changed[i] ?? 0) ^ 1;
      expect(await seal().open(head, changed)).toBeUndefined();
      expect(await seal().open(head, sealed.subarray(0, i))).toBeUndefined();
    }
    expect(await seal().open(fromUtf8('heae'), sealed)).toBeUndefined();
    expect(await seal().open(fromUtf8('hea'), sealed)).toBeUndefined();
    expect(await new Seal(new Uint8Array(64), isEqual).open(head, sealed)).toBeUndefined();
  });

  it('takes 64 bytes of keys', () => {
    expect(() => new Seal(new Uint8Array(32), isEqual)).toThrow(RangeError);
  });
});

describe('padding', () => {
  it('is 80, then zeros to the next multiple of 256, and no other', () => {
    expect(pad(new Uint8Array(256))).toHaveLength(512);
    const padded = pad(fromUtf8('x'));
    expect(unpad(padded)).toEqual(fromUtf8('x'));
    expect(unpad(copy(Buffer.concat([padded, new Uint8Array(256)])))).toBeUndefined(); // a block too many
    expect(unpad(padded.slice(0, 255))).toBeUndefined();
    expect(unpad(new Uint8Array(256))).toBeUndefined();
    expect(unpad(new Uint8Array(0))).toBeUndefined();
    const other = padded.slice();
    other[1] = 0x81;
    expect(unpad(other)).toBeUndefined();
  });
});
