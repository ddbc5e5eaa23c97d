/** Handlers that throw, and handlers that hang. */
import { describe, expect, test } from 'vitest';
import type { Call } from '../../src/inbox/attempt.ts';
import { dropDead, retryDead } from '../../src/inbox/progress.ts';
import { newRow } from '../../src/store/outbox-row.ts';
import { openMemory } from '../../src/store/memory.ts';
import { inboxRows, outboxRows, pluginState } from '../../src/store/tables.ts';
import { settle } from '../support/clock.ts';
import { textRow } from '../support/inbox-row.ts';
import { A, B, rowsOf, deadOf, bench, type Handle } from './bench.ts';

describe('a handler that throws', () => {
  test('writes nothing, is called again after growing waits, and its row dies after five attempts', async () => {
    const times: number[] = [];
    const b = bench({
      p: (_, { staging, attempt }) => {
        times.push(b.clock.now());
        pluginState.put(staging, 'p', 'k', Uint8Array.of(attempt));
        outboxRows.put(
          staging,
          A,
          attempt,
          newRow({ recipient: A, timestamp: attempt, kind: 'text', content: Uint8Array.of(1) }),
        );
        throw new TypeError('no');
      },
    }).start();
    await b.give(A, '1');
    await settle();
    const first = b.clock.now();
    for (let i = 0; i < 250; i++) await b.clock.advance(1_000);
    await b.dispatcher.idle();
    const waits = times.map((time, i) => time - (times[i - 1] ?? first));
    expect(waits).toHaveLength(5);
    for (const [i, wait] of [1_000, 5_000, 25_000, 125_000].entries()) {
      expect(waits[i + 1]).toBeGreaterThanOrEqual(wait);
      expect(waits[i + 1]).toBeLessThanOrEqual(wait * 1.25 + 1_000);
    }
    expect(await deadOf(b.store)).toMatchObject([{ plugin: 'p', attempts: 5, error: 'no' }]);
    expect(await rowsOf(b.store)).toEqual([]);
    expect(await pluginState.get(b.store.batch(), 'p', 'k')).toBeUndefined();
    expect(b.rings).toBe(0);
    expect(b.dispatcher.counters).toMatchObject({ handled: 0, failed: 5, dead: 1 });
  });

  test('leaves nothing of a row that it discards, and what it has failed at for others', async () => {
    const handlers: Record<string, Handle> = {
      p: () => {
        throw new TypeError('no');
      },
      q: (text) => {
        if (text === 'both') throw new TypeError('neither');
      },
    };
    const b = bench(handlers, { discarded: 'p' }).start();
    await b.give(A, '1');
    await b.give(A, 'both');
    for (let i = 0; i < 500; i++) await b.clock.advance(1_000);
    await b.dispatcher.idle();
    expect(await rowsOf(b.store)).toEqual([]);
    expect(await deadOf(b.store)).toMatchObject([{ plugin: 'q', attempts: 5 }]);
    expect(b.dispatcher.counters).toMatchObject({ failed: 15, dead: 1 });
  });

  test.each([
    ['p', 0],
    ['q', 1],
  ])(
    'leaves nothing of a row that has ended the process too often where %s discards it',
    async (discarded, dead) => {
      const b = bench({ p: () => undefined }, { discarded });
      const batch = b.store.batch();
      const progress = [{ plugin: 'p', done: false, attempts: 1, retryAt: 0, error: 'died', deaths: 8 }];
      inboxRows.put(batch, 1, { ...textRow(A, '1'), progress });
      await batch.commit();
      b.start();
      await b.dispatcher.idle();
      expect(await rowsOf(b.store)).toEqual([]);
      expect(await deadOf(b.store)).toHaveLength(dead);
    },
  );

  test('holds up its own conversation, in order, and no other', async () => {
    const seen: string[] = [];
    const b = bench(
      {
        p: (text, { attempt }) => {
          if (text === 'a0' && attempt === 1) throw new Error('once');
          seen.push(text);
        },
      },
      { maxRows: 8 },
    ).start();
    for (let i = 0; i < 40; i++) await b.give(A, `a${String(i)}`);
    for (let i = 0; i < 40; i++) await b.give(B, `b${String(i)}`);
    await b.dispatcher.idle();
    expect(seen).toEqual(Array.from({ length: 40 }, (_, i) => `b${String(i)}`));
    await b.clock.advance(1_250);
    await b.dispatcher.idle();
    expect(seen.slice(40)).toEqual(Array.from({ length: 40 }, (_, i) => `a${String(i)}`));
    expect(await rowsOf(b.store)).toEqual([]);
  });

  test('lets the conversation go on once its row is dead', async () => {
    const seen: string[] = [];
    const b = bench({
      p: (text) => {
        if (text === '1') throw new Error('always');
        seen.push(text);
      },
    }).start();
    await b.give(A, '1');
    await b.give(A, '2');
    await b.dispatcher.idle();
    await b.clock.advance(300_000);
    await b.dispatcher.idle();
    expect(seen).toEqual(['2']);
  });

  test('stops no other plugin, and the other one sees the message once', async () => {
    const seen: string[] = [];
    const b = bench({
      bad: () => {
        throw new Error('always');
      },
      good: (text) => seen.push(text),
    }).start();
    await b.give(A, '1');
    await b.give(A, '2');
    await b.dispatcher.idle();
    expect(seen).toEqual(['1', '2']);
    await b.clock.advance(1_000_000);
    await b.dispatcher.idle();
    expect(seen).toEqual(['1', '2']);
    expect((await deadOf(b.store)).map(({ plugin }) => plugin)).toEqual(['bad', 'bad']);
  });

  test('keeps its count over a restart, and a plugin that was done stays done', async () => {
    const store = openMemory();
    const calls: string[] = [];
    const handlers: Record<string, Handle> = {
      bad: (_, { attempt }) => {
        calls.push(`bad ${String(attempt)}`);
        throw new Error('always');
      },
      good: () => calls.push('good'),
    };
    const first = bench(handlers, { store }).start();
    await first.give(A, '1');
    await first.dispatcher.idle();
    await first.end();
    const second = bench(handlers, { store }).start();
    await second.dispatcher.idle();
    expect(calls).toEqual(['bad 1', 'good']);
    await second.clock.advance(1_500);
    expect(calls).toEqual(['bad 1', 'good', 'bad 2']);
  });

  test('is called again when its dead row is put back, and only it', async () => {
    let broken = true;
    const calls: string[] = [];
    const b = bench({
      p: () => {
        calls.push('p');
        if (broken) throw new Error('still');
      },
      q: () => calls.push('q'),
    }).start();
    await b.give(A, '1');
    await b.dispatcher.idle();
    await b.clock.advance(1_000_000);
    await b.dispatcher.idle();
    broken = false;
    expect(await retryDead(b.store, 1)).toBe(true);
    expect(await retryDead(b.store, 1)).toBe(false);
    b.dispatcher.ring();
    await b.dispatcher.idle();
    expect(calls.join(' ')).toBe('p q p p p p p');
    expect(await deadOf(b.store)).toEqual([]);
    expect(await rowsOf(b.store)).toEqual([]);
    expect(await dropDead(b.store, 1)).toBe(false);
  });
});

describe('a handler that hangs', () => {
  test('is ended by its deadline: signal aborted, late writes refused, conversation held up till the next attempt', async () => {
    const calls: Call[] = [];
    const signals: AbortSignal[] = [];
    const b = bench(
      {
        p: (text, call) => {
          calls.push(call);
          signals.push(call.signal);
          return text === 'hang' && call.attempt === 1 ? new Promise(() => undefined) : undefined;
        },
      },
      { deadlineMs: 10_000 },
    ).start();
    await b.give(A, 'hang');
    await settle();
    await b.clock.advance(9_999);
    expect(signals[0]?.aborted).toBe(false);
    await b.clock.advance(1);
    expect(signals[0]?.aborted).toBe(true);
    expect(() => {
      calls[0]?.staging.put('state/p/x', Uint8Array.of(1));
    }).toThrow('did not end in time');
    await expect(calls[0]?.staging.get('state/p/x')).rejects.toThrow('did not end in time');
    await b.clock.advance(1_250);
    await b.dispatcher.idle();
    expect(calls).toHaveLength(2);
    expect(await rowsOf(b.store)).toEqual([]);
  });

  test('keeps no lane from running: other conversations go on', async () => {
    const seen: string[] = [];
    const b = bench({
      p: (text) => (text === 'hang' ? new Promise(() => undefined) : seen.push(text)),
    }).start();
    await b.give(A, 'hang');
    for (let i = 0; i < 100; i++) await b.give(B, String(i));
    await settle();
    expect(seen).toHaveLength(100);
  });
});
