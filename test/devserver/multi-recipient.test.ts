/**
 * One sealed message for many accounts, and reports of spam: what the Java servers have on the socket and the mock has not.
 */
import {
  ContentHint, ProtocolAddress, sealedSenderMultiRecipientEncrypt, SenderCertificate, signalEncrypt,
  UnidentifiedSenderMessageContent,
} from '@signalapp/libsignal-client'; // prettier-ignore
import { ProfileKey } from '@signalapp/libsignal-client/dist/zkgroup/index.js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { concat, fromBase64, toTime, type Bytes } from '../../src/bytes.ts';
import { signal } from '../../src/proto/messages.js';
import { groupToken } from '../support/group-token.ts';
import { RawDevice, textContent } from '../support/raw-device.ts';
import type { RawResponse, RawSocket } from '../support/raw-client.ts';
import { accessKey, DIALECTS, Stage } from '../support/stage.ts';

const TYPE = 'content-type:application/vnd.signal-messenger.mrm';
const STRANGER = '00000000-0000-4000-8000-000000000000';

describe.each(DIALECTS)('%s', (dialect) => {
  let stage: Stage;
  let listener: RawDevice;
  let theirs: RawSocket;
  let third: string;
  let to: [string, number][];
  let before: number;
  beforeAll(async () => {
    stage = await Stage.open({ dialect });
    listener = await RawDevice.link(stage.server, stage.peer);
    theirs = await listener.connect();
    third = (await stage.server.createPhone()).aci;
    to = [[stage.peer.aci, 2], [stage.peer.aci, 1], [third, 1]]; // prettier-ignore
  });
  afterAll(async () => {
    await theirs.close();
    await stage.close();
  });
  beforeEach(() => {
    before = theirs.count();
  });

  /** Sealed for these devices; the inner message is for the first. */
  async function seal(text: string, timestamp: number, devices = to): Promise<Bytes> {
    const { device, socket } = stage;
    const { json } = await stage.get('/v1/certificate/delivery?includeE164=false');
    const certificate = SenderCertificate.deserialize(
      fromBase64((json as { certificate: string }).certificate),
    );
    const recipients = devices.map(([aci, id]) => ProtocolAddress.new(aci, id));
    for (const [aci, id] of devices) {
      if (!device.sessions.records.has(`${aci}.${String(id)}`)) await device.startSession(socket, aci, id);
    }
    const [first = ProtocolAddress.new(STRANGER, 1)] = recipients;
    const padded = concat(
      signal.Content.encode(textContent(text, timestamp)).finish(),
      Uint8Array.of(0x80, 0),
    );
    const { sessions: sessionStore, stores: identityStore } = device;
    const local = ProtocolAddress.new(device.aci, device.deviceId);
    const inner = await signalEncrypt(padded, first, local, sessionStore, identityStore);
    const content = UnidentifiedSenderMessageContent.new(inner, certificate, ContentHint.Default, null);
    return sealedSenderMultiRecipientEncrypt({ content, recipients, sessionStore, identityStore });
  }
  const put = (body: Bytes, headers: string[], query = `?ts=1`): Promise<RawResponse> =>
    stage.anonymous.request('PUT', `/v1/messages/multi_recipient${query}`, {
      body,
      headers: [TYPE, ...headers],
    });
  const token = async (...acis: string[]): Promise<string> =>
    `group-send-token:${await groupToken(stage.server, stage.phone.aci, acis)}`;

  it('reaches every device as a sealed message, without a source', async () => {
    const timestamp = stage.server.clock.now();
    const body = await seal('to all', timestamp);
    const query = `?ts=${String(timestamp)}&online=false&urgent=false&story=false`;
    const sent = await put(body, [await token(stage.peer.aci, third)], query);
    expect([sent.status, sent.json]).toEqual([200, { uuids404: [] }]);
    const envelope = await theirs.envelope(before);
    expect(envelope).toMatchObject({ type: 6, sourceDevice: null, urgent: false });
    expect(toTime(envelope.clientTimestamp ?? 0)).toBe(timestamp);
    expect((await listener.open(envelope)).dataMessage?.body).toBe('to all');
    const phone = stage.server.phones.get(third);
    expect(await phone?.messages({ count: 1, waitMs: 20_000 })).toHaveLength(1);
  });

  it('wants a token for all of them and nothing beside it, or the keys of all in one', async () => {
    const body = await seal('x', 1);
    const good = await token(stage.peer.aci, third);
    const status = async (...headers: string[]): Promise<number> => (await put(body, headers)).status;
    expect(await status()).toBe(401);
    expect(await status(await token(stage.peer.aci))).toBe(401);
    expect(await status(good, accessKey(new Uint8Array(16)))).toBe(400);
    expect((await put(body, [good], '?ts=1&story=true')).status).toBe(400);
    expect((await put(body, [], '?ts=1&story=true')).status).toBe(200);
    expect(await status(accessKey(new Uint8Array(16)))).toBe(401);
    expect(await status(accessKey(new Uint8Array(15)))).toBe(401);
    const own = new ProfileKey(listener.profileKey).deriveAccessKey();
    expect(await status(accessKey(own))).toBe(401); // of one of the two
    const alone = await seal('x', 1, to.slice(0, 2));
    expect((await put(alone, [accessKey(own)])).status).toBe(200);
  });

  it('says who is not there, but not to who shows keys', async () => {
    const { sessions, stores } = stage.device;
    await seal('x', 1); // there are sessions now; one of them will do for somebody that the server does not know
    const [record, key] = [sessions.records.get(`${third}.1`), stores.known.get(`${third}.1`)];
    if (record === undefined || key === undefined) throw new Error('no session');
    sessions.records.set(`${STRANGER}.1`, record);
    stores.known.set(`${STRANGER}.1`, key);
    const body = await seal('x', 1, [...to, [STRANGER, 1]]);
    const sent = await put(body, [await token(stage.peer.aci, third, STRANGER)]);
    expect([sent.status, sent.json]).toEqual([200, { uuids404: [STRANGER] }]);
    await theirs.envelope(before);
    expect((await put(body, [accessKey(new Uint8Array(16))])).status).toBe(404);
    const story = await put(body, [], '?ts=1&story=true');
    expect([story.status, story.json]).toEqual([200, { uuids404: [] }]);
  });

  it('names wrong lists before stale devices, by account', async () => {
    const auth = await token(stage.peer.aci, third);
    const short = await put(await seal('x', 1, [[stage.peer.aci, 2], [third, 1]]), [auth]); // prettier-ignore
    const missing = { uuid: stage.peer.aci, devices: { missingDevices: [1], extraDevices: [] } };
    expect([short.status, short.json]).toEqual([409, [missing]]);
    const id = await stage.server.addSecondaryDevice(third);
    const { device, socket } = stage;
    await device.startSession(socket, third, id);
    const withNew = await seal('x', 1, [...to, [third, id]]);
    await stage.server.relinkSecondaryDevice(third, id);
    const relinked = await put(withNew, [auth]);
    expect([relinked.status, relinked.json]).toEqual([
      410,
      [{ uuid: third, devices: { staleDevices: [id] } }],
    ]);
    const both = await put(await seal('x', 1, [[stage.peer.aci, 2], [third, 1], [third, id]]), [auth]); // prettier-ignore
    expect([both.status, both.json]).toEqual([409, [missing]]);
    await stage.server.phones.get(third)?.removeDevice(id);
    const extra = await put(withNew, [auth]);
    const devices = { missingDevices: [], extraDevices: [id] };
    expect([extra.status, extra.json]).toEqual([409, [{ uuid: third, devices }]]);
  });

  it('is refused as what it is not: 415, 400, 413', async () => {
    const auth = await token(stage.peer.aci, third);
    const body = await seal('x', 1);
    const path = '/v1/messages/multi_recipient?ts=1';
    expect((await stage.anonymous.request('PUT', path, { body, headers: [auth] })).status).toBe(415);
    expect((await put(body.slice(0, 40), [auth])).status).toBe(400);
    expect((await put(body, [auth], '?ts=soon')).status).toBe(400);
    const maxContent = dialect === 'aug26' ? 98_304 : 262_144;
    expect((await put(await seal('x'.repeat(maxContent), 1), [auth])).status).toBe(413);
    expect(theirs.count()).toBe(before);
  });

  it('takes a report of spam from a device', async () => {
    const path = `/v1/messages/report/${stage.peer.aci}/${STRANGER}`;
    const json = { token: null };
    expect((await stage.socket.request('POST', path, { json })).status).toBe(202);
    expect((await stage.anonymous.request('POST', path, { json })).status).toBe(401);
    expect((await stage.socket.request('POST', '/v1/messages/report/me/x', { json })).status).toBe(404);
  });
});
