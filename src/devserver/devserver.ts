/**
 * Development server: Signal's own mock behind a strict front, with scripted phones and a control API (decision 14).
 *
 * client --HTTP/1.1 upgrade--> front (rules, faults, queues) --HTTP/2 CONNECT--> mock (accounts, keys, certificates)
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemPlatform, type Platform } from '../platform.ts';
import { ServerClock } from './clock.ts';
import { startControl } from './control.ts';
import { DIALECTS, type DialectName } from './dialect.ts';
import type { Faults } from './faults.ts';
import { Front } from './front.ts';
import { loadLibrary, type LoadedLibrary } from './mock-library.ts';
import { startMock } from './mock.ts';
import { Phone } from './phone.ts';
import { countKeys } from './rules/keys.ts';
import { ServerState } from './state.ts';
import type { StatsReport } from './stats.ts';
import { Upstream } from './upstream.ts';

export interface DevServerOptions {
  /** 0, the default: any. */
  readonly port?: number;
  readonly controlPort?: number;
  /** Default aug26. */
  readonly dialect?: DialectName;
  /** Speak TLS with the mock's certificate; default plain HTTP on loopback. */
  readonly tls?: boolean;
  readonly platform?: Platform;
}

/** The server profile as JSON (decisions, CLI contract). */
export interface ProfileFile {
  readonly name: string;
  readonly chat: string;
  readonly cdn: Readonly<Record<'0' | '2' | '3', string>>;
  readonly storage: string;
  /** PEM */
  readonly ca: string;
  readonly serverPublicParams: string;
  readonly sealedSender: { readonly trustRoots: readonly string[]; readonly mode: 'auto' | 'off' };
}

export interface DevServer {
  /** Origin of chat. */
  readonly url: string;
  readonly port: number;
  /** Origin of the control API. */
  readonly controlUrl: string;
  readonly profile: ProfileFile;
  readonly dialect: DialectName;
  readonly clock: ServerClock;
  readonly faults: Faults;
  /** By ACI. */
  readonly phones: ReadonlyMap<string, Phone>;
  createPhone(options?: PhoneOptions): Promise<Phone>;
  /** Adds a device that nobody uses: senders meet 409. @returns its id */
  addSecondaryDevice(aci: string): Promise<number>;
  /** Removes such a device and adds one with the same id and another registration id: senders meet 410. */
  relinkSecondaryDevice(aci: string, deviceId: number): Promise<void>;
  /** One-time keys that are left on the mock. */
  keyCounts(aci: string, deviceId: number, kind: 'aci' | 'pni'): Promise<{ ec: number; kyber: number }>;
  /** Uses up the one-time keys of a device, so that only its last-resort key is left. */
  exhaustKeys(aci: string, deviceId: number): Promise<void>;
  stats(): Promise<StatsReport>;
  close(): Promise<void>;
}

export interface PhoneOptions {
  /** E.164; a free one if unsaid. */
  readonly number?: string;
  readonly name?: string;
  /** Default: all that official apps declare. */
  readonly capabilities?: readonly string[];
}

const PRIMARY_CAPABILITIES = [
  'storage',
  'transfer',
  'deleteSync',
  'ssre2',
  'attachmentBackfill',
  'spqr',
  'usernameChangeSyncMessage',
  'versionedExpirationTimer',
];

/** @throws BotError `DEVSERVER_MISSING` when the mock is not installed */
export async function startDevServer(options: DevServerOptions = {}): Promise<DevServer> {
  const loaded = await loadLibrary();
  const platform = options.platform ?? systemPlatform();
  const clock = new ServerClock(platform.clock);
  const dialect = DIALECTS[options.dialect ?? 'aug26'];
  const state = new ServerState({ dialect, clock, random: platform.random, log: platform.log });
  const attachments = await mkdtemp(join(tmpdir(), 'countersign-devserver-'));
  const mock = await startMock(loaded.library, attachments, state);
  state.start(mock);
  const upstream = new Upstream(mock.port, loaded.certificateAuthority);
  const front = new Front({ state, upstream, tls: options.tls === true ? loaded : undefined });
  const phones = new Map<string, Phone>();

  const device = async (aci: string, id: number): ReturnType<typeof find> => find(aci, id);
  async function find(aci: string, id: number): Promise<Awaited<ReturnType<typeof mock.devicesOf>>[number]> {
    const found = (await mock.devicesOf(aci)).find((each) => each.deviceId === id);
    if (found === undefined) throw new Error(`there is no device ${String(id)} of ${aci}`);
    return found;
  }
  const phone = (aci: string): Phone => {
    const found = phones.get(aci);
    if (found === undefined) throw new Error(`there is no phone ${aci}`);
    return found;
  };

  const port = await front.listen(options.port ?? 0);
  const url = `${options.tls === true ? 'https' : 'http'}://127.0.0.1:${String(port)}`;
  const parts = {
    url,
    port,
    dialect: dialect.name,
    profile: profileOf(url, mock.port, loaded),
    clock,
    faults: state.faults,
    phones,
    createPhone: async (wanted: PhoneOptions = {}): Promise<Phone> => {
      const name = wanted.name ?? `Phone ${String(phones.size + 1)}`;
      const primary = await mock.createPrimary(name, wanted.number);
      const created = new Phone(primary, state, platform.clock);
      state.factsOf(primary.device).capabilities = wanted.capabilities ?? PRIMARY_CAPABILITIES;
      state.recipients.set(created.aci, created);
      phones.set(created.aci, created);
      return created;
    },
    addSecondaryDevice: (aci: string): Promise<number> => phone(aci).addSecondaryDevice(),
    relinkSecondaryDevice: async (aci: string, deviceId: number): Promise<void> => {
      await phone(aci).removeDevice(deviceId);
      await phone(aci).addSecondaryDevice();
    },
    keyCounts: async (aci: string, id: number, kind: 'aci' | 'pni'): Promise<{ ec: number; kyber: number }> =>
      countKeys(await device(aci, id), kind === 'aci' ? mock.kinds.ACI : mock.kinds.PNI),
    exhaustKeys: async (aci: string, id: number): Promise<void> => {
      const target = await device(aci, id);
      for (const kind of [mock.kinds.ACI, mock.kinds.PNI]) {
        for (let left = 1; left > 0;) {
          const { ec, kyber } = await countKeys(target, kind);
          left = Math.max(ec, kyber);
          if (left > 0) await target.popSingleUseKey(kind);
        }
      }
    },
    stats: async (): Promise<StatsReport> => {
      let devices = 0;
      for (const aci of phones.keys()) devices += (await mock.devicesOf(aci)).length;
      return state.stats.report({ queued: state.queued, devices });
    },
  };
  const control = await startControl({ ...parts, state }, options.controlPort ?? 0);
  return {
    ...parts,
    controlUrl: control.url,
    close: async () => {
      await Promise.all([front.close(), control.close()]);
      await upstream.close();
      await mock.close();
      await rm(attachments, { recursive: true, force: true });
    },
  };
}

function profileOf(chat: string, mockPort: number, loaded: LoadedLibrary): ProfileFile {
  const origin = `https://127.0.0.1:${String(mockPort)}`;
  return {
    name: 'Countersign development server',
    chat,
    cdn: { '0': origin, '2': origin, '3': `${origin}/cdn3` },
    storage: `${origin}/storageService`,
    ca: loaded.certificateAuthority,
    serverPublicParams: loaded.serverPublicParams,
    sealedSender: { trustRoots: loaded.trustRoots, mode: 'auto' },
  };
}
