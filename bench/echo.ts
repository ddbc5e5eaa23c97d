/**
 * (c) Echo: from the frame with `!ping` to the frame with the answer's PUT, through a running bot with the echo plugin
 * and a store on disk. Once one at a time, then under a modest load of one message every 10 ms.
 */
import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import echo from '../plugins/echo/index.ts';
import { encodeText } from '../src/content/encode.ts';
import { envelopeFrom, type Peer } from '../test/support/peer.ts';
import { befriend, makeDevice, Place, startBot, takeTurns } from './support/device.ts';
import type { Latency } from './support/figures.ts';
import { deliveryFrame, type Line } from './support/line.ts';
import { percentile, progress, report, sleep } from './support/measure.ts';

const SENDERS = 50;
/** Each gets at most 60 answers and receipts at once. */
const SINGLE = 1000;
const LOADED = 1000;
const EVERY_MS = 10;
const WARMUP = 200;

async function measure(): Promise<Latency & { readonly loaded: Latency }> {
  const place = await Place.make();
  const store = await place.openStore();
  const device = await makeDevice(store);
  const peers: Peer[] = [];
  for (let i = 0; i < SENDERS; i++) peers.push(await befriend(device));
  const running = await startBot(store, { prepare: (bot) => bot.use(echo) });
  const pings = new Pings(running.line);
  let count = 0;
  const next = async (): Promise<{ from: string; frame: Uint8Array }> => {
    const peer = takeTurns(peers, ++count);
    const timestamp = Date.now();
    const content = encodeText('!ping', timestamp);
    const envelope = await envelopeFrom(peer, device, content, { timestamp, guid: randomUUID() });
    return { from: peer.aci, frame: deliveryFrame(count, envelope) };
  };

  for (let i = 0; i < WARMUP; i++) await pings.send(await next());
  const single: number[] = [];
  for (let i = 0; i < SINGLE; i++) {
    const ping = await next();
    await sleep(2); // so that nothing of the one before runs on
    single.push(await pings.send(ping));
  }
  progress(`${String(SINGLE)} one at a time`);

  const ready: { from: string; frame: Uint8Array }[] = [];
  for (let i = 0; i < LOADED; i++) ready.push(await next());
  const answers: Promise<number>[] = [];
  const start = performance.now();
  for (const [i, ping] of ready.entries()) {
    await sleep(Math.max(0, start + i * EVERY_MS - performance.now()));
    answers.push(pings.send(ping));
  }
  const loaded = await Promise.all(answers);
  progress(`${String(LOADED)} under load`);
  await running.stop();
  await store.close();
  await place.remove();
  return { ...latency(single), loaded: latency(loaded) };
}

/** Messages on their way and back, at most a few of each sender at once. */
class Pings {
  readonly #line: Line;
  readonly #waiting = new Map<string, ((at: number) => void)[]>();

  constructor(line: Line) {
    this.#line = line;
    line.onMessage = (to, { urgent }) => {
      // Receipts are not urgent, answers are.
      if (urgent) this.#waiting.get(to)?.shift()?.(performance.now());
    };
  }

  /** @returns ms from the frame to the frame of the answer */
  async send({ from, frame }: { from: string; frame: Uint8Array }): Promise<number> {
    const answered = new Promise<number>((resolve) => {
      const waiting = this.#waiting.get(from) ?? [];
      waiting.push(resolve);
      this.#waiting.set(from, waiting);
    });
    const start = performance.now();
    await this.#line.deliver([frame]);
    return (await answered) - start;
  }
}

function latency(ms: readonly number[]): Latency {
  return { p50Ms: percentile(ms, 0.5), p99Ms: percentile(ms, 0.99) };
}

report(await measure());
