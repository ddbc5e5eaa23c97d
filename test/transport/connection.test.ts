import { describe, expect, it } from 'vitest';
import { BotError } from '../../src/errors.ts';
import { upgradeError } from '../../src/transport/close.ts';
import { settle } from '../support/clock.ts';
import { GET, credentials, start } from './connected.ts';

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
