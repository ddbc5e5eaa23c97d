import { describe, expect, it } from 'vitest';
import { ValueCache } from '../../src/store/value-cache.ts';

const bytes = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(length);

describe('the value cache', () => {
  it('keeps what is read and forgets what is not, within its bound', () => {
    const cache = new ValueCache(20_000);
    cache.set('kept', bytes(100));
    for (let i = 0; i < 1_000; i++) {
      cache.set(`row${String(i)}`, bytes(100));
      expect(cache.get('kept')).toBeDefined();
    }
    const held = Array.from({ length: 1_000 }, (_, i) => cache.has(`row${String(i)}`)).filter(Boolean).length;
    expect(held).toBeGreaterThan(30);
    expect(held * 200).toBeLessThan(20_000);
    expect(cache.get('row999')).toBeDefined();
    expect(cache.get('row0')).toBeUndefined();
  });

  it('does not take what is too large, and drops the value that it replaces', () => {
    const cache = new ValueCache(4_000);
    cache.set('a', bytes(10));
    cache.set('a', bytes(3_000));
    expect(cache.get('a')).toBeUndefined();
  });

  it('does not keep a pool alive for the sake of a view on it', () => {
    const cache = new ValueCache(4_000);
    cache.set('a', new Uint8Array(new ArrayBuffer(8_192), 10, 20));
    expect(cache.get('a')?.buffer.byteLength).toBe(20);
  });

  it('keeps nothing when its bound is zero', () => {
    const cache = new ValueCache(0);
    cache.set('a', bytes(0));
    expect(cache.has('a')).toBe(false);
  });
});
