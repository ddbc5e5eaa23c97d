/**
 * What the Java servers refuse of a send, and the mock does not: types, sizes, lists, ids, base64; and what they say.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toBase64 } from '../../src/bytes.ts';
import { signal } from '../../src/proto/messages.js';
import { openMemory } from '../../src/store/memory.ts';
import { parseProfile } from '../../src/service/profile.ts';
import { freeNumber, registerHere } from '../support/primary.ts';
import { RawSocket } from '../support/raw-client.ts';
import { RawDevice } from '../support/raw-device.ts';
import { DIALECTS, Stage, type Entry } from '../support/stage.ts';

describe.each(DIALECTS)('%s', (dialect) => {
  let stage: Stage;
  const limit = dialect === 'aug26' ? 98_304 : 262_144;
  beforeAll(async () => {
    stage = await Stage.open({ dialect });
  });
  afterAll(() => stage.close());

  const status = async (change: Partial<Entry>, body = {}): Promise<number> =>
    (await stage.send([await stage.entry(change)], { body })).status;

  it.each([0, 1, 3, 6, 8])('takes type %i', async (type) => {
    expect(await status({ type })).toBe(200);
  });

  it.each([2, 4, 5, 7, 9, -1])('refuses type %i', async (type) => {
    expect(await status({ type })).toBe(422);
  });

  it('writes type 0 out, and hands its content on byte for byte', async () => {
    const other = await RawDevice.link(stage.server, stage.phone, { keys: 1 });
    const theirs = await other.connect();
    const to = stage.phone.aci;
    const content = Buffer.from('MPC_OVER_SIGNAL_MESSAGE:anything');
    const own = await stage.registrationId(to, 1);
    const one = { ...(await stage.entry({}, to)), destinationRegistrationId: own, type: 0 };
    const two = {
      ...one,
      destinationDeviceId: other.deviceId,
      destinationRegistrationId: other.identities.aci.registrationId,
      content: toBase64(content),
    };
    expect((await stage.send([one, two], { to })).status).toBe(200);
    const envelope = await theirs.envelope(0);
    expect(Object.hasOwn(envelope, 'type')).toBe(true);
    expect(envelope.type).toBe(signal.Envelope.Type.UNKNOWN);
    expect(Buffer.from(envelope.content ?? [])).toEqual(content);
    await theirs.close();
    await stage.phone.removeDevice(other.deviceId);
  });

  it('refuses no content, empty content, and none even for type 0', async () => {
    const bare: Partial<Entry> = await stage.entry();
    delete bare.content;
    expect((await stage.send([bare])).status).toBe(422);
    expect(await status({ content: '' })).toBe(422);
    expect(await status({ type: 0, content: '' })).toBe(422);
  });

  it(`takes ${String(limit)} bytes for each device and refuses the whole send for one more`, async () => {
    expect(await status({ content: toBase64(new Uint8Array(limit)) })).toBe(200);
    const refused = await stage.send([await stage.entry({ content: toBase64(new Uint8Array(limit + 1)) })]);
    expect(refused).toMatchObject({
      status: 413,
      json: { code: 413, message: expect.any(String) as string },
    });
  });

  it('takes content without padding, and no url-safe alphabet, line break or odd digit', async () => {
    expect(await status({ content: 'AAA' })).toBe(200);
    for (const content of ['AA-_', 'AAAA\nAAAA', 'AAAAA', 'AAA==', 'AA=', '====']) {
      expect(await status({ content }), content).toBe(422);
    }
  });

  it('takes a left-out registration id for 0, which is stale', async () => {
    const bare = await stage.entry();
    delete bare.destinationRegistrationId;
    const stale = { status: 410, json: { staleDevices: [1] } };
    expect(await stage.send([bare])).toMatchObject(stale);
    expect(await stage.send([await stage.entry({ destinationRegistrationId: null })])).toMatchObject(stale);
    expect(await stage.send([await stage.entry({ destinationRegistrationId: 1 << 20 })])).toMatchObject(
      stale,
    );
  });

  it('says 410 before 409, whatever else is wrong with the list', async () => {
    const [stale, extra] = [
      await stage.entry({ destinationRegistrationId: 0 }),
      await stage.entry({ destinationDeviceId: 9 }),
    ];
    expect(await stage.send([stale, extra])).toMatchObject({ status: 410, json: { staleDevices: [1] } });
    expect(await stage.send([extra])).toMatchObject({
      status: 409,
      json: { missingDevices: [1], extraDevices: [9] },
    });
  });

  it('has device ids wrap above 127, as a byte does, and refuses more', async () => {
    const wrapped = await stage.send([await stage.entry({ destinationDeviceId: 200 })]);
    expect(wrapped).toMatchObject({ status: 409, json: { extraDevices: [-56] } });
    expect(await status({ destinationDeviceId: 256 })).toBe(422);
    const one = await stage.entry();
    expect((await stage.send([one, one])).status).toBe(422);
  });

  it('refuses times below 0 and beyond what a date holds, and takes none for now', async () => {
    expect(await status({}, { timestamp: -1 })).toBe(422);
    expect(await status({}, { timestamp: 8_640_000_000_000_001 })).toBe(422);
    expect(await status({}, { timestamp: 0 })).toBe(200);
  });

  it(`answers an empty list with ${dialect === 'aug26' ? '422' : '409'}, none with another`, async () => {
    expect((await stage.send([])).status).toBe(dialect === 'aug26' ? 422 : 409);
    expect((await stage.send(null)).status).toBe(dialect === 'aug26' ? 422 : 500);
  });

  it(`${dialect === 'aug26' ? 'refuses' : 'takes'} an empty list of an account with one device`, async () => {
    const profile = parseProfile(JSON.stringify(stage.server.profile), '/');
    const { account } = await registerHere(profile, openMemory(), freeNumber());
    const { aci, password } = account;
    const from = await RawSocket.open(stage.server.url, { username: `${aci}.1`, password });
    const answer = await stage.send([], { to: aci, from });
    if (dialect === 'aug26') expect(answer.status).toBe(422);
    else expect(answer).toMatchObject({ status: 200, json: { needsSync: false } });
    await from.close();
  });

  it('knows no account by its number, none that is not there, and not the own PNI', async () => {
    const one = [await stage.entry()];
    expect((await stage.send(one, { to: stage.peer.number })).status).toBe(404);
    expect((await stage.send(one, { to: '00000000-0000-4000-8000-000000000000' })).status).toBe(404);
    expect((await stage.send(one, { to: stage.phone.pni })).status).toBe(403);
  });

  it('wants the registration ids of the PNI for a PNI', async () => {
    const to = stage.peer.pni;
    const right = await stage.entry({
      type: 3,
      destinationRegistrationId: await stage.registrationId(to, 1),
    });
    expect((await stage.send([right], { to })).status).toBe(200);
    expect(await stage.send([await stage.entry({ type: 3 })], { to })).toMatchObject({ status: 410 });
  });
});
