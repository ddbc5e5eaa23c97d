/** Who plays in the crash walks: the bot with its prekeys, its phone, and a friend; and what their server answers. */
import { PrivateKey, PublicKey, SenderCertificate, ServerCertificate } from '@signalapp/libsignal-client';
import { fromBase64, toBase64, type Bytes } from '../../src/bytes.ts';
import type { Platform, Random } from '../../src/platform.ts';
import { parseProfile, type Profile } from '../../src/service/profile.ts';
import { HINT } from '../../src/session/identify.ts';
import { firstPrekeyState } from '../../src/session/prekey-generation.ts';
import type { Seal } from '../../src/session/session.ts';
import { openMemory, type MemoryDisk } from '../../src/store/memory.ts';
import { prekeyStates } from '../../src/store/tables.ts';
import type { Hub } from './hub.ts';
import { makePeer, type Peer } from './peer.ts';

export interface CrashCast {
  readonly bot: Peer;
  readonly phone: Peer;
  readonly friend: Peer;
  /** Of the bot. */
  readonly profile: Profile;
  /** How the friend seals; undefined in a scene without sealed sender. */
  readonly seal: Seal | undefined;
}

export interface CastOptions {
  readonly platform: Platform;
  readonly hub: Hub;
  /** Where the bot's rows are. */
  readonly disk: MemoryDisk;
  readonly sealed: boolean;
}

/** Makes the three, adds them to the hub, and has it answer what a bot asks besides. */
export async function makeCast({ platform, hub, disk, sealed }: CastOptions): Promise<CrashCast> {
  const [root, signer] = [PrivateKey.generate(), PrivateKey.generate()];
  const trustRoots = sealed ? [root.getPublicKey().serialize()] : [];
  const bot = await makePeer({ platform, store: openMemory(disk) });
  const phone = await makePeer({ platform, deviceOf: bot.account, deviceId: 1, trustRoots });
  const friend = await makePeer({ platform, deviceId: 1, trustRoots });
  hub.add(bot, phone, friend);
  const batch = bot.store.batch();
  const now = platform.clock.now();
  for (const kind of ['aci', 'pni'] as const) {
    const ids = { signedId: 7, signedAt: now, lastResortId: 9, lastResortAt: now };
    prekeyStates.put(batch, kind, { ...firstPrekeyState(platform.random), ...ids });
  }
  await batch.commit();
  const certificate = (peer: Peer): SenderCertificate =>
    SenderCertificate.new(
      peer.aci,
      null,
      peer.account.deviceId,
      PublicKey.deserialize(fromBase64(peer.account.identity.publicKey)),
      now + 30 * 86_400_000,
      ServerCertificate.new(1, signer.getPublicKey(), root),
      signer,
    );
  hub.before = ({ verb, path }) => {
    if (path.startsWith('/v1/keepalive') || path.startsWith('/v2/keys/check')) return { status: 200 };
    if (path.startsWith('/v2/keys?') && verb === 'GET')
      return { status: 200, body: { count: 100, pqCount: 100 } };
    if (path.startsWith('/v1/certificate') && sealed) {
      return { status: 200, body: { certificate: toBase64(certificate(bot).serialize()) } };
    }
    return undefined;
  };
  const roots = trustRoots.map((key) => toBase64(key));
  const sealedSender = { trustRoots: roots, mode: sealed ? 'auto' : 'off' };
  return {
    bot,
    phone,
    friend,
    profile: parseProfile(JSON.stringify({ name: 'crash', chat: 'http://127.0.0.1:1', sealedSender }), '/'),
    seal: sealed ? { certificate: certificate(friend), hint: HINT.RESENDABLE } : undefined,
  };
}

/** The same in every run, so that steps keep their numbers; what is secret comes from libsignal. */
export class ScriptedRandom implements Random {
  #state = 1;

  bytes(length: number): Bytes {
    return new Uint8Array(length).map(() => {
      this.#state = (Math.imul(this.#state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      return this.#state >>> 16;
    });
  }
}
