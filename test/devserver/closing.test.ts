/**
 * Nothing that the server waits for outlives its close: a timer that did would keep the process running for up to an hour.
 */
import { WebSocket } from 'ws';
import { expect, it } from 'vitest';
import { toBase64 } from '../../src/bytes.ts';
import { startDevServer, type DevServer } from '../../src/devserver/devserver.ts';
import type { Log } from '../../src/platform.ts';
import { ManualClock, settle, testPlatform } from '../support/clock.ts';
import { RawSocket } from '../support/raw-client.ts';
import { rawPrimary, registerRaw } from '../support/raw-primary.ts';
import { quiet } from '../support/until.ts';

const HOUR_MS = 3_600_000;

interface Waiting {
  readonly server: DevServer;
  readonly socket: RawSocket;
}

/** Each begins something that takes long on the server. */
const WAITS: readonly [string, (waiting: Waiting) => Promise<unknown>][] = [
  [
    'a primary that waits for its new device',
    async ({ server, socket }) => {
      const { raw } = await rawPrimary(server, socket);
      raw.ask('GET', '/v1/devices/wait_for_linked_device/nothing?timeout=3600');
    },
  ],
  [
    'an upgrade that a fault delays',
    ({ server }) => {
      server.faults.add({ path: '/v1/websocket/', action: { delayMs: HOUR_MS } });
      const late = new WebSocket(`${server.url.replace('http', 'ws')}/v1/websocket/`);
      late.on('error', () => undefined);
      return Promise.resolve();
    },
  ],
  [
    'an envelope for a new device that a fault delays',
    async ({ server, socket }) => {
      const { raw } = await rawPrimary(server, socket);
      server.faults.add({ path: '/v1/message', action: { delayMs: HOUR_MS } });
      const waiting = await RawSocket.open(server.url, { path: '/v1/websocket/provisioning/' });
      const { body } = await waiting.delivery(0, '/v1/address');
      const address = encodeURIComponent(Buffer.from(body.subarray(2)).toString());
      const json = { body: toBase64(Uint8Array.of(1)) };
      expect((await raw.request('PUT', `/v1/provisioning/${address}`, { json })).status).toBe(204);
    },
  ],
  [
    'a registration that takes an account over',
    async ({ server, socket }) => {
      const { raw } = await rawPrimary(server, socket);
      registerRaw(socket).catch(() => undefined);
      await raw.closed;
    },
  ],
  [
    'a phone that waits for a message',
    async ({ server }) => {
      const phone = await server.createPhone();
      phone.messages({ waitMs: HOUR_MS }).catch(() => undefined);
    },
  ],
];

it.each(WAITS)('closing ends %s, without a word in the log', async (_what, begin) => {
  const warnings: string[] = [];
  const ignore = (): void => undefined;
  const log: Log = {
    debug: ignore,
    info: ignore,
    warn: (_fields, message) => void warnings.push(message),
    error: ignore,
  };
  const clock = new ManualClock();
  const server = await startDevServer({ platform: testPlatform({ clock, log }) });
  const socket = await RawSocket.open(server.url);
  const before = clock.sleeping;
  await begin({ server, socket });
  await quiet();
  expect(clock.sleeping).toBeGreaterThan(before);
  await server.close();
  await quiet();
  await settle();
  expect(clock.sleeping).toBe(0);
  expect(warnings).toEqual([]);
});

it('a client that goes away ends what waited for it', async () => {
  const clock = new ManualClock();
  const server = await startDevServer({ platform: testPlatform({ clock }) });
  const socket = await RawSocket.open(server.url);
  const { raw } = await rawPrimary(server, socket);
  const before = clock.sleeping;
  raw.ask('GET', '/v1/devices/wait_for_linked_device/nothing?timeout=3600');
  await quiet();
  expect(clock.sleeping).toBe(before + 1);
  await raw.close();
  await quiet();
  expect(clock.sleeping).toBe(before - 1); // its idle timer is gone too
  await server.close();
});
