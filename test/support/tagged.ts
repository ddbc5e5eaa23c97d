/** Outer tags in tests: who knows whom as taking one, and envelopes that bear one. */
import { PrivateKey, PublicKey, SenderCertificate, ServerCertificate } from '@signalapp/libsignal-client';
import { fromBase64, own, type Bytes } from '../../src/bytes.ts';
import { decodeEnvelope } from '../../src/content/envelope.ts';
import { encodeText } from '../../src/content/encode.ts';
import type { Clock } from '../../src/platform.ts';
import { Tagging } from '../../src/outbox/tagging.ts';
import { outerMark, routeKeyOf } from '../../src/session/outer-tag.ts';
import { aciIdentity } from '../../src/session/own-identity.ts';
import type { Seal } from '../../src/session/session.ts';
import type { PeerDevice } from '../../src/store/rows.ts';
import { peers } from '../../src/store/tables.ts';
import { read } from './outbox.ts';
import { envelopeFrom, wireEnvelope, type EnvelopeOptions, type Peer } from './peer.ts';

/** Who signs sender certificates. */
export class Authority {
  readonly #root = PrivateKey.generate();
  readonly #server = PrivateKey.generate();
  readonly #certificate = ServerCertificate.new(1, this.#server.getPublicKey(), this.#root);

  /** 33 bytes */
  get trustRoot(): Bytes {
    return own(this.#root.getPublicKey().serialize());
  }

  seal({ account }: Peer, time: number): Seal {
    const certificate = SenderCertificate.new(
      account.aci,
      null,
      account.deviceId,
      PublicKey.deserialize(fromBase64(account.identity.publicKey)),
      time + 30 * 86_400_000,
      this.#certificate,
      this.#server,
    );
    return { certificate, hint: 1 };
  }
}

/** Sessions both ways; `bot` has told its tags to `friend`. */
export async function befriend(friend: Peer, bot: Peer, timestamp: number): Promise<void> {
  await read(bot, await envelopeFrom(friend, bot, encodeText('hello', timestamp), { timestamp }));
  await read(friend, await envelopeFrom(bot, friend, encodeText('hi', timestamp), { timestamp }));
  const batch = bot.store.batch();
  const known = await peers.get(batch, 'aci', friend.aci);
  peers.put(batch, 'aci', friend.aci, { devices: [], ...known, announced: 'our tags' });
  await batch.commit();
}

/** The device as a peer knows it that has heard its announcement. */
export function announced({ account }: Peer): PeerDevice {
  const tags = [outerMark(routeKeyOf(aciIdentity(account)))];
  return { id: account.deviceId, registrationId: account.registrationId, tags };
}

/** The content of an envelope with a tag of `from`, in the envelope of `as`. */
export async function tagged(
  from: Peer,
  to: Peer,
  envelope: Bytes,
  options: EnvelopeOptions & { readonly clock?: Clock; readonly as?: Peer; readonly device?: PeerDevice },
): Promise<Bytes> {
  const { type, content } = decodeEnvelope(envelope);
  const parts = { own: aciIdentity(from.account), identities: from.identities };
  const tagging = new Tagging({ ...parts, clock: options.clock ?? from.platform.clock });
  const device = options.device ?? announced(to);
  const added = await tagging.add(from.store.batch(), to.aci, device, {
    type: type as 1 | 3 | 6 | 8,
    content,
  });
  return wireEnvelope(options.as ?? from, to, type, added.content, options);
}
