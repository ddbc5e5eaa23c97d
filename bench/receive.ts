/**
 * (a) Receive: frames with envelopes come in, a handler is called, and the 200 goes out once all is durable; against
 * bare libsignal on the same messages. Argument: `unsealed` or `sealed`.
 *
 * A round counts from its first frame to its last 200 and its last handler call.
 */
import { randomUUID } from 'node:crypto';
import { ProtocolAddress } from '@signalapp/libsignal-client';
import type { Bytes } from '../src/bytes.ts';
import { encodeText } from '../src/content/encode.ts';
import { decodeEnvelope } from '../src/content/envelope.ts';
import { envelopeFrom, type Peer } from '../test/support/peer.ts';
import { Bare } from './support/bare.ts';
import { Authority, befriend, makeDevice, Place, platform, startBot, takeTurns } from './support/device.ts';
import { deliveryFrame } from './support/line.ts';
import { compare, progress, report, sleep, type Comparison, type Round } from './support/measure.ts';

const SENDERS = 20;
const PER_ROUND = 1500;
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 11);
/** Until what runs for each message has been compiled. */
const WARMUPS = 4;
/** Receipts are gathered for a second, and sent. */
const SETTLE_MS = 1600;

interface Message {
  readonly frame: Uint8Array;
  readonly from: ProtocolAddress;
  readonly ciphertext: Bytes;
}

async function measure(sealed: boolean): Promise<Comparison> {
  const place = await Place.make();
  const store = await place.openStore();
  const authority = sealed ? new Authority() : undefined;
  const device = await makeDevice(store, authority);
  const profileKey = sealed ? platform.random.bytes(32) : undefined;
  const peers: Peer[] = [];
  for (let i = 0; i < SENDERS; i++) peers.push(await befriend(device, profileKey));
  const bare = new Bare(device.account);
  const addresses = peers.map(({ aci, account }) => ({ serviceId: aci, deviceId: account.deviceId }));
  await bare.copyFrom(store, addresses);

  let handled = 0;
  const running = await startBot(store, {
    device,
    ...(authority && { authority }),
    prepare: (made) =>
      made.handle((handlers) => {
        handlers.text(({ text }) => {
          if (text.startsWith('message')) handled++;
          running.line.onChange();
        });
      }),
  });
  const { bot, line } = running;
  const roots = authority === undefined ? [] : [authority.trustRoot];
  const time = Date.now();

  const rounds: Round[] = [];
  let count = 0;
  for (let index = 0; index < ROUNDS + WARMUPS; index++) {
    const messages: Message[] = [];
    for (let i = 0; i < PER_ROUND; i++) {
      const peer = takeTurns(peers, i);
      messages.push(await messageOf(peer, device, ++count, authority, profileKey));
    }
    const due = count;
    rounds.push({
      count: PER_ROUND,
      baseline: async () => {
        for (const { from, ciphertext } of messages) {
          if (sealed) await bare.decryptSealed(ciphertext, roots, time);
          else await bare.decrypt(from, ciphertext);
        }
      },
      measured: async () => {
        const done = line.until(() => line.acked === due && handled === due);
        await line.deliver(messages.map(({ frame }) => frame));
        await done;
      },
      settle: () => sleep(SETTLE_MS),
    });
  }
  progress(`${String(count)} messages of ${String(SENDERS)} senders are made`);
  const comparison = await compare(rounds, WARMUPS);
  if (line.refused > 0 || handled !== count || bot.drops?.refused !== 0) throw new Error('some were refused');
  await running.stop();
  await store.close();
  await place.remove();
  return comparison;
}

async function messageOf(
  peer: Peer,
  device: Peer,
  number: number,
  authority: Authority | undefined,
  profileKey: Bytes | undefined,
): Promise<Message> {
  const timestamp = Date.now();
  const content = encodeText(`message ${String(number)}, of a usual length`, timestamp, profileKey);
  const seal = authority === undefined ? {} : { seal: sealOf(authority, peer) };
  const envelope = await envelopeFrom(peer, device, content, { timestamp, guid: randomUUID(), ...seal });
  return {
    frame: deliveryFrame(number, envelope),
    from: ProtocolAddress.new(peer.aci, peer.account.deviceId),
    ciphertext: decodeEnvelope(envelope).content,
  };
}

const seals = new Map<Peer, ReturnType<Authority['seal']>>();
/** A certificate is fetched once a day. */
function sealOf(authority: Authority, peer: Peer): ReturnType<Authority['seal']> {
  let seal = seals.get(peer);
  if (seal === undefined) seals.set(peer, (seal = authority.seal(peer)));
  return seal;
}

report(await measure(process.argv[2] === 'sealed'));
