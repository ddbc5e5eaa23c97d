import { createServer, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ServerSecretParams } from '@signalapp/libsignal-client/dist/zkgroup/index.js';
import { toBase64 } from '../../src/bytes.ts';
import { startDevServer, type DevServer } from '../../src/devserver/devserver.ts';
import { checkGeneration, checkIdle } from '../../src/doctor/sockets.ts';
import { systemPlatform, type Platform } from '../../src/platform.ts';
import type { Requester } from '../../src/transport/request.ts';
import { startProxy, type ProxyMistakes } from '../support/proxy.ts';
import { examined, namesOf, profileOf } from './examined.ts';

const never = new AbortController().signal;
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function serve(options: Parameters<typeof startDevServer>[0] = {}): Promise<DevServer> {
  const server = await startDevServer(options);
  closers.push(() => server.close());
  return server;
}

/** The profile of a server behind a proxy. */
async function behind(mistakes: ProxyMistakes): Promise<object> {
  const server = await serve();
  const proxy = await startProxy(server.url, mistakes);
  closers.push(proxy.close);
  return { ...server.profile, chat: proxy.url };
}

/** The system's platform with its clock moved, or running faster. */
function platformWith(clock: { aheadMs?: number; speed?: number }): Platform {
  const system = systemPlatform();
  const { aheadMs = 0, speed = 1 } = clock;
  const start = system.clock.now();
  return {
    ...system,
    clock: {
      now: () => start + (system.clock.now() - start) * speed + aheadMs,
      elapsed: () => system.clock.elapsed() * speed,
      sleep: (ms, signal) => system.clock.sleep(ms / speed, signal),
    },
  };
}

it.each([
  ['jun25', 'from before July 2025'],
  ['dec25', 'from between July 2025 and June 2026'],
  ['aug26', 'from June 2026 or later'],
] as const)('has nothing against the server of %s, and says that it is %s', async (dialect, generation) => {
  const checks = await examined((await serve({ dialect })).profile);
  expect([...namesOf(checks, 'fail'), ...namesOf(checks, 'warn')]).toEqual([]);
  expect(checks['generation']).toMatchObject({ state: 'ok', message: generation });
  expect(namesOf(checks, 'skip')).toEqual([
    'tls', 'certificate chain', 'certificate name', 'certificate dates', 'idle timeout', 'rate limits',
  ]); // prettier-ignore
});

describe('a proxy in front', () => {
  it('that does everything right is not noticed', async () => {
    const checks = await examined(await behind({}));
    expect([...namesOf(checks, 'fail'), ...namesOf(checks, 'warn')]).toEqual([]);
  });

  it.each<[string, ProxyMistakes, RegExp]>([
    ['takes the trailing slash away', { stripSlash: true }, /trailing slash/],
    [
      'takes the slash away in front of what is a Signal server',
      { stripSlash: true, rest: true },
      /its other paths answer/,
    ],
    ['redirects to the path without the slash', { redirectSlash: true }, /redirects to \/v1\/websocket:/],
    ['drops the Upgrade header', { dropUpgrade: true }, /Upgrade and Connection headers/],
    ['asks for a login of its own', { ownLogin: true }, /credentials of its own/],
    ['does not reach the server', { status: 502 }, /does not reach the chat server/],
    ['refuses', { status: 403 }, /refuses the request/],
    ['refuses upgrades', { status: 426 }, /Upgrade and Connection headers/],
  ])('that %s is found, with the remedy', async (_what, mistakes, remedy) => {
    const checks = await examined(await behind(mistakes));
    expect(namesOf(checks, 'fail')).toEqual(['upgrade']);
    expect(checks['upgrade']?.next).toMatch(remedy);
    expect(checks['anonymous socket']).toMatchObject({ state: 'skip' });
    expect(checks['trust roots']).toMatchObject({ state: 'ok' });
  });

  it('that drops Authorization is found, by the anonymous socket that comes of it', async () => {
    const checks = await examined(await behind({ dropAuthorization: true }));
    expect(namesOf(checks, 'fail')).toEqual(['authorization header']);
    expect(checks['authorization header']?.message).toContain('anonymous');
    expect(checks['authorization header']?.next).toContain('proxy_set_header Authorization');
  });
});

describe('silence', () => {
  const idle = { waitMs: 1800, keepaliveMs: 900 };

  it('is not tried unless asked for', async () => {
    const checks = await examined(await behind({}));
    expect(checks['idle timeout']?.message).toContain('--slow');
  });

  it('is put up with', async () => {
    const checks = await examined(await behind({}), { slow: true, idle });
    expect(checks['idle timeout']).toMatchObject({ state: 'ok' });
  });

  it('that ends a connection before a keepalive comes is a failure, later a warning', async () => {
    const short = await examined(await behind({ idleMs: 300 }), { slow: true, idle });
    expect(short['idle timeout']).toMatchObject({ state: 'fail' });
    const long = await examined(await behind({ idleMs: 1300 }), { slow: true, idle });
    expect(long['idle timeout']).toMatchObject({ state: 'warn' });
  });

  it('after which nothing comes through is a failure', async () => {
    const profile = profileOf(await behind({ forgetMs: 200 }));
    const found = await checkIdle(
      profile,
      platformWith({ speed: 20 }),
      { waitMs: 8000, keepaliveMs: 4000 },
      never,
    );
    expect(found).toMatchObject({ state: 'fail' });
    expect(found.message).toContain('dead');
  });
});

describe('the server', () => {
  it('that is down, or whose name does not exist, is said to be', async () => {
    const server = await startDevServer();
    const { profile, port } = server;
    await server.close();
    const down = await examined(profile);
    expect(down['port']).toMatchObject({ state: 'fail' });
    expect(down['port']?.message).toContain(`port ${String(port)} (ECONNREFUSED)`);
    expect(down['upgrade']).toMatchObject({ state: 'skip', message: 'not tried, because of "tls"' });
    for (const name of ['storage', 'cdn 0', 'cdn 2', 'cdn 3'])
      expect(down[name]).toMatchObject({ state: 'fail' });

    const lost = await examined({ chat: 'https://chat.invalid' });
    expect(lost['dns']).toMatchObject({ state: 'fail' });
    expect(lost['port']).toMatchObject({ state: 'skip' });
  });

  it('that never answers costs one deadline for each line that waits for it', async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    closers.push(() => silent.close());
    const chat = `http://127.0.0.1:${String((silent.address() as AddressInfo).port)}`;
    const checks = await examined({ chat }, { platform: platformWith({ speed: 30 }) });
    expect(checks['upgrade']).toMatchObject({ state: 'fail', message: 'no answer within 15 s' });
    expect(checks['anonymous socket']).toMatchObject({ state: 'skip' });
  });

  it.each([
    [-2 * 60_000, 'warn', 'this machine is 2 min behind the server'],
    [5 * 60_000, 'warn', 'this machine is 5 min ahead of the server'],
    [-26 * 60 * 60_000, 'fail', 'this machine is 26 h behind the server'],
  ])('whose clock is away by %i ms is a %s', async (aheadMs, state, text) => {
    const checks = await examined((await serve()).profile, { platform: platformWith({ aheadMs }) });
    expect(checks['clock']).toMatchObject({ state });
    expect(checks['clock']?.message).toContain(text);
  });

  it.each<[readonly string[], string]>([
    [['/v1/config'], 'before July 2025'],
    [['/v2/config', '/v1/messages'], 'between July 2025 and June 2026'],
    [['/v2/config'], 'June 2026 or later'],
    [[], 'cannot be told'],
  ])('that knows %j is placed %s', async (known, text) => {
    const requester: Requester = {
      request: ({ path }) =>
        Promise.resolve({
          status: known.includes(path) ? 401 : 404,
          message: '',
          headers: {},
          body: new Uint8Array(0),
        }),
    };
    expect((await checkGeneration(requester, never)).message).toContain(text);
  });
});

describe('the rest of the profile', () => {
  it('may leave out what it does without', async () => {
    const checks = await examined({ chat: (await serve()).url });
    expect(namesOf(checks, 'fail')).toEqual([]);
    expect(namesOf(checks, 'skip')).toEqual(
      expect.arrayContaining(['trust roots', 'server public params', 'storage', 'cdn 0', 'cdn 2', 'cdn 3']),
    );
  });

  it('with garbage for server public params is found', async () => {
    const { profile } = await serve();
    const params = toBase64(ServerSecretParams.generate().getPublicParams().serialize());
    const good = await examined({ ...profile, serverPublicParams: params });
    expect(good['server public params']).toMatchObject({ state: 'ok' });
    const cut = await examined({ ...profile, serverPublicParams: params.slice(0, 200) });
    expect(cut['server public params']).toMatchObject({ state: 'fail' });
  });

  it('that names something else as storage or CDN is found', async () => {
    const { profile, url } = await serve();
    const broken = await startProxy(url, { status: 503 });
    closers.push(broken.close);
    const checks = await examined({ ...profile, storage: url, cdn: { '0': broken.url, '2': url } });
    expect(checks['storage']).toMatchObject({ state: 'warn' });
    expect(checks['cdn 0']).toMatchObject({ state: 'fail' });
    expect(checks['cdn 2']).toMatchObject({ state: 'ok' });
    expect(checks['cdn 3']).toMatchObject({ state: 'skip' });
  });

  it('without the CA of storage and CDN is found', async () => {
    const { profile } = await serve();
    const checks = await examined({ chat: profile.chat, storage: profile.storage, cdn: profile.cdn });
    for (const name of ['storage', 'cdn 0']) {
      expect(checks[name]).toMatchObject({ state: 'fail' });
      expect(checks[name]?.next).toContain('lead to the same CA');
    }
  });
});
