import { getEventListeners } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { BotError } from '../../src/errors.ts';
import { upgradeError } from '../../src/transport/close.ts';
import { Connection, type ConnectionParts } from '../../src/transport/connection.ts';
import type { ConnectionState, Delivery, Incoming } from '../../src/transport/request.ts';
import { ManualClock, settle, testPlatform } from '../support/clock.ts';
import { FakeServer, type Script } from '../support/fake-socket.ts';

const GET = { verb: 'GET', path: '/v1/x' } as const;
const credentials = { username: '11111111-1111-4111-8111-111111111111.2', password: 'secret' };
const stops: (() => void)[] = [];

afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

async function start(parts: Partial<ConnectionParts> & { anonymous?: boolean; script?: Script } = {}) {
  const { anonymous = false, script, ...rest } = parts;
  const clock = new ManualClock();
  const server = new FakeServer(script);
  const states: string[] = [];
  const onState = (state: ConnectionState, error?: BotError): void => {
    states.push(error ? `${state} ${error.code}` : state);
  };
  const connection = new Connection({
    endpoint: { url: 'http://127.0.0.1:1' },
    platform: testPlatform({ clock }),
    openSocket: server.openSocket,
    onState,
    ...(!anonymous && { credentials }),
    ...rest,
  });
  const abort = new AbortController();
  stops.push(() => {
    abort.abort();
  });
  const ended = connection.run(abort.signal).then(
    () => 'done',
    (error: unknown) => (error instanceof BotError ? error.code : error),
  );
  await settle();
  return { abort, clock, connection, ended, server, states };
}

async function take(connection: Connection, count: number): Promise<Incoming[]> {
  const taken: Incoming[] = [];
  if (count === 0) return taken;
  for await (const incoming of connection.incoming()) {
    taken.push(incoming);
    if (taken.length === count) break;
  }
  return taken;
}

function delivery(incoming: Incoming | undefined): Delivery {
  if (incoming?.kind !== 'delivery') throw new Error('not a delivery');
  return incoming.delivery;
}

describe('connecting', () => {
  it('goes online with its credentials, and stops with 1000 on an abort', async () => {
    const { abort, ended, server, states } = await start();
    expect(server.peer.options.credentials).toEqual(credentials);
    abort.abort();
    expect(await ended).toBe('done');
    expect(server.peer.closedWith).toBe(1000);
    expect(states).toEqual(['connecting', 'online', 'stopped']);
  });

  it('keeps trying a server that cannot be reached, and says why it waits', async () => {
    const { clock, server, states } = await start({ openSocket: () => Promise.reject(new Error('odd')) });
    await clock.advance(10_000);
    expect(server.peers).toHaveLength(0);
    expect(states.slice(0, 3)).toEqual(['connecting', 'waiting SERVER_UNREACHABLE', 'connecting']);
  });

  it('waits as long as the server asked', async () => {
    const { clock, server } = await start();
    server.refusals.push(upgradeError(503, true, clock.now() + 200_000));
    server.peer.hangUp(1006);
    await settle();
    await clock.advance(2000);
    expect(server.refusals).toEqual([]);
    await clock.advance(190_000);
    expect(server.peers).toHaveLength(1);
    await clock.advance(11_000);
    expect(server.peers).toHaveLength(2);
  });

  it('backs off further with each failure, and starts over after it was online for a while', async () => {
    const { clock, server } = await start();
    server.refusals.push(...Array.from({ length: 12 }, () => new BotError('SERVER_UNREACHABLE', 'x')));
    server.peer.hangUp(1006);
    await settle();
    while (server.peers.length < 2) await clock.advance(1000);
    await clock.advance(61_000);
    server.peer.hangUp(1001);
    await settle();
    await clock.advance(2000);
    expect(server.peers).toHaveLength(3);
  });

  it('is stopped at once while it waits', async () => {
    const { abort, clock, ended, server } = await start();
    server.peer.hangUp(1006);
    await settle();
    abort.abort();
    expect(await ended).toBe('done');
    expect(clock.sleeping).toBe(0);
  });
});

describe('the end of a socket', () => {
  it('stops when the device is connected elsewhere', async () => {
    const { connection, ended, server, states } = await start();
    server.peer.hangUp(4409, 'Connected elsewhere');
    expect(await ended).toBe('CONNECTED_ELSEWHERE');
    expect(states.at(-1)).toBe('stopped CONNECTED_ELSEWHERE');
    await expect(connection.request(GET)).rejects.toMatchObject({ code: 'CONNECTED_ELSEWHERE' });
  });

  it('takes 4401 and then a refused upgrade as unlinked', async () => {
    const { clock, ended, server } = await start();
    server.refusals.push(upgradeError(403, true));
    server.peer.hangUp(4401);
    await settle();
    await clock.advance(1000);
    expect(await ended).toBe('DEVICE_UNLINKED');
  });

  it('comes back only after a second from 4401: the old credentials go after it was sent', async () => {
    const { clock, server } = await start();
    server.peer.hangUp(4401);
    await settle();
    await clock.advance(999);
    expect(server.peers).toHaveLength(1);
    await clock.advance(1);
    expect(server.peers).toHaveLength(2);
  });

  it('takes 4401, a socket that is displaced and then a refused upgrade as unlinked', async () => {
    const { clock, ended, server } = await start();
    server.peer.hangUp(4401);
    await settle();
    await clock.advance(1000);
    expect(server.peers).toHaveLength(2);
    server.refusals.push(upgradeError(403, true));
    server.peer.hangUp(4409, 'Connected elsewhere');
    await settle();
    await clock.advance(5000);
    expect(await ended).toBe('DEVICE_UNLINKED');
  });

  it('takes 4401 and then a good connection as nothing', async () => {
    const { clock, server, connection } = await start();
    server.peer.hangUp(4401);
    await settle();
    await clock.advance(4000);
    expect(server.peer.requests.map((request) => request.path)).toEqual(['/v1/keepalive']);
    server.refusals.push(upgradeError(403, true)); // a new suspicion, not the confirmation of the old one
    server.peer.hangUp(1006);
    await settle();
    await clock.advance(20_000);
    expect(connection.state).toBe('online');
  });

  it('takes two refusals in a row as unlinked, also when the network fails in between', async () => {
    const { clock, ended, server } = await start();
    server.refusals.push(
      upgradeError(403, true),
      new BotError('SERVER_UNREACHABLE', 'x'),
      upgradeError(403, true),
    );
    server.peer.hangUp(1000);
    await settle();
    await clock.advance(30_000);
    expect(await ended).toBe('DEVICE_UNLINKED');
  });

  it('takes close code 3000 twice as unlinked, though each socket opens', async () => {
    const { clock, ended, server } = await start();
    server.peer.hangUp(3000);
    await settle();
    await clock.advance(1000);
    server.peer.hangUp(3000);
    expect(await ended).toBe('DEVICE_UNLINKED');
  });

  it('connects again shortly after an ordinary close', async () => {
    const { clock, server, states } = await start();
    server.peer.hangUp(1000);
    await settle();
    await clock.advance(1000);
    expect(server.peers).toHaveLength(2);
    expect(states).toEqual(['connecting', 'online', 'waiting', 'connecting', 'online']);
  });
});

describe('keepalive', () => {
  it('is sent after three seconds, then every thirty', async () => {
    const { clock, server } = await start();
    await clock.advance(2999);
    expect(server.peer.requests).toHaveLength(0);
    await clock.advance(1);
    expect(server.peer.requests).toHaveLength(1);
    await clock.advance(90_000);
    expect(server.peer.requests).toHaveLength(4);
    expect(server.peers).toHaveLength(1);
  });

  it('replaces a socket that does not answer', async () => {
    const { clock, server } = await start({ script: () => 'silence' });
    await clock.advance(33_000);
    expect(server.peer.closedWith).toBe(1006);
    await clock.advance(2000);
    expect(server.peers).toHaveLength(2);
  });

  it('replaces a deaf socket, whose keepalive is answered by 1000, at once', async () => {
    const { clock, server, states } = await start({ script: () => 'silence' });
    await clock.advance(3000);
    server.peer.hangUp(1000, 'OK');
    await settle();
    expect(server.peers).toHaveLength(2);
    expect(states).toEqual(['connecting', 'online', 'connecting', 'online']);
  });

  it('proves nothing while we are not reading', async () => {
    const { clock, server } = await start({ script: () => 'silence' });
    for (let i = 0; i < 1024; i++) server.peer.deliver(new Uint8Array(10));
    expect(server.peer.paused).toBe(true);
    await clock.advance(100_000);
    expect(server.peers).toHaveLength(1);
    expect(server.peer.closedWith).toBeUndefined();
  });
});

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

describe('care', () => {
  it('restarts on demand, also out of a wait', async () => {
    const { connection, server } = await start();
    connection.restart();
    await settle();
    expect(server.peers).toHaveLength(2);
    expect(server.peers[0]?.closedWith).toBe(1000);
    server.peer.hangUp(1006);
    await settle();
    connection.restart();
    await settle();
    expect(server.peers).toHaveLength(3);
  });

  it('replaces an anonymous socket every five minutes, once it is idle', async () => {
    const { clock, connection, server } = await start({
      anonymous: true,
      script: ({ path }) => (path === GET.path ? 'silence' : { status: 200 }),
    });
    await clock.advance(290_000);
    const slow = connection.request(GET);
    await clock.advance(15_000);
    expect(server.peers).toHaveLength(1);
    server.peer.answer(server.peer.ids.at(-1) ?? 0, { status: 500 });
    server.peer.answer(server.peer.ids.at(-2) ?? 0, { status: 500 });
    expect((await slow).status).toBe(500);
    await clock.advance(250);
    expect(server.peers).toHaveLength(2);
    expect(connection.state).toBe('online');
  });

  it('reports a clock that is more than twelve hours off, once per socket', async () => {
    const skews: number[] = [];
    const day = 24 * 60 * 60_000;
    let clockNow = 0;
    const { clock, server, connection } = await start({
      onSkew: (ms) => skews.push(ms),
      script: () => ({ status: 200, headers: { 'X-Signal-Timestamp': String(clockNow + day) } }),
    });
    clockNow = clock.now();
    await connection.request(GET);
    await connection.request(GET);
    expect(skews).toEqual([day]);
    clockNow -= day;
    server.peer.hangUp(1000);
    await settle();
    await clock.advance(1000);
    await connection.request(GET);
    expect(skews).toEqual([day]);
  });

  it('leaves no timers behind', async () => {
    const { abort, clock, ended } = await start({ anonymous: true });
    await clock.advance(5000);
    abort.abort();
    await ended;
    await settle();
    expect(clock.sleeping).toBe(0);
  });
});
