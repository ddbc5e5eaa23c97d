import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, dirname } from 'node:path';
import type { Duplex } from 'node:stream';
import { afterEach, expect, it } from 'vitest';
import { WebSocketServer, type WebSocket } from 'ws';
import { EMPTY } from '../../src/bytes.ts';
import { systemPlatform, type Log } from '../../src/platform.ts';
import { signal as proto } from '../../src/proto/messages.js';
import { Connection } from '../../src/transport/connection.ts';
import { Socket, type SocketOptions } from '../../src/transport/socket.ts';
import { quiet } from '../support/until.ts';

const { REQUEST, RESPONSE } = proto.WebSocketMessage.Type;
const GET = { verb: 'GET', path: '/v1/x' } as const;
const certs = join(
  dirname(createRequire(import.meta.url).resolve('@signalapp/mock-server/package.json')),
  'certs',
);
const closers: (() => void)[] = [];

afterEach(() => {
  for (const close of closers.splice(0)) close();
});

interface Heard {
  readonly upgrades: IncomingMessage[];
  readonly sockets: WebSocket[];
}

async function listen(server: Server, secure = false): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return `${secure ? 'https' : 'http'}://127.0.0.1:${String(port)}`;
}

/** An ordinary websocket server that hands each frame to `answer`. */
async function serve(
  answer: (frame: proto.WebSocketMessage, socket: WebSocket) => void = () => undefined,
  server: Server = createServer(),
  secure = false,
  maxPayload = 512 * 1024,
): Promise<Heard & { url: string }> {
  const heard: Heard = { upgrades: [], sockets: [] };
  const wss = new WebSocketServer({ server, maxPayload });
  wss.on('headers', (headers) => headers.push('X-Signal-Alert: idle-primary-device'));
  wss.on('connection', (socket, request) => {
    heard.upgrades.push(request);
    heard.sockets.push(socket);
    socket.on('error', () => undefined);
    socket.on('message', (data) => {
      answer(proto.WebSocketMessage.decode(data as Buffer), socket);
    });
  });
  closers.push(() => {
    for (const socket of wss.clients) socket.terminate();
    wss.close();
    server.close();
  });
  return { ...heard, url: await listen(server, secure) };
}

/** A server that refuses each upgrade with this answer. */
async function refuse(answer: string): Promise<string> {
  const server = createServer();
  server.on('upgrade', (_request: IncomingMessage, socket: Duplex) => {
    socket.end(answer);
  });
  closers.push(() => server.close());
  return await listen(server);
}

function ok({ request }: proto.WebSocketMessage, socket: WebSocket): void {
  if (!request) return;
  const response = { id: request.id ?? 0, status: 200, message: 'OK', headers: ['X-Signal-Timestamp:1'] };
  socket.send(proto.WebSocketMessage.encode({ type: RESPONSE, response }).finish());
}

async function open(url: string, options: Partial<SocketOptions> = {}, ca?: string): Promise<Socket> {
  const endpoint = ca === undefined ? { url } : { url, ca };
  const socket = await Socket.open(
    { endpoint, platform: systemPlatform(), ...options },
    new AbortController().signal,
  );
  closers.push(() => {
    socket.terminate();
  });
  return socket;
}

it('opens the chat path with its slash, the credentials in the header, and a user agent of its own', async () => {
  const warnings: object[] = [];
  const { log } = systemPlatform();
  const platform = { ...systemPlatform(), log: { ...log, warn: (fields) => warnings.push(fields) } as Log };
  const server = await serve(ok);
  const socket = await open(server.url, { platform, credentials: { username: 'aci.2', password: 'pa:ss' } });
  const [upgrade] = server.upgrades;
  expect(upgrade?.url).toBe('/v1/websocket/');
  expect(upgrade?.headers.authorization).toBe(`Basic ${Buffer.from('aci.2:pa:ss').toString('base64')}`);
  expect(upgrade?.headers['user-agent']).toBe('Countersign');
  expect(upgrade?.headers['sec-websocket-extensions']).toBeUndefined();
  expect(warnings).toEqual([{ alert: 'idle-primary-device' }]);
  expect((await socket.request(GET)).headers).toEqual({ 'x-signal-timestamp': '1' });
  socket.close();
  expect(await socket.closed).toEqual({ code: 1000, reason: '', by: 'us' });
});

it('sends no credentials on an anonymous socket', async () => {
  const server = await serve();
  await open(server.url);
  expect(server.upgrades[0]?.headers.authorization).toBeUndefined();
});

it('takes a request that comes in the moment of opening', async () => {
  const server = createServer();
  const { url } = await serve(undefined, server);
  const seen: string[] = [];
  const early = await new Promise<Socket>((resolve, reject) => {
    const first = new WebSocketServer({ noServer: true });
    server.removeAllListeners('upgrade');
    server.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
      stream.cork();
      first.handleUpgrade(request, stream, head, (socket) => {
        const frame = { verb: 'PUT', path: '/v1/address', body: EMPTY, id: 0 };
        socket.send(proto.WebSocketMessage.encode({ type: REQUEST, request: frame }).finish());
        stream.uncork();
      });
    });
    open(url, { onRequest: (request) => seen.push(request.path) }).then(resolve, reject);
  });
  await expect.poll(() => seen).toEqual(['/v1/address']);
  early.terminate();
});

it('names a refused upgrade by what it means', async () => {
  const credentials = { username: 'a.2', password: 'b' };
  const line = (status: string, headers = ''): string =>
    `HTTP/1.1 ${status}\r\n${headers}Content-Length: 0\r\n\r\n`;
  await expect(open(await refuse(line('403 Forbidden')), { credentials })).rejects.toMatchObject({
    code: 'DEVICE_UNLINKED',
  });
  await expect(open(await refuse(line('403 Forbidden')))).rejects.toMatchObject({
    code: 'SERVER_UNREACHABLE',
  });
  await expect(open(await refuse(line('499 Old')))).rejects.toMatchObject({ code: 'CLIENT_OUTDATED' });
  const limited = await refuse(line('429 Too Many', 'Retry-After: 120\r\n'));
  const before = Date.now();
  const error = (await open(limited).catch((caught: unknown) => caught)) as { code: string; retryAt: number };
  expect(error.code).toBe('RATE_LIMITED');
  expect(error.retryAt - before).toBeGreaterThanOrEqual(119_000);
  await expect(open(await refuse('nonsense\r\n\r\n'))).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
  await expect(
    open(await refuse(line('302 Found', 'Location: http://127.0.0.1:1/\r\n'))),
  ).rejects.toMatchObject({
    code: 'SERVER_UNREACHABLE',
  });
});

it('says that nobody listens, or that the name is unknown', async () => {
  const tcp = createTcpServer();
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
  const { port } = tcp.address() as AddressInfo;
  await new Promise((resolve) => tcp.close(resolve));
  await expect(open(`http://127.0.0.1:${String(port)}`)).rejects.toMatchObject({
    code: 'SERVER_UNREACHABLE',
    message: expect.stringContaining('ECONNREFUSED') as string,
  });
});

it('gives the reason of an abort while it is opening', async () => {
  const tcp = createTcpServer();
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
  closers.push(() => tcp.close());
  const { port } = tcp.address() as AddressInfo;
  const abort = new AbortController();
  const url = `http://127.0.0.1:${String(port)}`;
  const opening = Socket.open({ endpoint: { url }, platform: systemPlatform() }, abort.signal);
  setTimeout(() => {
    abort.abort(new Error('enough'));
  }, 20);
  await expect(opening).rejects.toThrow('enough');
});

it('trusts the CA of the profile and no other, and offers HTTP/1.1 only', async () => {
  const pem = (name: string): string => readFileSync(join(certs, name), 'utf8');
  const tls = createTlsServer({
    key: pem('key.pem'),
    cert: pem('full-cert.pem'),
    ALPNProtocols: ['h2', 'http/1.1'],
  });
  const protocols: unknown[] = [];
  tls.on('secureConnection', (socket) => protocols.push(socket.alpnProtocol));
  const { url } = await serve(ok, tls, true);
  await expect(open(url)).rejects.toMatchObject({ code: 'TLS_UNTRUSTED' });
  const socket = await open(url, {}, pem('ca-cert.pem'));
  expect((await socket.request(GET)).status).toBe(200);
  expect(protocols.at(-1)).toBe('http/1.1');
  const clear = url.replace('https', 'http');
  await expect(open(clear)).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
  const plain = await serve(ok);
  await expect(open(plain.url.replace('http', 'https'))).rejects.toMatchObject({
    code: 'SERVER_UNREACHABLE',
    next: expect.stringContaining('TLS') as string,
  });
  await expect(open('nonsense')).rejects.toMatchObject({ code: 'PROFILE_INVALID' });
});

it('tells an over-long request from a lost connection', async () => {
  const { url } = await serve(ok);
  const socket = await open(url);
  const large = socket.request({ verb: 'PUT', path: '/x', body: new Uint8Array(600_000) });
  await expect(large).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
});

it('ignores text, and closes on what is no frame and on what is too large', async () => {
  const first = await serve(ok);
  const socket = await open(first.url);
  first.sockets[0]?.send('hello');
  expect((await socket.request(GET)).status).toBe(200);
  expect(socket.counts.textFrames).toBe(1);
  first.sockets[0]?.send(Uint8Array.of(0x12, 0xff, 0xff));
  expect((await socket.closed).code).toBe(1007);
  const other = await open(first.url);
  first.sockets[1]?.send(new Uint8Array(5 * 1024 * 1024));
  expect((await other.closed).code).toBe(1006);
});

it('stops reading while it is paused, and closes all the same', async () => {
  const server = await serve(ok);
  const seen: unknown[] = [];
  const socket = await open(server.url, { onRequest: (request) => seen.push(request) });
  socket.pause();
  const request = { verb: 'PUT', path: '/api/v1/message', body: new Uint8Array(1000), id: 1 };
  for (let i = 0; i < 3; i++)
    server.sockets[0]?.send(proto.WebSocketMessage.encode({ type: REQUEST, request }).finish());
  await quiet();
  expect(seen).toHaveLength(0);
  socket.resume();
  await expect.poll(() => seen).toHaveLength(3);
  socket.pause();
  socket.close();
  expect((await socket.closed).code).toBe(1000);
});

it('is closed within seconds of an abort though the server does not answer', async () => {
  const server = await serve(ok);
  const abort = new AbortController();
  const connection = new Connection({ endpoint: { url: server.url }, platform: systemPlatform() });
  const running = connection.run(abort.signal);
  await connection.request(GET);
  server.sockets[0]?.pause();
  const before = performance.now();
  abort.abort();
  await running;
  expect(performance.now() - before).toBeLessThan(10_000);
});

it('finds its way back to a server that was away', async () => {
  const first = await serve(ok);
  const abort = new AbortController();
  const states: string[] = [];
  const connection = new Connection({
    endpoint: { url: first.url },
    platform: systemPlatform(),
    onState: (state) => states.push(state),
  });
  const running = connection.run(abort.signal);
  await connection.request(GET);
  first.sockets[0]?.close(1001);
  await expect.poll(() => connection.state).toBe('waiting');
  expect((await connection.request(GET)).status).toBe(200);
  expect(states).toEqual(['connecting', 'online', 'waiting', 'connecting', 'online']);
  abort.abort();
  await running;
});
