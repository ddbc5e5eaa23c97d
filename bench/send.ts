/**
 * (b) Send: `Bot.send` to the server's 200 and the row's move to the sent log, against bare encryption of the same texts
 * for the same recipients.
 *
 * Unsealed sends are paced per recipient, 60 at once, so there are recipients enough for all rounds.
 */
import { setMaxListeners } from 'node:events';
import { ProtocolAddress } from '@signalapp/libsignal-client';
import type { Bytes } from '../src/bytes.ts';
import { encodeText } from '../src/content/encode.ts';
import { pad } from '../src/content/padding.ts';
import type { Peer } from '../test/support/peer.ts';
import { Bare } from './support/bare.ts';
import { befriend, makeDevice, Place, startBot, takeTurns } from './support/device.ts';
import { compare, progress, report, sleep, type Comparison, type Round } from './support/measure.ts';

const PER_ROUND = 1500;
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 11);
const WARMUPS = 4;
const BURST = 60;
const RECIPIENTS = Math.ceil(((ROUNDS + WARMUPS) * PER_ROUND) / (BURST - 5));
const SETTLE_MS = 300;

async function measure(): Promise<Comparison> {
  const place = await Place.make();
  const store = await place.openStore();
  const device = await makeDevice(store);
  const peers: Peer[] = [];
  for (let i = 0; i < RECIPIENTS; i++) peers.push(await befriend(device));
  progress(`${String(RECIPIENTS)} recipients are known`);
  const bare = new Bare(device.account);
  await bare.copyFrom(
    store,
    peers.map(({ aci, account }) => ({ serviceId: aci, deviceId: account.deviceId })),
  );
  const running = await startBot(store);
  const { bot, line } = running;

  const rounds: Round[] = [];
  let next = 0;
  for (let index = 0; index < ROUNDS + WARMUPS; index++) {
    const messages: { readonly to: Peer; readonly text: string }[] = [];
    for (let i = 0; i < PER_ROUND; i++) {
      const to = takeTurns(peers, next++);
      messages.push({ to, text: `message ${String(next)}, of a usual length` });
    }
    const contents: { readonly to: ProtocolAddress; readonly padded: Bytes }[] = messages.map(
      ({ to, text }) => ({
        to: ProtocolAddress.new(to.aci, to.account.deviceId),
        padded: pad(encodeText(text, Date.now())),
      }),
    );
    rounds.push({
      count: PER_ROUND,
      baseline: async () => {
        for (const { to, padded } of contents) await bare.encrypt(to, padded);
      },
      measured: async () => {
        const signal = AbortSignal.timeout(60_000);
        setMaxListeners(0, signal);
        const ends = await Promise.all(
          messages.map(async ({ to, text }) => {
            const { timestamp } = await bot.send(to.aci, { kind: 'text', text });
            return await bot.sent(to.aci, timestamp, signal);
          }),
        );
        if (ends.some(({ state }) => state !== 'sent')) throw new Error('some were not sent');
      },
      settle: () => sleep(SETTLE_MS),
    });
  }
  const comparison = await compare(rounds, WARMUPS);
  if (line.puts < rounds.length * PER_ROUND) throw new Error('some did not reach the server');
  await running.stop();
  await store.close();
  await place.remove();
  return comparison;
}

report(await measure());
