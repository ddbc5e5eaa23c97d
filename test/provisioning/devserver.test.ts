/** Linking over real sockets, to the embedded server: Signal's mock behind our strict front. */
import { PrivateKey } from '@signalapp/libsignal-client';
import { afterEach, describe, expect, it } from 'vitest';
import { startDevServer, type DevServer, type DevServerOptions } from '../../src/devserver/devserver.ts';
import type { Phone } from '../../src/devserver/phone.ts';
import { systemPlatform } from '../../src/platform.ts';
import { fromBase64, toBase64 } from '../../src/bytes.ts';
import { decryptDeviceName } from '../../src/session/device-name.ts';
import { link, resumeLink, type LinkEvent, type LinkParts } from '../../src/provisioning/link.ts';
import { profileTransport } from '../../src/provisioning/link-transport.ts';
import { fetchBundles } from '../../src/service/keys.ts';
import { parseProfile } from '../../src/service/profile.ts';
import { publicEcPrekey, publicSignedPrekey } from '../../src/session/prekey-generation.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { Account } from '../../src/store/rows.ts';
import { account as accountCell, facts, prekeys } from '../../src/store/tables.ts';
import type { Requester } from '../../src/transport/request.ts';
import { renewSenderCertificate } from '../../src/upkeep/sender-certificate.ts';
import { PrekeyUpkeep } from '../../src/upkeep/prekey-upkeep.ts';
import { ManualClock } from '../support/clock.ts';
import { until } from '../support/until.ts';

let server: DevServer;
let phone: Phone;
const never = new AbortController().signal;

async function start(options: DevServerOptions = {}): Promise<void> {
  server = await startDevServer(options);
  phone = await server.createPhone();
}
afterEach(async () => {
  await server.close();
});

function parts(store: Store): LinkParts {
  const profile = parseProfile(JSON.stringify(server.profile), '/');
  return { store, profile, platform: systemPlatform(), name: 'Countersign' };
}

function linkTo(
  store: Store,
  onEvent: (event: LinkEvent) => void = () => undefined,
  signal = never,
): Promise<Account> {
  return link(
    parts(store),
    (event) => {
      onEvent(event);
      if (event.kind === 'url') phone.link(event.url).catch(() => undefined);
    },
    signal,
  );
}

/** Runs with the device's own connection, as the bot would. */
async function asDevice(
  store: Store,
  account: Account,
  use: (requester: Requester) => Promise<unknown>,
): Promise<void> {
  const { profile, platform } = parts(store);
  const username = `${account.aci}.${String(account.deviceId)}`;
  await profileTransport(profile, platform).connected({ username, password: account.password }, use, never);
}

describe('linking to the embedded server', () => {
  it.each(['jun25', 'dec25', 'aug26'] as const)(
    'works as %s, with 100 keys of each kind',
    async (dialect) => {
      await start({ dialect });
      const kinds: string[] = [];
      const account = await linkTo(openMemory(), ({ kind }) => kinds.push(kind));
      expect(kinds).toEqual(['url', 'scanned', 'registering', 'keys', 'linked']);
      expect(account).toMatchObject({ aci: phone.aci, keysUploaded: true });
      for (const kind of ['aci', 'pni'] as const) {
        expect(await server.keyCounts(account.aci, account.deviceId, kind)).toEqual({ ec: 100, kyber: 100 });
      }
      const listed = (await phone.devices()).find(({ id }) => id === account.deviceId);
      const identity = PrivateKey.deserialize(fromBase64(account.identity.privateKey));
      expect(decryptDeviceName(fromBase64(listed?.name ?? ''), identity)).toBe('Countersign');
    },
  );

  it('works over TLS with the CA of the profile', async () => {
    await start({ tls: true });
    expect(await linkTo(openMemory())).toMatchObject({ aci: phone.aci, keysUploaded: true });
  });

  it('finds the device again when the process is killed before the answer comes', async () => {
    await start();
    const store = openMemory();
    server.faults.add({ verb: 'PUT', path: '/v1/devices/link', action: { drop: true } });
    const killed = new AbortController();
    const linking = linkTo(store, () => undefined, killed.signal);
    linking.catch(() => undefined);
    await until(async () => (await phone.devices()).length === 2, 'the device');
    killed.abort(new Error('killed'));
    await expect(linking).rejects.toThrow('killed');

    const account = await resumeLink(parts(store));
    expect(account).toMatchObject({ aci: phone.aci, keysUploaded: true });
    expect(await phone.devices()).toHaveLength(2);
    expect(await server.keyCounts(phone.aci, account?.deviceId ?? 0, 'pni')).toEqual({ ec: 100, kyber: 100 });
  });

  it('finds its device when a proxy sends the request twice and hands on the second answer', async () => {
    await start();
    server.faults.add({ verb: 'PUT', path: '/v1/devices/link', action: { duplicate: true } });
    const account = await linkTo(openMemory());
    expect(account).toMatchObject({ aci: phone.aci, deviceId: 2, keysUploaded: true });
    expect(await phone.devices()).toHaveLength(2);
    expect(await server.keyCounts(phone.aci, 2, 'aci')).toEqual({ ec: 100, kyber: 100 });
  });

  it('takes up the key upload where the connection broke', async () => {
    await start();
    const store = openMemory();
    server.faults.add({ verb: 'PUT', path: '/v2/keys?identity=pni', action: { close: 1011 } });
    await expect(linkTo(store)).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    expect(await resumeLink(parts(store))).toMatchObject({ keysUploaded: true });
    expect(await server.keyCounts(phone.aci, 2, 'pni')).toEqual({ ec: 100, kyber: 100 });
  });

  it('forgets a link that the server never saw, and refuses ids that are not ours', async () => {
    await start();
    const store = openMemory();
    server.faults.add({ verb: 'PUT', path: '/v1/devices/link', action: { close: 1011 } });
    await expect(linkTo(store)).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    await linkTo(openMemory()); // another program's device, with the id that ours would have had
    expect(await resumeLink(parts(store))).toBeUndefined();
    expect(await phone.devices()).toHaveLength(2);
  });
});

describe('upkeep against the embedded server', () => {
  it('gets a certificate that recipients accept', async () => {
    await start();
    const store = openMemory();
    const account = await linkTo(store);
    const { profile, platform } = parts(store);
    await asDevice(store, account, (requester) =>
      renewSenderCertificate({ store, requester, platform, profile }),
    );
    expect(await facts.get(store.batch(), 'sealedSender')).toEqual({ state: 'works', reason: '' });
  });

  it('refills keys that ran out and rotates signed keys', async () => {
    await start();
    const store = openMemory();
    const account = await linkTo(store);
    await server.exhaustKeys(account.aci, account.deviceId);
    const clock = new ManualClock(Date.now() + 37 * 60 * 60_000);
    const platform = { ...systemPlatform(), clock };
    await asDevice(store, account, async (requester) => {
      await new PrekeyUpkeep({ store, requester, platform }).check();
      await new PrekeyUpkeep({ store, requester, platform }).check();
    });
    for (const kind of ['aci', 'pni'] as const) {
      expect(await server.keyCounts(account.aci, account.deviceId, kind)).toEqual({ ec: 100, kyber: 100 });
    }
  });

  it('puts our one-time keys in place of those of another program', async () => {
    await start();
    const store = openMemory();
    const account = await linkTo(store);
    const other = openMemory();
    const batch = other.batch();
    accountCell.put(batch, account);
    await batch.commit();
    await server.exhaustKeys(account.aci, account.deviceId);
    const platform = systemPlatform();
    const clock = new ManualClock(Date.now() + 37 * 60 * 60_000);
    await asDevice(store, account, async (requester) => {
      await new PrekeyUpkeep({ store: other, requester, platform }).check();
      expect(await keysOf(store)).not.toContain((await offered(requester, account)).prekey);
      // Long away: the rotation is due as well.
      await new PrekeyUpkeep({ store, requester, platform: { ...platform, clock } }).check();
      const { prekey, kyberPrekey } = await offered(requester, account);
      expect(await keysOf(store)).toEqual(expect.arrayContaining([prekey, kyberPrekey]));
    });
  });
});

/** Public halves, in base64, that a new session with the device would be built on. */
async function offered(
  requester: Requester,
  account: Account,
): Promise<{ prekey: string; kyberPrekey: string }> {
  const outcome = await fetchBundles(requester, account.aci, account.deviceId);
  if (outcome.kind !== 'bundle') throw new Error(outcome.kind);
  const [device] = outcome.bundle.devices;
  if (device?.prekey === undefined) throw new Error('no one-time key');
  return { prekey: toBase64(device.prekey.publicKey), kyberPrekey: toBase64(device.kyberPrekey.publicKey) };
}

/** Public halves of the one-time keys whose private halves we have. */
async function keysOf(store: Store): Promise<string[]> {
  const found: string[] = [];
  for await (const [, row] of prekeys.scan(store, ['aci', 'ec']))
    found.push(toBase64(publicEcPrekey(row.record).publicKey));
  for await (const [, row] of prekeys.scan(store, ['aci', 'kyber']))
    if (!row.lastResort) found.push(toBase64(publicSignedPrekey('kyber', row.record).publicKey));
  return found;
}
