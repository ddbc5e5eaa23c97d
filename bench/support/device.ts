/**
 * Devices: a linked bot on a real store in a temporary folder, encrypted under a key file, and peers that have sessions
 * with it in both directions.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PublicKey, SenderCertificate, ServerCertificate, PrivateKey } from '@signalapp/libsignal-client';
import type { IdentityKind } from '../../src/address.ts';
import { fromBase64, own, toBase64, type Bytes } from '../../src/bytes.ts';
import { encodeText } from '../../src/content/encode.ts';
import { Bot, type BotOptions } from '../../src/bot.ts';
import { systemPlatform } from '../../src/platform.ts';
import type { Profile } from '../../src/service/profile.ts';
import { firstPrekeyState } from '../../src/session/prekey-generation.ts';
import { confirmOneTimeKeys, unconfirmedKeys } from '../../src/session/prekey-supply.ts';
import type { Seal } from '../../src/session/session.ts';
import { openLevel } from '../../src/store/level.ts';
import type { Store } from '../../src/store/store.ts';
import { prekeyStates } from '../../src/store/tables.ts';
import { read } from '../../test/support/outbox.ts';
import { envelopeFrom, makePeer, type Peer } from '../../test/support/peer.ts';
import { Line } from './line.ts';
import { sleep } from './measure.ts';

const DAY_MS = 86_400_000;
/** Ids that `makePeer` gives. */
const [SIGNED_ID, LAST_RESORT_ID, FIRST_EC_ID, FIRST_KYBER_ID] = [7, 9, 100, 200];
const ONE_TIME_KEYS = 100;

export const platform = systemPlatform();

/** The operator's keys: who signs sender certificates. */
export class Authority {
  readonly #root = PrivateKey.generate();
  readonly #server = PrivateKey.generate();
  readonly #certificate = ServerCertificate.new(1, this.#server.getPublicKey(), this.#root);

  get trustRoot(): PublicKey {
    return this.#root.getPublicKey();
  }

  certificate({ account }: Peer): SenderCertificate {
    return SenderCertificate.new(
      account.aci,
      null,
      account.deviceId,
      PublicKey.deserialize(fromBase64(account.identity.publicKey)),
      Date.now() + 30 * DAY_MS,
      this.#certificate,
      this.#server,
    );
  }

  seal(peer: Peer): Seal {
    return { certificate: this.certificate(peer), hint: 1 };
  }
}

/** A temporary folder with a key file. */
export class Place {
  readonly path: string;
  readonly #keyFile: string;

  private constructor(path: string) {
    this.path = path;
    this.#keyFile = join(path, 'key');
  }

  static async make(): Promise<Place> {
    const place = new Place(await mkdtemp(join(tmpdir(), 'countersign-bench-')));
    await writeFile(place.#keyFile, randomBytes(32).toString('base64'), { mode: 0o600 });
    return place;
  }

  /** One that another process has made. */
  static at(path: string): Place {
    return new Place(path);
  }

  async openStore(name = 'data'): Promise<Store> {
    await mkdir(this.path, { recursive: true });
    const secret = { kind: 'key-file', file: this.#keyFile } as const;
    return await openLevel(join(this.path, name), { secret, create: true });
  }

  remove(): Promise<void> {
    return rm(this.path, { recursive: true, force: true });
  }
}

/** Links a bot to a store: an account and all the keys that upkeep would look for. */
export async function makeDevice(store: Store, authority?: Authority): Promise<Peer> {
  const trustRoots = authority === undefined ? [] : [own(authority.trustRoot.serialize())];
  const device = await makePeer({ store, platform, trustRoots, oneTimeKeys: ONE_TIME_KEYS });
  const now = Date.now();
  for (const identity of ['aci', 'pni'] satisfies IdentityKind[]) {
    const batch = store.batch();
    const [signedAt, lastResortAt] = [now, now];
    const ids = { signedId: SIGNED_ID, lastResortId: LAST_RESORT_ID, signedAt, lastResortAt };
    const next = { nextEcId: FIRST_EC_ID + ONE_TIME_KEYS, nextKyberId: FIRST_KYBER_ID + ONE_TIME_KEYS };
    prekeyStates.put(batch, identity, { ...firstPrekeyState(platform.random), ...next, ...ids });
    await batch.commit();
    for (const kind of ['ec', 'kyber'] as const) {
      const keys = await unconfirmedKeys(store, identity, kind);
      await confirmOneTimeKeys(store, identity, kind, new Set(keys.keys()), now);
    }
  }
  return device;
}

/** A peer with a session in both directions, so that neither side sends prekey messages any more. */
export async function befriend(device: Peer, profileKey?: Bytes): Promise<Peer> {
  const peer = await makePeer({ platform, oneTimeKeys: 1 });
  const now = Date.now();
  const hello = encodeText('hello', now, profileKey);
  await mustRead(device, await envelopeFrom(peer, device, hello, { timestamp: now }));
  await mustRead(peer, await envelopeFrom(device, peer, encodeText('hi', now), { timestamp: now }));
  return peer;
}

async function mustRead(to: Peer, envelope: Bytes): Promise<void> {
  const content = await read(to, envelope);
  if (typeof content === 'string') throw new Error(`the handshake is ${content}`);
}

function profileOf(authority?: Authority): Profile {
  return {
    name: 'bench',
    chat: 'http://127.0.0.1:1',
    cdn: { '0': undefined, '2': undefined, '3': undefined },
    storage: undefined,
    ca: undefined,
    serverPublicParams: undefined,
    sealedSender:
      authority === undefined
        ? { trustRoots: [], mode: 'off' }
        : { trustRoots: [own(authority.trustRoot.serialize())], mode: 'auto' },
  };
}

export interface Running {
  readonly bot: Bot;
  readonly line: Line;
  readonly stop: () => Promise<void>;
}

/** Starts a bot on a line of its own; resolves when it is ready and its upkeep at start is over. */
export async function startBot(
  store: Store,
  options: {
    readonly authority?: Authority;
    readonly device?: Peer;
    readonly prepare?: (bot: Bot) => void;
    readonly settleMs?: number;
    readonly listen?: 'all' | 'tagged';
  } = {},
): Promise<Running> {
  const { authority, device, prepare, listen, settleMs = UPKEEP_MS } = options;
  const certificate = authority && device ? toBase64(authority.certificate(device).serialize()) : undefined;
  const line = new Line(certificate === undefined ? {} : { certificate });
  let onReady: () => void = () => undefined;
  const ready = new Promise<void>((resolve) => {
    onReady = resolve;
  });
  const botOptions: BotOptions = {
    store,
    service: profileOf(authority),
    platform,
    ...(listen && { listen }),
    openSocket: line.openSocket,
    onEvent: (event) => {
      if (event.kind === 'ready') onReady();
    },
  };
  const bot = new Bot(botOptions);
  prepare?.(bot);
  const stop = new AbortController();
  const running = bot.run(stop.signal);
  const failed = running.then(() => Promise.reject(new Error('the bot has stopped')));
  failed.catch(() => undefined);
  while (!line.isOpen) await Promise.race([sleep(1), failed]);
  line.drained();
  await Promise.race([ready, failed]);
  await Promise.race([sleep(settleMs), failed]);
  return {
    bot,
    line,
    stop: async () => {
      stop.abort();
      await running;
    },
  };
}

/** What upkeep has to do at the start begins within 5 s. */
export const UPKEEP_MS = 6000;

/** One after the other, and from the beginning again. */
export function takeTurns<T>(items: readonly T[], turn: number): T {
  const item = items[turn % items.length];
  if (item === undefined) throw new Error('there is nobody to take turns');
  return item;
}
