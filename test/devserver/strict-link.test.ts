/**
 * What the Java servers refuse of a link request, and the mock does not: keys, registration ids, capabilities, tokens, limits,
 * and what is left out.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toBase64 } from '../../src/bytes.ts';
import { startDevServer, type DevServer } from '../../src/devserver/devserver.ts';
import type { Phone } from '../../src/devserver/phone.ts';
import type { RawResponse } from '../support/raw-client.ts';
import { RawDevice, type LinkBody } from '../support/raw-device.ts';
import { provision } from '../support/raw-provisioning.ts';
import { DIALECTS } from '../support/stage.ts';

const FIELDS = [
  'aciSignedPreKey',
  'pniSignedPreKey',
  'aciPqLastResortPreKey',
  'pniPqLastResortPreKey',
] as const;

describe.each(DIALECTS)('%s', (dialect) => {
  let server: DevServer;
  let phone: Phone;
  const year = dialect === 'aug26';
  beforeAll(async () => {
    server = await startDevServer({ dialect });
    phone = await server.createPhone();
  });
  afterAll(() => server.close());

  async function link(alter: (body: LinkBody) => void, on = phone): Promise<RawResponse> {
    const provisioned = await provision(server, on, { ignoreLimit: true });
    return (await RawDevice.register(server, provisioned, { alter })).response;
  }
  const status = async (alter: (body: LinkBody) => void): Promise<number> => (await link(alter)).status;

  it.each(FIELDS)('refuses %s when it is missing, signed by nobody, or cut short', async (field) => {
    expect(await status((body) => Reflect.deleteProperty(body, field))).toBe(422);
    expect(await status((body) => (body[field].signature = toBase64(new Uint8Array(64))))).toBe(422);
    expect(await status((body) => (body[field].publicKey = body[field].publicKey.slice(0, 40)))).toBe(422);
  });

  it('refuses registration ids out of range, and none', async () => {
    for (const id of [0, -1, 0x4000, null]) {
      expect(await status((body) => (body.accountAttributes['registrationId'] = id)), String(id)).toBe(422);
    }
    for (const id of [0, -1, 0x4000]) {
      expect(await status((body) => (body.accountAttributes['pniRegistrationId'] = id)), String(id)).toBe(
        422,
      );
    }
  });

  it(`answers no PNI registration id with ${year ? '500' : '422'}`, async () => {
    expect(await status((body) => delete body.accountAttributes['pniRegistrationId'])).toBe(year ? 500 : 422);
  });

  it(`answers no account attributes with ${year ? '422' : '500'}`, async () => {
    expect(await status((body) => Reflect.deleteProperty(body, 'accountAttributes'))).toBe(year ? 422 : 500);
  });

  it('takes registration ids 1 and 16383, and capabilities that it does not know', async () => {
    const there = await server.createPhone();
    const { status: taken } = await link((body) => {
      Object.assign(body.accountAttributes, { registrationId: 1, pniRegistrationId: 0x3fff });
      (body.accountAttributes['capabilities'] as Record<string, boolean>)['unheardOf'] = true;
    }, there);
    expect(taken).toBe(200);
  });

  it(`${year ? 'refuses' : 'takes'} a key id of -1`, async () => {
    const there = await server.createPhone();
    expect((await link((body) => (body.aciSignedPreKey.keyId = -1), there)).status).toBe(year ? 422 : 200);
  });

  it('has its link body read with unpadded base64, but not url-safe', async () => {
    const there = await server.createPhone();
    const bare = (body: LinkBody): void => {
      for (const field of FIELDS) body[field].signature = body[field].signature?.replace(/=+$/, '') ?? '';
    };
    expect((await link(bare, there)).status).toBe(200);
    expect(await status((body) => (body.accountAttributes['name'] = '_-_-'))).toBe(422);
  });

  it('says nothing in the body of a refusal but at the limit', async () => {
    const full = await server.createPhone();
    const refused = await link((body) => (body.verificationCode = 'nobody gave it'), full);
    expect([refused.status, refused.body.length]).toEqual([403, 0]);
    for (let id = 2; id <= 6; id++) await RawDevice.link(server, full, { keys: 0 });
    expect(await link((body) => (body.accountAttributes['capabilities'] = {}), full)).toMatchObject({
      status: 411, // before it looks at capabilities
      json: { current: 6, max: 6 },
    });
  }, 60_000);

  it('keeps a token ten minutes, for one link', async () => {
    const there = await server.createPhone();
    const [early, late] = [await provision(server, there), await provision(server, there)];
    server.clock.advance(590_000);
    expect((await RawDevice.register(server, early)).response.status).toBe(200);
    expect((await RawDevice.register(server, early)).response.status).toBe(403);
    server.clock.advance(10_001);
    expect((await RawDevice.register(server, late)).response.status).toBe(403);
  });

  it('lets a set of capabilities be lowered, which then asks new devices for less', async () => {
    const there = await server.createPhone();
    const device = await RawDevice.link(server, there, { keys: 1 });
    const socket = await device.connect();
    const shown = async (): Promise<Record<string, boolean>> => {
      const { json } = await socket.request('GET', `/v1/profile/${there.aci}`);
      return (json as { capabilities: Record<string, boolean> }).capabilities;
    };
    const [spqr, downgrade] = ['spqr', dialect === 'jun25' ? 'deleteSync' : 'usernameChangeSyncMessage'];
    expect((await shown())[spqr]).toBe(true);
    const lacking = (name: string) => (body: LinkBody) =>
      Reflect.deleteProperty(body.accountAttributes['capabilities'] as Record<string, boolean>, name);
    expect((await link(lacking(downgrade), there)).status).toBe(dialect === 'dec25' ? 200 : 409);
    expect((await socket.request('PUT', '/v1/devices/capabilities', { json: {} })).status).toBe(204);
    expect((await shown())[spqr]).toBe(false);
    expect((await link(lacking(downgrade), there)).status).toBe(200);
    expect((await link(lacking(spqr), there)).status).toBe(year ? 409 : 200);
    await socket.close();
  });
});
