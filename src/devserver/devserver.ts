/**
 * Development server: Signal's own mock behind a strict front, with scripted phones and a control API (decision 14).
 *
 * client --HTTP/1.1 upgrade--> front (rules, faults, queues) --HTTP/2 CONNECT--> mock (accounts, keys, certificates)
 */
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemPlatform, type Platform } from '../platform.ts';
import { Accounts, type PhoneOptions } from './accounts.ts';
import { ServerClock } from './clock.ts';
import { startControl } from './control.ts';
import { DIALECTS, type DialectName } from './dialect.ts';
import type { Faults } from './faults.ts';
import { Front } from './front.ts';
import { Interceptor, type InterceptorOptions } from './interceptor.ts';
import { loadLibrary, type LoadedLibrary } from './mock-library.ts';
import { startMock } from './mock.ts';
import type { Phone } from './phone.ts';
import { ServerState } from './state.ts';
import type { StatsReport } from './stats.ts';
import { Upstream } from './upstream.ts';

export type { PhoneOptions } from './accounts.ts';

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
  /** Attack lab: lies to two accounts about each other, until it is stopped. */
  intercept(options: InterceptorOptions): Interceptor;
  stats(): Promise<StatsReport>;
  close(): Promise<void>;
}

let attachments: Promise<string> | undefined;

/**
 * One folder for all servers of this process, removed with it: the mock makes sure of its folder at a time of its own, and
 * throws where nobody can catch it when that is gone already.
 */
function attachmentFolder(): Promise<string> {
  attachments ??= mkdtemp(join(tmpdir(), 'countersign-devserver-')).then((folder) => {
    process.once('exit', () => {
      rmSync(folder, { recursive: true, force: true });
    });
    return folder;
  });
  return attachments;
}

/** @throws BotError `DEVSERVER_MISSING` when the mock is not installed; Error when a port is taken */
export async function startDevServer(options: DevServerOptions = {}): Promise<DevServer> {
  const loaded = await loadLibrary();
  const platform = options.platform ?? systemPlatform();
  const clock = new ServerClock(platform.clock);
  const dialect = DIALECTS[options.dialect ?? 'aug26'];
  const state = new ServerState({ dialect, clock, random: platform.random, log: platform.log });
  const accounts = new Accounts(state, platform.clock);
  const stats = async (): Promise<StatsReport> =>
    state.stats.report({ queued: state.queued, devices: await accounts.count() });

  const opened: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const undo of opened.splice(0).reverse()) await undo();
  };
  try {
    const mock = await startMock(loaded.library, await attachmentFolder(), state);
    opened.push(() => mock.close());
    state.start(mock);
    const upstream = new Upstream(mock.port, loaded.certificateAuthority);
    opened.push(() => upstream.close());
    const front = new Front({ state, upstream, tls: options.tls === true ? loaded : undefined });
    const port = await front.listen(options.port ?? 0);
    opened.push(() => front.close());
    const parts = { state, accounts, stats };
    const control = await startControl(parts, options.controlPort ?? 0);
    opened.push(() => control.close());
    opened.push(() => {
      state.close();
      return Promise.resolve();
    });

    const url = `${options.tls === true ? 'https' : 'http'}://127.0.0.1:${String(port)}`;
    return {
      url,
      port,
      controlUrl: control.url,
      profile: profileOf(url, mock.port, loaded),
      dialect: dialect.name,
      clock,
      faults: state.faults,
      phones: accounts.phones,
      createPhone: (wanted = {}) => accounts.createPhone(wanted),
      addSecondaryDevice: (aci) => accounts.phone(aci).addSecondaryDevice(),
      relinkSecondaryDevice: (aci, id) => accounts.relinkSecondaryDevice(aci, id),
      keyCounts: (aci, id, kind) => accounts.keyCounts(aci, id, kind),
      exhaustKeys: (aci, id) => accounts.exhaustKeys(aci, id),
      intercept: (wanted) => {
        const interceptor = new Interceptor(state, wanted);
        state.interceptors.push(interceptor);
        return interceptor;
      },
      stats,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
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
