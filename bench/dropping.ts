/**
 * (d) Dropping: envelopes that bear no tag come to a device that listens to tagged messages alone, which answers 200;
 * against bare libsignal that decrypts the same envelopes, of peers with whom there are sessions, unsealed and sealed.
 *
 * A round's messages are decrypted once and dropped many times. It is the receiver that is measured, which would have them decrypted, from the delivery to its ack; then, for
 * comparison, the whole bot from the frame to the 200. The device knows a thousand bots that could have tagged them.
 */
import { randomUUID } from 'node:crypto';
import { PrivateKey, ProtocolAddress } from '@signalapp/libsignal-client';
import { parseAci } from '../src/address.ts';
import { own, type Bytes } from '../src/bytes.ts';
import { encodeText } from '../src/content/encode.ts';
import { decodeEnvelope } from '../src/content/envelope.ts';
import { Intake } from '../src/inbox/intake.ts';
import { Listening } from '../src/inbox/listening.ts';
import { Parking } from '../src/inbox/parking.ts';
import { Receiver } from '../src/inbox/receiver.ts';
import { Carrier } from '../src/session/carrier.ts';
import { aciIdentity } from '../src/session/own-identity.ts';
import { OwnTags } from '../src/session/peer-tags.ts';
import type { Seal } from '../src/session/session.ts';
import type { Store } from '../src/store/store.ts';
import { peers as peerRows } from '../src/store/tables.ts';
import type { Incoming } from '../src/transport/request.ts';
import { envelopeFrom, type Peer } from '../test/support/peer.ts';
import { Bare } from './support/bare.ts';
import { Authority, befriend, makeDevice, Place, startBot, takeTurns } from './support/device.ts';
import { deliveryFrame } from './support/line.ts';
import { compare, progress, report, sleep, type Comparison, type Round } from './support/measure.ts';

const SENDERS = 20;
const KNOWN_BOTS = 1000;
const PER_ROUND = 1000;
/** How often a round's messages are dropped, to once decrypted: else one collection would be all that is measured. */
const PASSES = 20;
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 9);
/** Until what runs for each message has been compiled. */
const WARMUPS = 3;
const SETTLE_MS = 100;

interface Message {
  readonly envelope: Bytes;
  readonly from: ProtocolAddress;
  readonly ciphertext: Bytes;
}

/** What drops a round's messages; resolves when all are acked. */
type Drop = (envelopes: readonly Bytes[]) => Promise<void>;

interface Material {
  readonly device: Peer;
  readonly store: Store;
  readonly peers: readonly Peer[];
  readonly bare: Bare;
  readonly authority: Authority | undefined;
}

/** A device, and peers with sessions; the baseline has the same. */
async function withMaterial(
  sealed: boolean,
  measure: (material: Material) => Promise<Comparison>,
): Promise<Comparison> {
  const place = await Place.make();
  const store = await place.openStore();
  const authority = sealed ? new Authority() : undefined;
  const device = await makeDevice(store, authority);
  const peers: Peer[] = [];
  for (let i = 0; i < SENDERS; i++) peers.push(await befriend(device));
  await knowBots(device);
  const bare = new Bare(device.account);
  const addresses = peers.map(({ aci, account }) => ({ serviceId: aci, deviceId: account.deviceId }));
  await bare.copyFrom(store, addresses);
  const comparison = await measure({ device, store, peers, bare, authority });
  await store.close();
  await place.remove();
  return comparison;
}

/** Bots that have been told how to tag. */
async function knowBots({ store, identities }: Peer): Promise<void> {
  const batch = store.batch();
  for (let i = 0; i < KNOWN_BOTS; i++) {
    const aci = parseAci(randomUUID());
    await identities.save(batch, aci, own(PrivateKey.generate().getPublicKey().serialize()));
    peerRows.put(batch, 'aci', aci, { devices: [{ id: 2, registrationId: 1 }], announced: 'our tags' });
  }
  await batch.commit();
}

async function compareWith({ device, peers, bare, authority }: Material, drop: Drop): Promise<Comparison> {
  const roots = authority === undefined ? [] : [authority.trustRoot];
  const seals = new Map(peers.map((peer) => [peer, authority?.seal(peer)]));
  const time = Date.now();
  const rounds: Round[] = [];
  for (let index = 0; index < ROUNDS + WARMUPS; index++) {
    const messages: Message[] = [];
    for (let i = 0; i < PER_ROUND; i++) {
      const peer = takeTurns(peers, i);
      messages.push(await messageOf(peer, device, i, seals.get(peer)));
    }
    rounds.push({
      count: PER_ROUND,
      baseline: async () => {
        for (const { from, ciphertext } of messages) {
          if (authority === undefined) await bare.decrypt(from, ciphertext);
          else await bare.decryptSealed(ciphertext, roots, time);
        }
      },
      measured: async () => {
        const envelopes = messages.map(({ envelope }) => envelope);
        for (let pass = 0; pass < PASSES; pass++) await drop(envelopes);
      },
      settle: () => sleep(SETTLE_MS),
    });
  }
  progress(`${String(rounds.length * PER_ROUND)} messages of ${String(SENDERS)} senders are made`);
  const { measured, baseline, ratio, cpuMicros } = await compare(rounds, WARMUPS);
  const cpu = { ...cpuMicros, measured: cpuMicros.measured / PASSES };
  return { measured: measured * PASSES, baseline, ratio: ratio * PASSES, cpuMicros: cpu };
}

async function messageOf(peer: Peer, device: Peer, number: number, seal: Seal | undefined): Promise<Message> {
  const timestamp = Date.now();
  const content = encodeText(`message ${String(number)}, of a usual length`, timestamp);
  const options = { timestamp, guid: randomUUID(), ...(seal && { seal }) };
  const envelope = await envelopeFrom(peer, device, content, options);
  return {
    envelope,
    from: ProtocolAddress.new(peer.aci, peer.account.deviceId),
    ciphertext: decodeEnvelope(envelope).content,
  };
}

/** The receiver of a bot, as `bot/parts.ts` makes it. */
async function byReceiver(material: Material): Promise<Comparison> {
  const { store, device } = material;
  const { account, identities, platform, session, aci } = device;
  const listening = new Listening({
    mode: 'tagged',
    store,
    identities,
    own: aciIdentity(account),
    clock: platform.clock,
  });
  await listening.open();
  const common = { store, session, platform, identities, tags: new OwnTags([]), stamp: () => Date.now() };
  const carrier = new Carrier({ store, account, identities, platform });
  const intake = new Intake({
    ...common,
    ownAci: aci,
    ownDevice: account.deviceId,
    onContacts: nothing,
  });
  const receiver = new Receiver({
    ...common,
    intake,
    parking: new Parking({ ...common, carrier }),
    listening,
    onInbox: nothing,
    onOutbox: nothing,
    onPrekey: nothing,
    onDrained: nothing,
  });
  let [due, acked] = [0, 0];
  const ack = (): void => {
    acked++;
  };
  const { signal } = new AbortController();
  const comparison = await compareWith(material, async (envelopes) => {
    due += envelopes.length;
    await receiver.run(deliveries(envelopes, ack), signal);
  });
  if (acked !== due || intake.drops.untagged !== due) throw new Error('some were not dropped');
  return comparison;
}

/** As a socket's queue hands them over when there are many. */
function deliveries(envelopes: readonly Bytes[], ack: () => void): AsyncIterable<Incoming> {
  let next = 0;
  return {
    [Symbol.asyncIterator]: () => ({
      next: (): Promise<IteratorResult<Incoming, undefined>> => {
        const body = envelopes[next++];
        if (body === undefined) return Promise.resolve({ done: true, value: undefined });
        const delivery = { body, serverTime: undefined, ack, abandon: nothing };
        return Promise.resolve({ done: false, value: { kind: 'delivery', delivery } });
      },
    }),
  };
}

/** The whole bot, from the frame to the 200. */
async function byBot(material: Material): Promise<Comparison> {
  const { store, device } = material;
  const { bot, line, stop } = await startBot(store, { device, listen: 'tagged' });
  let due = 0;
  const comparison = await compareWith(material, async (envelopes) => {
    const frames = envelopes.map((envelope) => deliveryFrame(++due, envelope));
    const done = line.until(() => line.acked === due);
    await line.deliver(frames);
    await done;
  });
  if (line.refused > 0 || bot.drops?.untagged !== due) throw new Error('some were not dropped');
  await stop();
  return comparison;
}

function nothing(): void {
  // nobody waits for it
}

const unsealed = await withMaterial(false, byReceiver);
const sealed = await withMaterial(true, byReceiver);
const whole = await withMaterial(false, byBot);
report({ dropRatio: Math.min(unsealed.ratio, sealed.ratio), unsealed, sealed, whole });
