import fc from 'fast-check';
import { afterEach, expect, it, vi } from 'vitest';
import { parseAci } from '../../src/address.ts';
import { isBotError } from '../../src/errors.ts';
import { signal as proto } from '../../src/proto/messages.js';
import { senderCertificate, whoami } from '../../src/service/account.ts';
import { listDevices } from '../../src/service/devices.ts';
import { checkKeys, countKeys, fetchBundles, uploadKeys } from '../../src/service/keys.ts';
import { linkDevice } from '../../src/service/link.ts';
import { sendMessages } from '../../src/service/messages.ts';
import { judge } from '../../src/transport/close.ts';
import { Connection } from '../../src/transport/connection.ts';
import { openProvisioningSocket } from '../../src/transport/provisioning-socket.ts';
import { ManualClock, settle, testPlatform } from '../support/clock.ts';
import { FakePeer, FakeRequester, FakeServer } from '../support/fake-socket.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 2000);
vi.setConfig({ testTimeout: Math.max(60_000, numRuns * 30) });
const { UNKNOWN, REQUEST, RESPONSE } = proto.WebSocketMessage.Type;
const endpoint = { url: 'http://127.0.0.1:1' };
const aci = parseAci('11111111-1111-4111-8111-111111111111');
const aborts: AbortController[] = [];

afterEach(() => {
  for (const abort of aborts.splice(0)) abort.abort();
});

/** Frames from rubbish to nearly right. */
const header = fc.oneof(
  fc.string(),
  fc.constantFrom('X-Signal-Timestamp:1', 'x-signal-timestamp:9e99', 'retry-after:', ':', '__proto__:x'),
);
const id = fc.oneof(fc.nat(5), fc.constant(undefined));
const frame = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc
    .record({
      type: fc.constantFrom(UNKNOWN, REQUEST, RESPONSE),
      request: fc.record({
        id, verb: fc.constantFrom('PUT', 'GET', ''), body: fc.uint8Array({ maxLength: 50 }), headers: fc.array(header, { maxLength: 3 }),
        path: fc.constantFrom('/api/v1/message', '/api/v1/queue/empty', '/v1/address', '/v1/message', '', '/%'),
      }),
      response: fc.record({ id, status: fc.nat(), body: fc.uint8Array({ maxLength: 50 }), headers: fc.array(header, { maxLength: 3 }) }),
    })
    .map((message) => {
      const { id: requestId, ...request } = message.request;
      const { id: responseId, ...response } = message.response;
      return proto.WebSocketMessage.encode({
        type: message.type,
        request: requestId === undefined ? request : { ...request, id: requestId },
        response: responseId === undefined ? response : { ...response, id: responseId },
      }).finish();
    }),
); // prettier-ignore
const damaged = fc.tuple(frame, fc.nat(), fc.nat(255)).map(([bytes, at, value]) => {
  const copy = Uint8Array.from(bytes);
  if (copy.length > 0) copy[at % copy.length] = value;
  return copy;
});

it('frames of any kind leave a socket open or close it with 1007, and hang no request', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(frame, damaged), { maxLength: 8 }), async (frames) => {
      const platform = testPlatform({ clock: new ManualClock() });
      const peer = new FakePeer({ endpoint, platform }, () => 'silence');
      const requests = [1, 2].map(() => peer.socket.request({ verb: 'GET', path: '/' }));
      const results = Promise.allSettled(requests);
      for (const bytes of frames) peer.frame(bytes);
      expect([undefined, 1007]).toContain(peer.closedWith);
      peer.hangUp(1006);
      for (const result of await results) {
        if (result.status === 'rejected') expect(isBotError(result.reason, 'SERVER_UNREACHABLE')).toBe(true);
        else expect(Number.isInteger(result.value.status)).toBe(true);
      }
      expect(peer.socket.pending).toBe(0);
    }),
    { numRuns },
  );
});

it('frames of any kind to a connection and a provisioning socket cause coded errors only', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(frame, damaged), { maxLength: 8 }), async (frames) => {
      const platform = testPlatform({ clock: new ManualClock() });
      const abort = new AbortController();
      aborts.push(abort);
      const server = new FakeServer();
      const credentials = { username: 'a.2', password: 'b' };
      const connection = new Connection({ endpoint, platform, credentials, openSocket: server.openSocket });
      const running = connection.run(abort.signal);
      const other = new FakeServer();
      const provisioning = openProvisioningSocket(endpoint, platform, abort.signal, other.openSocket).then(
        () => true,
        (error: unknown) => isBotError(error) || error === abort.signal.reason,
      );
      await Promise.resolve();
      await Promise.resolve();
      await Promise.resolve();
      for (const bytes of frames) {
        for (const peer of [...server.peers, ...other.peers]) peer.frame(bytes);
      }
      await settle();
      abort.abort();
      await running;
      expect(await provisioning).toBe(true);
      expect(connection.state).toBe('stopped');
    }),
    { numRuns: Math.ceil(numRuns / 10) },
  );
});

it('every close code has a verdict', () => {
  const circumstance = fc.constantFrom('none', 'dead', 'replaced', 'abandoned', 'keepalive-pending' as const);
  fc.assert(
    fc.property(
      fc.nat(65_535),
      circumstance,
      fc.boolean(),
      fc.boolean(),
      (code, about, suspected, authenticated) => {
        const close = { code, reason: '', by: 'them' as const };
        const { verdict } = judge({ kind: 'closed', close, circumstance: about }, suspected, authenticated);
        expect(verdict.kind === 'stop' && code < 3000).toBe(false);
      },
    ),
    { numRuns },
  );
});

it('answers of any kind give outcomes or coded errors', async () => {
  const name = fc.constantFrom('uuid', 'pni', 'deviceId', 'devices', 'identityKey', 'registrationId', 'preKey', 'signedPreKey', 'pqPreKey', 'keyId', 'publicKey', 'count', 'pqCount', 'missingDevices', 'staleDevices', 'token', 'options', 'certificate', 'id', 'name'); // prettier-ignore
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof({ maxDepth: 3 }, fc.jsonValue(), fc.base64String(), fc.integer(), fc.array(tie('value')), fc.dictionary(name, tie('value'))),
  })); // prettier-ignore
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 50 }),
    fc.dictionary(name, value).map((json) => new Uint8Array(Buffer.from(JSON.stringify(json)))),
  );
  const status = fc.oneof(
    fc.constantFrom(200, 204, 401, 403, 404, 409, 410, 411, 413, 422, 428, 429, 500, 508),
    fc.nat(999),
  );
  const headers = fc.oneof(
    fc.constant({}),
    fc.string().map((text) => ({ 'retry-after': text })),
  );
  await fc.assert(
    fc.asyncProperty(status, body, headers, async (code, bytes, lines) => {
      const requester = new FakeRequester({ status: code, body: bytes, headers: lines });
      const key = new Uint8Array(32);
      const calls = [
        () => sendMessages(requester, { recipient: aci, messages: [], timestamp: 1, urgent: true }),
        () => fetchBundles(requester, aci, '*'),
        () => uploadKeys(requester, 'aci', {}),
        () => countKeys(requester, 'aci'),
        () => checkKeys(requester, 'aci', key),
        () => listDevices(requester),
        () => whoami(requester),
        () => senderCertificate(requester),
        () => linkDevice(requester, { aci, password: 'x', body: {} }),
      ];
      for (const call of calls) {
        const error: unknown = await call().then(
          () => undefined,
          (reason: unknown) => reason,
        );
        if (error !== undefined) expect(isBotError(error)).toBe(true);
      }
    }),
    { numRuns },
  );
});
