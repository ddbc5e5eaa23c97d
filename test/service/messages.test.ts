import { describe, expect, it } from 'vitest';
import { parseAci, parsePni } from '../../src/address.ts';
import { sendMessages, type Outgoing } from '../../src/service/messages.ts';
import { FakeRequester, jsonOf, type Answer } from '../support/fake-socket.ts';

const aci = parseAci('11111111-1111-4111-8111-111111111111');
const outgoing: Outgoing = {
  recipient: aci,
  messages: [{ type: 1, deviceId: 2, registrationId: 77, content: Uint8Array.of(1, 2, 3, 4) }],
  timestamp: 1_700_000_000_000,
  urgent: false,
};

const json = (status: number, body: object): Answer => ({ status, body });
const TABLE: [string, Answer, object][] = [
  ['200', json(200, { needsSync: false }), { kind: 'accepted', needsSync: false }],
  ["200 of the mock, which does not say", json(200, { ok: true }), { kind: 'accepted', needsSync: true }],
  ['200 without a body', { status: 200 }, { kind: 'accepted', needsSync: true }],
  ['401', { status: 401 }, { kind: 'unauthorized' }],
  ['403', { status: 403 }, { kind: 'forbidden' }],
  ['404', { status: 404 }, { kind: 'unregistered' }],
  ['409', json(409, { missingDevices: [3, 3], extraDevices: [2] }), { kind: 'mismatched', missing: [3], extra: [2] }],
  ['409 with a list left out', json(409, { missingDevices: [3] }), { kind: 'mismatched', missing: [3], extra: [] }],
  ['409 with ids that are none', json(409, { missingDevices: [0, 128, 1.5, 9], extraDevices: [-56] }), { kind: 'mismatched', missing: [9], extra: [] }],
  ['409 that says nothing', json(409, { missingDevices: [], extraDevices: [] }), { kind: 'refused', status: 409 }],
  ['409 that is no JSON', { status: 409, body: Uint8Array.of(255) }, { kind: 'refused', status: 409 }],
  ['410', json(410, { staleDevices: [1] }), { kind: 'stale', stale: [1] }],
  ['410 of a huge list', json(410, { staleDevices: Array(1000).fill(1) }), { kind: 'refused', status: 410 }],
  ['413', json(413, { code: 413, message: 'x' }), { kind: 'too-large' }],
  ['428', json(428, { token: 't', options: ['captcha'] }), { kind: 'challenge', token: 't', options: ['captcha'] }],
  ['428 without a token', json(428, {}), { kind: 'refused', status: 428 }],
  ['429', { status: 429, headers: { 'retry-after': '9' } }, { kind: 'rate-limited', retryAfterMs: 9000 }],
  ['429 that does not say how long', { status: 429 }, { kind: 'rate-limited', retryAfterMs: 30_000 }],
  ['503', { status: 503 }, { kind: 'unavailable', status: 503, retryAfterMs: undefined }],
  ['500 with Retry-After', { status: 500, headers: { 'retry-after': '2' } }, { kind: 'unavailable', status: 500, retryAfterMs: 2000 }],
  ['508', { status: 508 }, { kind: 'refused', status: 508 }],
  ['422', { status: 422 }, { kind: 'refused', status: 422 }],
  ['499', { status: 499 }, { kind: 'refused', status: 499 }],
]; // prettier-ignore

describe('sendMessages', () => {
  it('writes what the servers read', async () => {
    const requester = new FakeRequester({ status: 200 });
    await sendMessages(requester, outgoing);
    await sendMessages(requester, {
      ...outgoing,
      recipient: parsePni(aci),
      online: true,
      accessKey: new Uint8Array(16),
    });
    const [plain, sealed] = requester.requests;
    expect(plain).toMatchObject({
      verb: 'PUT',
      path: `/v1/messages/${aci}`,
      headers: { 'content-type': 'application/json' },
    });
    expect(plain?.headers).not.toHaveProperty('unidentified-access-key');
    expect(jsonOf(plain)).toEqual({
      messages: [{ type: 1, destinationDeviceId: 2, destinationRegistrationId: 77, content: 'AQIDBA==' }],
      online: false,
      urgent: false,
      timestamp: 1_700_000_000_000,
    });
    expect(sealed?.path).toBe(`/v1/messages/PNI:${aci}`);
    expect(sealed?.headers?.['unidentified-access-key']).toBe('AAAAAAAAAAAAAAAAAAAAAA==');
    expect(jsonOf(sealed)).toMatchObject({ online: true });
  });

  it.each(TABLE)('reads %s', async (_name, answer, outcome) => {
    expect(await sendMessages(new FakeRequester(answer), outgoing)).toEqual(outcome);
  });

  it('lets the errors of the connection pass', async () => {
    const requester = new FakeRequester(() => 'silence');
    await expect(sendMessages(requester, outgoing)).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
  });
});
