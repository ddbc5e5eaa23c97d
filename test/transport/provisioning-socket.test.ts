import { describe, expect, it } from 'vitest';
import { signal as proto } from '../../src/proto/messages.js';
import { openProvisioningSocket } from '../../src/transport/provisioning-socket.ts';
import { ManualClock, settle, testPlatform } from '../support/clock.ts';
import { FakeServer, type Script } from '../support/fake-socket.ts';

const address = (text: string): Uint8Array => proto.ProvisioningAddress.encode({ address: text }).finish();

async function start(script?: Script) {
  const clock = new ManualClock();
  const server = new FakeServer(script);
  const abort = new AbortController();
  const platform = testPlatform({ clock });
  const opening = openProvisioningSocket(
    { url: 'http://127.0.0.1:1' },
    platform,
    abort.signal,
    server.openSocket,
  );
  opening.catch(() => undefined); // looked at by the tests that expect it
  await settle();
  return { abort, clock, opening, peer: server.peer };
}

describe('openProvisioningSocket', () => {
  it('gives the address, and each message once it is taken', async () => {
    const { opening, peer } = await start();
    expect(peer.options.path).toBe('/v1/websocket/provisioning/');
    const asked = peer.ask('PUT', '/v1/address', address('AbC=='));
    const socket = await opening;
    expect(socket.address).toBe('AbC==');
    expect(peer.statusOf(asked)).toBe(200);
    const first = peer.ask('PUT', '/v1/message', Uint8Array.of(1));
    const second = peer.ask('PUT', '/v1/message', Uint8Array.of(2));
    expect(peer.statusOf(first)).toBeUndefined();
    const taken: number[] = [];
    for await (const body of socket.messages()) {
      taken.push(body[0] ?? -1);
      expect(peer.statusOf(second)).toBe(taken.length === 2 ? 200 : undefined);
      if (taken.length === 2) peer.hangUp(1000, 'Closed');
    }
    expect(taken).toEqual([1, 2]);
    expect((await socket.closed).code).toBe(1000);
  });

  it('keeps the socket alive, also where the server answers 404', async () => {
    const { clock, opening, peer } = await start(() => ({ status: 404 }));
    peer.ask('PUT', '/v1/address', address('a'));
    await opening;
    await clock.advance(61_000);
    expect(peer.requests.map((request) => request.path)).toEqual(Array(2).fill('/v1/keepalive/provisioning'));
    expect(peer.closedWith).toBeUndefined();
  });

  it('gives up on a server that is silent, or says nothing of use', async () => {
    const silent = await start();
    await silent.clock.advance(20_000);
    await expect(silent.opening).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    expect(silent.peer.closedWith).toBe(1000);
    for (const body of [Uint8Array.of(0x0a, 0xff), address(''), address('x'.repeat(201))]) {
      const { opening, peer } = await start();
      peer.ask('PUT', '/v1/address', body);
      await expect(opening).rejects.toMatchObject({ code: 'ANSWER_INVALID' });
    }
    const gone = await start();
    gone.peer.hangUp(1011);
    await expect(gone.opening).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
  });

  it('closes on an abort, before and after the address', async () => {
    const before = await start();
    before.abort.abort(new Error('enough'));
    await expect(before.opening).rejects.toThrow('enough');
    const after = await start();
    after.peer.ask('PUT', '/v1/address', address('a'));
    const socket = await after.opening;
    after.abort.abort();
    expect((await socket.closed).code).toBe(1000);
    await settle();
    expect(after.clock.sleeping).toBe(0);
  });

  it('holds at most sixteen messages that nobody takes', async () => {
    const { opening, peer } = await start();
    peer.ask('PUT', '/v1/address', address('a'));
    await opening;
    const ids = Array.from({ length: 17 }, () => peer.ask('PUT', '/v1/message', Uint8Array.of(1)));
    expect(ids.map((id) => peer.statusOf(id)).filter((status) => status === 404)).toHaveLength(1);
  });
});
