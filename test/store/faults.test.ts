import { describe, expect, it } from 'vitest';
import { MemoryDisk, openMemory } from '../../src/store/memory.ts';
import { Crash, FAULT_KINDS, FaultyStore } from '../support/store-faults.ts';
import { keysOf, read, write } from '../support/store-rows.ts';

describe('a store with a fault', () => {
  it('counts commits that write', async () => {
    const store = new FaultyStore(openMemory());
    await write(store, { a: '1' });
    await store.batch().commit();
    await write(store, { b: '1' });
    await read(store, 'a');
    expect([store.commits, store.gets, store.scans]).toEqual([2, 1, 0]);
  });

  it.each(FAULT_KINDS)('strikes at the chosen commit: %s', async (kind) => {
    const disk = new MemoryDisk();
    let told = 0;
    const store = new FaultyStore(openMemory(disk), { at: 2, kind }, () => told++);
    await write(store, { a: '1' });
    expect(store.struck).toBe(false);
    await expect(write(store, { b: '1' })).rejects.toThrow();
    await expect(write(store, { c: '1' })).rejects.toThrow();
    expect([store.struck, told]).toEqual([true, 1]);
    if (kind === 'fail') expect(await read(store, 'a')).toBe('1');
    else await expect(read(store, 'a')).rejects.toThrow(Crash);
    await store.inner.close();
    expect(await keysOf(openMemory(disk).scan(''))).toEqual(kind === 'crash-after' ? ['a', 'b'] : ['a']);
  });

  it.each(FAULT_KINDS)('tells of %s where the commit is refused too', async (kind) => {
    let told = 0;
    const store = new FaultyStore(openMemory(), { at: 2, kind }, () => told++);
    const late = store.batch();
    await late.get('a');
    await write(store, { a: '1' });
    late.put('a', new Uint8Array(1));
    await expect(late.commit()).rejects.toThrow('a test said so');
    expect([store.struck, told]).toEqual([true, 1]);
  });
});
