import { describe, expect, it } from 'vitest';
import { isAccepted } from '../../src/store/accepted.ts';
import { tellDeletions } from '../../src/store/deletions.ts';
import { openMemory } from '../../src/store/memory.ts';
import { value, write } from '../support/store-rows.ts';
import { gatedStore } from '../support/store-gate.ts';

describe('a store that tells of deletions', () => {
  it('names the deleted rows of its tables', async () => {
    const told: (readonly string[])[] = [];
    const store = tellDeletions(openMemory(), ['state/', 'volatile/'], (keys) => told.push(keys));
    await write(store, { 'state/bls/a': '1', 'volatile/bls/b': '1', 'inbox/1': '1' });
    await write(store, { 'inbox/1': null, 'state/bls/a': '2' });
    expect(told).toEqual([]);
    await write(store, { 'state/bls/a': null, 'volatile/bls/b': null, 'sent/1': null });
    expect(told).toEqual([['state/bls/a', 'volatile/bls/b']]);
  });

  it('tells once they are durable, and not before', async () => {
    const told: (readonly string[])[] = [];
    const { store: inner, disk } = gatedStore();
    const store = tellDeletions(inner, ['state/'], (keys) => told.push(keys));
    const batch = store.batch();
    batch.delete('state/bls/a');
    const durable = batch.commit();
    expect(await isAccepted(durable)).toBe(true);
    expect(told).toEqual([]);
    await disk.pass();
    await durable;
    expect(told).toEqual([['state/bls/a']]);
  });

  it('tells nothing of a commit that was refused', async () => {
    const told: (readonly string[])[] = [];
    const store = tellDeletions(openMemory(), ['state/'], (keys) => told.push(keys));
    const late = store.batch();
    await late.get('state/bls/a');
    await write(store, { 'state/bls/a': '1' });
    late.delete('state/bls/a');
    const durable = late.commit();
    expect(await isAccepted(durable)).toBe(false);
    await expect(durable).rejects.toMatchObject({ code: 'STORE_CONFLICT' });
    expect(told).toEqual([]);
    expect(await store.batch().get('state/bls/a')).toEqual(value('1'));
  });
});
