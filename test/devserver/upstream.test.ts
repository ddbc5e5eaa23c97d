import { createSecureServer, type Http2SecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { loadLibrary } from '../../src/devserver/mock-library.ts';
import { Upstream } from '../../src/devserver/upstream.ts';
import { startMock, type Mock } from '../../src/devserver/mock.ts';
import { ServerState } from '../../src/devserver/state.ts';
import { ServerClock } from '../../src/devserver/clock.ts';
import { DIALECTS } from '../../src/devserver/dialect.ts';
import { systemPlatform } from '../../src/platform.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

describe('the way to the mock', () => {
  const closers: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  async function mockServer(): Promise<{ mock: Mock; ca: string }> {
    const { library, certificateAuthority } = await loadLibrary();
    const folder = await mkdtemp(join(tmpdir(), 'upstream-'));
    const platform = systemPlatform();
    const parts = {
      dialect: DIALECTS.aug26,
      clock: new ServerClock(platform.clock),
      random: platform.random,
      log: platform.log,
    };
    const mock = await startMock(library, folder, new ServerState(parts));
    closers.push(
      () => rm(folder, { recursive: true }),
      () => mock.close(),
    );
    return { mock, ca: certificateAuthority };
  }

  it('carries requests both ways over HTTP/2 CONNECT through the internals of ws', async () => {
    const { mock, ca } = await mockServer();
    const upstream = new Upstream(mock.port, ca);
    closers.push(() => upstream.close());
    const asked: string[] = [];
    const options = {
      onRequest: ({ path }: { path: string }) => (asked.push(path), Promise.resolve(200)),
      onClose: () => undefined,
    };
    const socket = await upstream.open({ ...options, path: '/v1/websocket/provisioning/' });
    await expect.poll(() => asked).toEqual(['/v1/address']);
    const chat = await upstream.open({ ...options, path: '/v1/websocket/' });
    const large = new Uint8Array(600_000).fill(32);
    expect((await chat.request('PUT', '/v1/nowhere', [], large))?.status).toBe(404);
    const [a, b] = await Promise.all(
      [1, 2].map(() => chat.request('GET', '/v1/accounts/whoami', [], new Uint8Array(0))),
    );
    expect([a?.status, b?.status]).toEqual([401, 401]);
    socket.close();
    chat.close();
    expect(await chat.request('GET', '/v1/config', [], new Uint8Array(0))).toBeUndefined();
  });

  it('says 3000 when the mock does not know the credentials', async () => {
    const { mock, ca } = await mockServer();
    const upstream = new Upstream(mock.port, ca);
    closers.push(() => upstream.close());
    const code = await new Promise((resolve, reject) => {
      const options = {
        path: '/v1/websocket/',
        authorization: `Basic ${Buffer.from('nobody.1:x').toString('base64')}`,
        onRequest: () => Promise.resolve(200),
        onClose: resolve,
      };
      upstream.open(options).catch(reject);
    });
    expect(code).toBe(3000);
  });

  it('fails where CONNECT is refused, and where nobody listens', async () => {
    const { key, cert, certificateAuthority } = await loadLibrary();
    const server: Http2SecureServer = createSecureServer({
      key,
      cert,
      settings: { enableConnectProtocol: true },
    });
    server.on('stream', (stream) => {
      stream.respond({ ':status': 403 }, { endStream: true });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const upstream = new Upstream(port, certificateAuthority);
    const options = {
      path: '/v1/websocket/',
      onRequest: () => Promise.resolve(200),
      onClose: () => undefined,
    };
    await expect(upstream.open(options)).rejects.toThrow('403');
    await upstream.close();
    await new Promise((resolve) => server.close(resolve));
    await expect(new Upstream(port, certificateAuthority).open(options)).rejects.toThrow();
  });
});
