/** What goes through a connection: requests of ours, deliveries of the server. */
import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { BotError } from '../../src/errors.ts';
import { settle } from '../support/clock.ts';
import { GET, start, take, delivery } from './connected.ts';

describe('requests', () => {
  it('go through the open socket', async () => {
    const { connection } = await start({ script: () => ({ status: 204 }) });
    expect((await connection.request(GET)).status).toBe(204);
  });

  it('wait for the next socket, and are sent on it', async () => {
    const { clock, connection, server } = await start();
    server.peer.hangUp(1006);
    await settle();
    const answer = connection.request(GET);
    await clock.advance(2000);
    expect((await answer).status).toBe(200);
    expect(server.peer.requests).toHaveLength(1);
  });

  it('wait no longer than their deadline, and then name what is wrong', async () => {
    const { clock, connection } = await start({
      openSocket: () => Promise.reject(new BotError('SERVER_UNREACHABLE', 'nobody home')),
    });
    const answer = expect(connection.request(GET, { timeoutMs: 5000 })).rejects.toMatchObject({
      code: 'SERVER_UNREACHABLE',
      message: expect.stringContaining('nobody home') as string,
    });
    await clock.advance(5000);
    await answer;
  });

  it('wait by the hundred on one signal, with one listener', async () => {
    const { connection } = await start({ openSocket: () => Promise.reject(new Error('odd')) });
    const abort = new AbortController();
    const all = Promise.allSettled(
      Array.from({ length: 100 }, () => connection.request(GET, { signal: abort.signal })),
    );
    expect(getEventListeners(abort.signal, 'abort')).toHaveLength(1);
    abort.abort(new Error('enough'));
    for (const end of await all) expect(end).toMatchObject({ reason: new Error('enough') });
    expect(getEventListeners(abort.signal, 'abort')).toHaveLength(0);
  });

  it('keep their deadline over the wait when the time of day is set on meanwhile', async () => {
    const { clock, connection, server } = await start({ script: () => 'silence' });
    server.peer.hangUp(1006);
    await settle();
    let end: unknown = 'none yet';
    connection.request(GET, { timeoutMs: 20_000 }).catch((error: unknown) => {
      end = error;
    });
    clock.set(3_600_000);
    await clock.advance(19_999);
    expect(end).toBe('none yet');
    await clock.advance(1);
    expect(end).toMatchObject({ code: 'REQUEST_TIMEOUT' });
  });

  it('are rejected, not repeated, when the socket closes under them', async () => {
    const { clock, connection, server } = await start({ script: () => 'silence' });
    const answer = expect(connection.request(GET)).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    server.peer.hangUp(1006);
    await answer;
    await clock.advance(2000);
    expect(server.peer.requests).toHaveLength(0);
  });

  it('can be aborted while they wait, and end with the connection', async () => {
    const { abort, connection, server } = await start();
    server.peer.hangUp(1006);
    await settle();
    const one = new AbortController();
    const first = connection.request(GET, { signal: one.signal });
    const second = connection.request(GET);
    one.abort(new Error('not now'));
    await expect(first).rejects.toThrow('not now');
    abort.abort();
    await expect(second).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    await expect(connection.request(GET)).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
  });
});

describe('deliveries', () => {
  it('come in order with their time, are answered when acked, and queue/empty is answered at once', async () => {
    const { connection, server } = await start();
    const ids = [1, 2].map((n) => server.peer.deliver(Uint8Array.of(n), ['X-Signal-Timestamp:99']));
    const empty = server.peer.drained();
    const taken = await take(connection, 3);
    expect(taken.map((incoming) => incoming.kind)).toEqual(['delivery', 'delivery', 'drained']);
    expect(server.peer.answers).toEqual([{ id: empty, status: 200 }]);
    expect(delivery(taken[1]).body).toEqual(Uint8Array.of(2));
    expect(delivery(taken[1]).serverTime).toBe(99);
    delivery(taken[1]).ack();
    delivery(taken[0]).ack();
    expect(server.peer.answers.map((answer) => answer.id)).toEqual([empty, ids[1], ids[0]]);
  });

  it('are handed to a consumer that already waits', async () => {
    const { connection, server } = await start();
    const waiting = take(connection, 1);
    await settle();
    server.peer.deliver(Uint8Array.of(7));
    expect(delivery((await waiting)[0]).body).toEqual(Uint8Array.of(7));
  });

  it('that cannot be acknowledged cost their socket, so that the server sends them again', async () => {
    const { clock, connection, server } = await start();
    const first = server.peer;
    for (const n of [1, 2]) first.deliver(Uint8Array.of(n));
    delivery((await take(connection, 1))[0]).abandon();
    await settle();
    expect(first.closedWith).toBe(1000);
    await clock.advance(1000);
    for (const n of [1, 2]) server.peer.deliver(Uint8Array.of(n));
    const again = await take(connection, 2);
    expect(again.map((incoming) => delivery(incoming).body[0])).toEqual([1, 2]);
  });

  it('of a closed socket can be acked and abandoned without harm', async () => {
    const { clock, connection, server } = await start();
    server.peer.deliver(Uint8Array.of(1));
    const [old] = await take(connection, 1);
    server.peer.hangUp(1006);
    await settle();
    await clock.advance(2000);
    delivery(old).ack();
    delivery(old).abandon();
    await settle();
    expect(connection.state).toBe('online');
    expect(server.peers).toHaveLength(2);
    expect(server.peer.answers).toEqual([]);
  });

  it('stop being read when the consumer lags, and are read again when it has caught up', async () => {
    const { connection, server } = await start();
    for (let i = 0; i < 9; i++) server.peer.deliver(new Uint8Array(1024 * 1024));
    expect(server.peer.paused).toBe(true);
    await take(connection, 3);
    expect(server.peer.paused).toBe(true);
    await take(connection, 3);
    expect(server.peer.paused).toBe(false);
  });

  it('end with the connection, for a consumer that waits too', async () => {
    const { abort, connection, ended } = await start();
    const all = take(connection, 5);
    await settle();
    abort.abort();
    await ended;
    expect(await all).toEqual([]);
  });

  it('have one consumer at a time', async () => {
    const { connection } = await start();
    connection.incoming()[Symbol.asyncIterator]();
    expect(() => connection.incoming()[Symbol.asyncIterator]()).toThrow('one consumer');
  });

  it('are not taken on an anonymous connection, nor are unknown requests; both keep the socket', async () => {
    const anonymous = await start({ anonymous: true });
    const { peer } = anonymous.server;
    expect(peer.statusOf(peer.deliver(Uint8Array.of(1)))).toBe(404);
    const known = (await start()).server.peer;
    expect(known.statusOf(known.ask('PUT', '/api/v2/message'))).toBe(404);
    expect(known.statusOf(known.ask('GET', '/api/v1/message'))).toBe(404);
    expect(known.closedWith).toBeUndefined();
  });
});
