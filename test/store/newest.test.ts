import { describe, expect, it } from 'vitest';
import { Newest } from '../../src/store/newest.ts';

describe('the newest rows of a table', () => {
  it('are so many at most', () => {
    const newest = new Newest<number>({ rows: 2, bytes: 1000 });
    expect([1, 2, 3, 4].map((id) => newest.add(id, 1))).toEqual([[], [], [1], [2]]);
  });

  it('have so many bytes at most, and the last one is always among them', () => {
    const newest = new Newest<string>({ rows: 100, bytes: 10 });
    expect(newest.add('a', 4)).toEqual([]);
    expect(newest.add('b', 4)).toEqual([]);
    expect(newest.add('c', 4)).toEqual(['a']);
    expect(newest.add('d', 50)).toEqual(['b', 'c']);
    expect(newest.add('e', 1)).toEqual(['d']);
    expect(newest.add('f', 9)).toEqual([]);
  });
});
