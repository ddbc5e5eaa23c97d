import { describe, expect, it } from 'vitest';
import { gatedStore, settled } from '../support/store-gate.ts';
import { keysOf, read, rowsOf, value, write } from '../support/store-rows.ts';

/** How each promise stands now. */
async function states(promises: readonly Promise<unknown>[]): Promise<string[]> {
  const found = promises.map(() => 'waiting');
  promises.forEach((promise, i) => {
    promise.then(
      () => (found[i] = 'done'),
      (error: unknown) => (found[i] = (error as { code: string }).code),
    );
  });
  await settled();
  return found;
}

/** For a commit whose end does not matter here. */
function background(commit: Promise<void>): void {
  commit.catch(() => undefined);
}

describe('commits that wait', () => {
  it('are merged into the write that follows the one under way', async () => {
    const { store, disk } = gatedStore();
    const commits = [write(store, { a: '1' })];
    await settled();
    for (let i = 2; i <= 5; i++) commits.push(write(store, { a: String(i), [`b${String(i)}`]: 'x' }));
    await settled();
    expect(disk.writes.map((rows) => [...rows.keys()])).toEqual([['a']]);
    await disk.pass();
    expect(await states(commits)).toEqual(['done', 'waiting', 'waiting', 'waiting', 'waiting']);
    expect(disk.writes.map((rows) => [...rows.keys()])).toEqual([['a'], ['a', 'b2', 'b3', 'b4', 'b5']]);
    expect(disk.writes[1]?.get('a')).toEqual(value('5'));
    await disk.pass();
    expect(await states(commits)).toEqual(['done', 'done', 'done', 'done', 'done']);
    expect(disk.writes).toHaveLength(2);
  });

  it('are seen before they are durable, through two layers', async () => {
    const { store, disk } = gatedStore();
    background(write(store, { a: '1', b: '1', c: '1' }));
    await settled();
    background(write(store, { a: '2', b: null }));
    expect([await read(store, 'a'), await read(store, 'b'), await read(store, 'c')]).toEqual([
      '2',
      undefined,
      '1',
    ]);
    expect(await rowsOf(store.scan(''))).toEqual([
      ['a', '2'],
      ['c', '1'],
    ]);
    await disk.pass();
    await disk.pass();
    expect(await rowsOf(store.scan(''))).toEqual([
      ['a', '2'],
      ['c', '1'],
    ]);
  });

  it('write a delete of what was only pending, since it may be on disk by then', async () => {
    const { store, disk } = gatedStore();
    background(write(store, { a: '1' }));
    await settled();
    background(write(store, { a: null }));
    await disk.pass();
    await disk.pass();
    expect(disk.writes[1]?.get('a')).toBeNull();
    expect(disk.disk.get('a')).toBeUndefined();
  });

  it('conflict among each other before anything is durable', async () => {
    const { store, disk } = gatedStore();
    const first = store.batch();
    const second = store.batch();
    await first.get('a');
    await second.get('a');
    first.put('a', value('1'));
    second.put('a', value('2'));
    const commits = [first.commit(), second.commit()];
    expect(await states(commits)).toEqual(['waiting', 'STORE_CONFLICT']);
    await disk.pass();
    expect(await read(store, 'a')).toBe('1');
  });
});

describe('a write that fails', () => {
  it('fails the commits in it, those that wait and those to come', async () => {
    const { store, disk } = gatedStore();
    const commits = [write(store, { a: '1' })];
    await settled();
    commits.push(write(store, { b: '1' }));
    const ends = states(commits);
    await disk.fail(new Error('no space'));
    expect(await ends).toEqual(['STORE_WRITE_FAILED', 'STORE_WRITE_FAILED']);
    await expect(write(store, { c: '1' })).rejects.toMatchObject({ code: 'STORE_WRITE_FAILED' });
    expect(disk.writes).toHaveLength(1);
  });

  it('leaves what is on disk to be read, and nothing else', async () => {
    const { store, disk } = gatedStore({ cacheBytes: 10_000 });
    const first = write(store, { a: '1', b: '1' });
    await disk.pass();
    await first;
    await read(store, 'a');
    const second = write(store, { a: '2', b: null, c: '2' });
    expect(await read(store, 'a')).toBe('2');
    const end = states([second]);
    await disk.fail(new Error('no space'));
    expect(await end).toEqual(['STORE_WRITE_FAILED']);
    expect(await rowsOf(store.scan(''))).toEqual([
      ['a', '1'],
      ['b', '1'],
    ]);
    expect(await read(store, 'a')).toBe('1');
  });

  it('does not keep the store from being closed', async () => {
    const { store, disk } = gatedStore();
    const end = states([write(store, { a: '1' })]);
    const closing = store.close();
    await disk.fail(new Error('no space'));
    expect(await end).toEqual(['STORE_WRITE_FAILED']);
    await closing;
    expect(disk.closed).toBe(true);
  });
});

describe('the cache', () => {
  it('answers a second reading, and follows what is written', async () => {
    const { store, disk } = gatedStore({ cacheBytes: 10_000 });
    background(write(store, { a: '1' }));
    await disk.pass();
    await read(store, 'a');
    await read(store, 'a');
    expect(disk.reads).toEqual(['a']);
    background(write(store, { a: '2' }));
    await disk.pass();
    expect(await read(store, 'a')).toBe('2');
    expect(disk.reads).toEqual(['a']);
    background(write(store, { a: null }));
    await disk.pass();
    expect(await read(store, 'a')).toBeUndefined();
    expect(await keysOf(store.scan(''))).toEqual([]);
  });

  it('is not filled by rows that nobody reads', async () => {
    const { store, disk } = gatedStore({ cacheBytes: 10_000 });
    background(write(store, { a: '1' }));
    await disk.pass();
    await read(store, 'a');
    expect(disk.reads).toEqual(['a']);
  });
});

describe('closing', () => {
  it('frees the disk only after the last write', async () => {
    const { store, disk } = gatedStore();
    const commit = write(store, { a: '1' });
    const closing = store.close();
    await settled();
    expect(disk.closed).toBe(false);
    await disk.pass();
    await commit;
    await closing;
    expect(disk.closed).toBe(true);
  });
});
