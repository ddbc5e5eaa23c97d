/** What every backend of the store promises; each runs this suite. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { toUtf8 } from '../../src/bytes.ts';
import { isAccepted } from '../../src/store/accepted.ts';
import type { Store } from '../../src/store/store.ts';
import { keysOf, read, rowsOf, value, write } from '../support/store-rows.ts';

/** A backend on rows that outlive one store. */
export interface Backend {
  open(): Promise<Store>;
  /** Removes the rows; every store is closed. */
  remove(): Promise<void>;
}

export function storeConformance(name: string, makeBackend: () => Promise<Backend>): void {
  describe(`${name} keeps the store contract`, () => {
    let backend: Backend;
    let store: Store;

    beforeEach(async () => {
      backend = await makeBackend();
      store = await backend.open();
    });

    afterEach(async () => {
      await store.close();
      await backend.remove();
    });

    async function reopen(): Promise<void> {
      await store.close();
      store = await backend.open();
    }

    describe('a batch', () => {
      it('reads nothing where nothing was written', async () => {
        expect(await read(store, 'a')).toBeUndefined();
      });

      it('reads its own writes, and nobody else does before the commit', async () => {
        await write(store, { a: 'old', b: 'old' });
        const batch = store.batch();
        batch.put('a', value('new'));
        batch.delete('b');
        expect(await batch.get('a')).toEqual(value('new'));
        expect(await batch.get('b')).toBeUndefined();
        expect(await read(store, 'a')).toBe('old');
        expect(await keysOf(store.scan(''))).toEqual(['a', 'b']);
        await batch.commit();
        expect(await read(store, 'a')).toBe('new');
        expect(await keysOf(store.scan(''))).toEqual(['a']);
      });

      it('takes the last of several writes of one key', async () => {
        const batch = store.batch();
        batch.put('a', value('1'));
        batch.delete('a');
        batch.put('a', value('2'));
        batch.put('b', value('1'));
        batch.delete('b');
        await batch.commit();
        await reopen();
        expect(await rowsOf(store.scan(''))).toEqual([['a', '2']]);
      });

      it('that is dropped writes nothing', async () => {
        store.batch().put('a', value('1'));
        await write(store, { b: '1' });
        expect(await read(store, 'a')).toBeUndefined();
      });

      it('without writes commits at once, whatever it has read', async () => {
        const batch = store.batch();
        await batch.get('a');
        await write(store, { a: '1' });
        await batch.commit();
      });

      it('is spent by its commit', async () => {
        const batch = store.batch();
        batch.put('a', value('1'));
        await batch.commit();
        await expect(batch.get('a')).rejects.toMatchObject({ code: 'USAGE' });
        await expect(batch.commit()).rejects.toMatchObject({ code: 'USAGE' });
        expect(() => {
          batch.put('b', value('1'));
        }).toThrow(expect.objectContaining({ code: 'USAGE' }));
        expect(() => {
          batch.delete('b');
        }).toThrow(expect.objectContaining({ code: 'USAGE' }));
      });

      it('refuses keys that have no place in the order', () => {
        const batch = store.batch();
        for (const key of ['', '\0', '\0id', 'a\ud800', '\udc00b']) {
          expect(() => {
            batch.put(key, value('1'));
          }).toThrow(expect.objectContaining({ code: 'USAGE' }));
        }
      });

      it('keeps empty and large values, byte for byte', async () => {
        const large = new Uint8Array(3_000_000).map((_, i) => (i * 31) & 0xff);
        const batch = store.batch();
        batch.put('empty', new Uint8Array(0));
        batch.put('large', large);
        await batch.commit();
        await reopen();
        expect(await store.batch().get('empty')).toEqual(new Uint8Array(0));
        const found = await store.batch().get('large');
        expect(Buffer.compare(found ?? new Uint8Array(0), large)).toBe(0);
      });
    });

    describe('a commit', () => {
      it('survives closing and opening', async () => {
        await write(store, { a: '1', b: '2' });
        await write(store, { a: null, c: '3' });
        await reopen();
        expect(await rowsOf(store.scan(''))).toEqual([
          ['b', '2'],
          ['c', '3'],
        ]);
      });

      it('is seen by batches and scans from the moment it is called', async () => {
        await write(store, { a: '1', b: '1' });
        const done = write(store, { a: '2', b: null, c: '1' });
        expect(await read(store, 'a')).toBe('2');
        expect(await read(store, 'b')).toBeUndefined();
        expect(await rowsOf(store.scan(''))).toEqual([
          ['a', '2'],
          ['c', '1'],
        ]);
        await done;
        expect(await read(store, 'a')).toBe('2');
        expect(await read(store, 'b')).toBeUndefined();
      });

      it('builds on commits that are not durable yet, and all of them end up there in their order', async () => {
        const commits: Promise<void>[] = [];
        for (let i = 1; i <= 200; i++) {
          const batch = store.batch();
          const before = await batch.get('count');
          expect(before === undefined ? 0 : Number(toUtf8(before))).toBe(i - 1);
          batch.put('count', value(String(i)));
          batch.put(`row/${String(i).padStart(4, '0')}`, value(String(i)));
          batch.delete(`row/${String(i - 10).padStart(4, '0')}`);
          commits.push(batch.commit());
        }
        await Promise.all(commits);
        await reopen();
        expect(await read(store, 'count')).toBe('200');
        expect((await keysOf(store.scan('row/'))).at(0)).toBe('row/0191');
        expect(await keysOf(store.scan('row/'))).toHaveLength(10);
      });

      it('waits for its own rows, not for those that came after', async () => {
        const order: string[] = [];
        const first = write(store, { a: '1' }).then(() => order.push('first'));
        await new Promise((resolve) => setImmediate(resolve));
        const second = write(store, { a: '2' }).then(() => order.push('second'));
        await Promise.all([first, second]);
        expect(order).toEqual(['first', 'second']);
      });
    });

    describe('a conflict', () => {
      it('is a key that changed after the batch had read it', async () => {
        await write(store, { a: '1' });
        const batch = store.batch();
        await batch.get('a');
        await write(store, { a: '2' });
        batch.put('b', value('1'));
        await expect(batch.commit()).rejects.toMatchObject({ code: 'STORE_CONFLICT' });
        expect(await rowsOf(store.scan(''))).toEqual([['a', '2']]);
      });

      it.each([
        ['came', {}, { a: '1' }],
        ['went', { a: '1' }, { a: null }],
      ])('is a key that %s', async (_, before, change) => {
        await write(store, before);
        const batch = store.batch();
        await batch.get('a');
        const commit = write(store, change); // not durable yet
        batch.put('b', value('1'));
        await expect(batch.commit()).rejects.toMatchObject({ code: 'STORE_CONFLICT' });
        await commit;
        expect(await read(store, 'b')).toBeUndefined();
      });

      it('is noticed when the value was read twice', async () => {
        const batch = store.batch();
        await batch.get('a');
        await write(store, { a: '1' });
        await batch.get('a');
        batch.put('b', value('1'));
        await expect(batch.commit()).rejects.toMatchObject({ code: 'STORE_CONFLICT' });
      });

      it('is not a key that was only written, or a change elsewhere', async () => {
        await write(store, { a: '1', c: '1' });
        const batch = store.batch();
        await batch.get('c');
        batch.put('a', value('3'));
        await write(store, { a: '2', b: '1' });
        await batch.commit();
        expect(await read(store, 'a')).toBe('3');
      });

      it('does not come with time or with many other commits', async () => {
        await write(store, { mine: '1' });
        const batch = store.batch();
        await batch.get('mine');
        await batch.get('none');
        for (let i = 0; i < 50; i++) {
          const rows = Object.fromEntries(
            Array.from({ length: 400 }, (_, j) => [`other/${String(i)}/${String(j)}`, 'x']),
          );
          await write(store, rows);
        }
        batch.put('mine', value('2'));
        await batch.commit();
        expect(await read(store, 'mine')).toBe('2');
      });

      it('is told within one turn of the event loop, long before a disk could answer', async () => {
        await write(store, { a: '1' });
        const refused = store.batch();
        await refused.get('a');
        const taken = write(store, { a: '2' });
        refused.put('a', value('3'));
        expect(await isAccepted(refused.commit())).toBe(false);
        expect(await isAccepted(taken)).toBe(true);
      });

      it('lets exactly one of two batches through', async () => {
        const batches = [store.batch(), store.batch()];
        for (const batch of batches) {
          await batch.get('a');
          batch.put('a', value('1'));
        }
        const ends = await Promise.allSettled(batches.map((batch) => batch.commit()));
        expect(ends.map((end) => end.status)).toEqual(['fulfilled', 'rejected']);
      });
    });

    describe('a scan', () => {
      it('gives the rows with the prefix in the order of UTF-8', async () => {
        const keys = [
          'a',
          'a/',
          'a/1',
          'a/10',
          'a/2',
          'a/é',
          'a/\u07ff',
          'a/\ud7ff',
          'a/\ue000',
          'a/\uffff',
          'a/\u{10000}',
          'a/\u{10ffff}',
          'a0',
          'b',
        ];
        const shuffled = [...keys].sort((x, y) => ((x.length * 7 + y.length) % 3) - 1);
        await write(store, Object.fromEntries(shuffled.map((key) => [key, key])));
        expect(await keysOf(store.scan(''))).toEqual(keys);
        expect(await keysOf(store.scan('a/'))).toEqual(keys.slice(1, 12));
        expect(await keysOf(store.scan('a/\u{10ffff}'))).toEqual(['a/\u{10ffff}']);
        expect(await keysOf(store.scan('c'))).toEqual([]);
        await reopen();
        expect(await keysOf(store.scan('a/'))).toEqual(keys.slice(1, 12));
      });

      it('merges what is durable with what is not', async () => {
        await write(store, { 'a/1': 'd', 'a/3': 'd', 'a/5': 'd', 'a/7': 'd' });
        const done = write(store, {
          'a/0': 'p',
          'a/3': 'p',
          'a/4': 'p',
          'a/5': null,
          'a/9': 'p',
          'a/6': null,
        });
        const expected = [
          ['a/0', 'p'],
          ['a/1', 'd'],
          ['a/3', 'p'],
          ['a/4', 'p'],
          ['a/7', 'd'],
          ['a/9', 'p'],
        ];
        expect(await rowsOf(store.scan('a/'))).toEqual(expected);
        await done;
        expect(await rowsOf(store.scan('a/'))).toEqual(expected);
      });

      it('starts behind a key and stops at a limit', async () => {
        await write(store, { 'a/1': '', 'a/2': '', 'a/4': '', 'b/1': '' });
        const done = write(store, { 'a/2': null, 'a/3': '', 'a/5': '' });
        for (let round = 0; round < 2; round++) {
          expect(await keysOf(store.scan('a/', { limit: 2 }))).toEqual(['a/1', 'a/3']);
          expect(await keysOf(store.scan('a/', { after: 'a/1' }))).toEqual(['a/3', 'a/4', 'a/5']);
          expect(await keysOf(store.scan('a/', { after: 'a/2', limit: 2 }))).toEqual(['a/3', 'a/4']);
          expect(await keysOf(store.scan('a/', { after: 'a/3', limit: 1 }))).toEqual(['a/4']);
          expect(await keysOf(store.scan('a/', { after: 'a/5' }))).toEqual([]);
          expect(await keysOf(store.scan('a/', { after: 'b' }))).toEqual([]);
          expect(await keysOf(store.scan('a/', { after: 'A', limit: 1 }))).toEqual(['a/1']);
          expect(await keysOf(store.scan('a/', { limit: 0 }))).toEqual([]);
          await done;
        }
      });

      it('shows the rows as of the call, whatever is committed later', async () => {
        await write(store, { 'a/1': '1', 'a/2': '1' });
        const pending = write(store, { 'a/3': '1' });
        const scan = store.scan('a/');
        const later = write(store, { 'a/0': '2', 'a/1': '2', 'a/2': null, 'a/4': '2' });
        expect(await rowsOf(scan)).toEqual([
          ['a/1', '1'],
          ['a/2', '1'],
          ['a/3', '1'],
        ]);
        await Promise.all([pending, later]);
        expect(await keysOf(store.scan('a/'))).toEqual(['a/0', 'a/1', 'a/3', 'a/4']);
      });

      it('goes through more rows than fit in one page, while they are removed behind it', async () => {
        for (let i = 0; i < 10; i++) {
          await write(
            store,
            Object.fromEntries(
              Array.from({ length: 100 }, (_, j) => [`a/${String(i)}${String(j).padStart(2, '0')}`, 'x']),
            ),
          );
        }
        let seen = 0;
        for await (const [key] of store.scan('a/')) {
          seen++;
          await write(store, { [key]: null });
        }
        expect(seen).toBe(1_000);
        expect(await keysOf(store.scan('a/'))).toEqual([]);
      });

      it('that is left early does not keep the store open', async () => {
        await write(store, { 'a/1': '', 'a/2': '' });
        for await (const row of store.scan('a/')) {
          expect(row[0]).toBe('a/1');
          break;
        }
        await reopen();
        expect(await keysOf(store.scan('a/'))).toEqual(['a/1', 'a/2']);
      });

      it('that was never started does not keep the store open', async () => {
        await write(store, { 'a/1': '' });
        store.scan('a/');
        await reopen();
        expect(await keysOf(store.scan('a/'))).toEqual(['a/1']);
      });
    });

    describe('closing', () => {
      it('waits for the commits under way', async () => {
        const commit = write(store, { a: '1' });
        let durable = false;
        const noted = commit.then(() => (durable = true));
        await store.close();
        expect(durable).toBe(true);
        await noted;
        store = await backend.open();
        expect(await read(store, 'a')).toBe('1');
      });

      it('refuses what begins later', async () => {
        const batch = store.batch();
        batch.put('a', value('1'));
        const closing = store.close();
        await expect(batch.commit()).rejects.toMatchObject({ code: 'STORE_CLOSED' });
        await expect(store.batch().get('a')).rejects.toMatchObject({ code: 'STORE_CLOSED' });
        expect(() => store.scan('')).toThrow(expect.objectContaining({ code: 'STORE_CLOSED' }));
        await closing;
        store = await backend.open();
        expect(await read(store, 'a')).toBeUndefined();
      });

      it('can be asked for twice', async () => {
        await Promise.all([store.close(), store.close()]);
        await store.close();
      });
    });
  });
}
