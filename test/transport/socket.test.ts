import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { EMPTY, fromUtf8, toUtf8 } from '../../src/bytes.ts';
import { signal as proto } from '../../src/proto/messages.js';
import type { SocketOptions } from '../../src/transport/socket.ts';
import { ManualClock, testPlatform } from '../support/clock.ts';
import { FakePeer, type Script } from '../support/fake-socket.ts';

const GET = { verb: 'GET', path: '/v1/x' } as const;
const { REQUEST, RESPONSE } = proto.WebSocketMessage.Type;
const silence: Script = () => 'silence';

function open(script: Script = silence, options: Partial<SocketOptions> = {}) {
  const clock = new ManualClock();
  const platform = testPlatform({ clock });
  const peer = new FakePeer({ endpoint: { url: 'http://127.0.0.1:1' }, platform, ...options }, script);
  return { clock, peer, socket: peer.socket };
}

describe('requests of ours', () => {
  it('pairs answers with requests in any order, and counts ids from one', async () => {
    const { peer, socket } = open();
    const first = socket.request({ ...GET, path: '/1' });
    const second = socket.request({ ...GET, path: '/2' });
    expect(peer.ids).toEqual([1, 2]);
    peer.answer(2, { status: 201, body: fromUtf8('two') });
    peer.answer(1, { status: 200, body: fromUtf8('one'), headers: { 'X-Thing': 'a:b' } });
    expect(toUtf8((await second).body)).toBe('two');
    expect(await first).toMatchObject({ status: 200, headers: { 'x-thing': 'a:b' } });
    expect(socket.pending).toBe(0);
  });

  it('sends verb, path, headers and body', async () => {
    const { peer, socket } = open(() => ({ status: 204 }));
    await socket.request({
      verb: 'PUT',
      path: '/v1/y?a=b',
      headers: { 'content-type': 'application/json' },
      body: fromUtf8('{}'),
    });
    expect(peer.requests[0]).toMatchObject({
      verb: 'PUT',
      path: '/v1/y?a=b',
      headers: { 'content-type': 'application/json' },
    });
  });

  it.each([
    ['a header value with a colon', { ...GET, headers: { host: 'a:1' } }],
    ['a header value with a line break', { ...GET, headers: { host: 'a\r\nb' } }],
    ['an upper-case header name', { ...GET, headers: { Host: 'a' } }],
    ['a space in the path', { ...GET, path: '/a b' }],
    ['a bar in the path', { ...GET, path: '/a|b' }],
    ['a lone percent sign', { ...GET, path: '/a%zz' }],
    ['a relative path', { ...GET, path: 'v1/x' }],
  ])('refuses %s before anything is sent', async (_name, request) => {
    const { peer, socket } = open();
    await expect(socket.request(request)).rejects.toMatchObject({ code: 'REQUEST_REFUSED' });
    expect(peer.requests).toEqual([]);
    expect(socket.pending).toBe(0);
  });

  it('gives up at the deadline, and ignores an answer that comes later', async () => {
    const { clock, peer, socket } = open();
    const short = socket.request(GET, { timeoutMs: 500 });
    const usual = socket.request(GET);
    const rejected = expect(short).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    await clock.advance(500);
    await rejected;
    peer.answer(1, { status: 200 });
    expect(socket.counts.strayResponses).toBe(1);
    const late = expect(usual).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    await clock.advance(29_500);
    await late;
    expect(clock.sleeping).toBe(0);
  });

  it('keeps deadlines of any order with one sleeper, which the end of the socket wakes', async () => {
    const { clock, peer, socket } = open();
    const late: number[] = [];
    const times = [900, 300, 600, 300];
    const all = times.map((timeoutMs) =>
      socket.request(GET, { timeoutMs }).catch(() => {
        late.push(timeoutMs);
      }),
    );
    await clock.advance(599);
    expect(late).toEqual([300, 300]);
    expect(clock.sleeping).toBe(1);
    await clock.advance(301);
    await Promise.all(all);
    expect(late).toEqual([300, 300, 600, 900]);
    const last = socket.request(GET);
    peer.hangUp(1000);
    await expect(last).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    expect(clock.sleeping).toBe(0);
  });

  it.each([
    ['on', 3_600_000],
    ['back', -3_600_000],
  ])('keeps their deadlines when the time of day is set %s', async (_way, byMs) => {
    const { clock, socket } = open();
    const late: number[] = [];
    const all = [1000, 3000].map((timeoutMs) =>
      socket.request(GET, { timeoutMs }).catch(() => {
        late.push(timeoutMs);
      }),
    );
    clock.set(byMs);
    await clock.advance(2999);
    expect(late).toEqual([1000]);
    await clock.advance(1);
    await Promise.all(all);
  });

  it('shares a signal with a hundred others without a warning of a leak', async () => {
    const { socket } = open();
    const abort = new AbortController();
    const all = Promise.allSettled(
      Array.from({ length: 100 }, () => socket.request(GET, { signal: abort.signal })),
    );
    expect(getEventListeners(abort.signal, 'abort')).toHaveLength(1);
    abort.abort(new Error('enough'));
    for (const end of await all) expect(end).toMatchObject({ reason: new Error('enough') });
  });

  it('passes the reason of an abort on', async () => {
    const { socket } = open();
    const abort = new AbortController();
    const request = socket.request(GET, { signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(request).rejects.toThrow('enough');
    expect(socket.pending).toBe(0);
    await expect(socket.request(GET, { signal: abort.signal })).rejects.toThrow('enough');
  });

  it('rejects what is out when the socket closes', async () => {
    const { peer, socket } = open();
    const requests = Promise.allSettled([socket.request(GET), socket.request(GET)]);
    peer.hangUp(1001, 'bye');
    for (const result of await requests)
      expect(result).toMatchObject({ reason: { code: 'SERVER_UNREACHABLE' } });
    expect(await socket.closed).toEqual({ code: 1001, reason: 'bye', by: 'them' });
    await expect(socket.request(GET)).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
  });

  it.each([1009, 1006])('says with code %i that an over-long request was too large', async (code) => {
    const { peer, socket } = open();
    const large = socket.request({ verb: 'PUT', path: '/x', body: new Uint8Array(600_000) });
    const small = socket.request(GET);
    const results = Promise.allSettled([large, small]);
    peer.hangUp(code);
    expect(await results).toMatchObject([
      { reason: { code: 'PAYLOAD_TOO_LARGE' } },
      { reason: { code: 'SERVER_UNREACHABLE' } },
    ]);
  });

  it('bounds what waits', async () => {
    const { clock, socket } = open();
    const waiting = Promise.allSettled(Array.from({ length: 1024 }, () => socket.request(GET)));
    await expect(socket.request(GET)).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    await clock.advance(30_000);
    expect(await waiting).toHaveLength(1024);
    expect(socket.pending).toBe(0);
  });

  it('sends nothing more when the network does not keep up', async () => {
    const { peer, socket } = open();
    peer.buffered = 17 * 1024 * 1024;
    await expect(socket.request(GET)).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
  });
});

describe('requests of the server', () => {
  it.each([0n, 1n, 2n ** 63n - 1n, 9_007_199_254_740_993n, 2n ** 64n - 1n])(
    'echoes the id %s exactly',
    (id) => {
      const { peer } = open(silence, {
        onRequest: (request) => {
          request.respond(200, 'OK');
        },
      });
      peer.ask('PUT', '/api/v1/message', EMPTY, [], id);
      expect(peer.answers).toEqual([{ id, status: 200 }]);
    },
  );

  it('answers nothing where there is no id, and 404 where nobody listens', () => {
    const { peer } = open();
    peer.frame(
      proto.WebSocketMessage.encode({ type: REQUEST, request: { verb: 'PUT', path: '/x' } }).finish(),
    );
    expect(peer.answers).toEqual([]);
    expect(peer.statusOf(peer.ask('PUT', '/x'))).toBe(404);
  });

  it('reads the time header in any case, and none that is no time', () => {
    const times: (number | undefined)[] = [];
    const { peer } = open(silence, { onRequest: (request) => times.push(request.serverTime) });
    for (const header of [
      'X-Signal-Timestamp:1700000000000',
      'x-signal-timestamp: 5',
      'X-Signal-Timestamp:-1',
      'X-Signal-Timestamp:abc',
      'X-Signal-Key:false',
    ]) {
      peer.deliver(EMPTY, ['X-Signal-Key:false', header]);
    }
    expect(times).toEqual([1_700_000_000_000, 5, undefined, undefined, undefined]);
  });

  it('does not answer after it has begun to close', () => {
    const { peer, socket } = open();
    peer.answersClose = false;
    socket.close();
    peer.ask('PUT', '/x');
    expect(peer.answers).toEqual([]);
  });

  it('ends the socket when the server asks and asks but does not read', async () => {
    const { peer, socket } = open();
    peer.buffered = 17 * 1024 * 1024;
    peer.ask('PUT', '/x');
    expect(await socket.closed).toMatchObject({ code: 1006, by: 'us' });
  });
});

describe('frames', () => {
  it('closes with 1007 on a malformed frame', async () => {
    const { peer, socket } = open();
    peer.frame(Uint8Array.of(0x12, 0xff, 0xff, 0xff));
    expect(peer.closedWith).toBe(1007);
    expect(await socket.closed).toEqual({ code: 1007, reason: '', by: 'us' });
  });

  it('counts and ignores text, unknown types and answers to nothing', () => {
    const { peer, socket } = open();
    socket.onText();
    peer.frame(EMPTY);
    peer.frame(proto.WebSocketMessage.encode({ type: RESPONSE }).finish());
    peer.answer(77, { status: 200 });
    peer.answer(2n ** 63n, { status: 200 });
    peer.frame(proto.WebSocketMessage.encode({ type: RESPONSE, response: { status: 200 } }).finish());
    expect(socket.counts).toEqual({ strayResponses: 3, textFrames: 1, unknownFrames: 2 });
    expect(peer.closedWith).toBeUndefined();
  });
});
