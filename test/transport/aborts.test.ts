import { getEventListeners } from 'node:events';
import { expect, it } from 'vitest';
import { Aborts } from '../../src/transport/aborts.ts';

it('puts one listener on a signal, however many wait, and none when nobody does', () => {
  const aborts = new Aborts();
  const { signal } = new AbortController();
  const leave = Array.from({ length: 20 }, () => aborts.add(signal, () => undefined));
  expect(getEventListeners(signal, 'abort')).toHaveLength(1);
  for (const each of leave) each();
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  for (const each of leave) each();
  aborts.add(signal, () => undefined);
  expect(getEventListeners(signal, 'abort')).toHaveLength(1);
});

it('does once what still waits at the abort, also where one of it takes others back', () => {
  const aborts = new Aborts();
  const [one, other] = [new AbortController(), new AbortController()];
  const done: string[] = [];
  const work = (name: string) => (): void => {
    done.push(name);
  };
  const leave = aborts.add(one.signal, work('left'));
  const first = aborts.add(one.signal, () => {
    done.push('first');
    first();
  });
  aborts.add(one.signal, work('second'));
  aborts.add(other.signal, work('other'));
  leave();
  one.abort();
  expect(done).toEqual(['first', 'second']);
  other.abort();
  expect(done).toEqual(['first', 'second', 'other']);
});
