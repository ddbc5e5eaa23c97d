/**
 * (e) Store: opening it, and what a message costs, with 10^3, 10^5 and 10^6 session rows. The messages take the whole
 * path of (a). A thousand senders write in turn, more than the cache of the store holds, so each is looked up on disk;
 * the other rows only stand between them. Rounds of the sizes take turns.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseAci } from '../src/address.ts';
import { encodeText } from '../src/content/encode.ts';
import { openDb } from '../src/store/level-disk.ts';
import type { Store } from '../src/store/store.ts';
import { sessions } from '../src/store/tables.ts';
import { envelopeFrom, type Peer } from '../test/support/peer.ts';
import { befriend, makeDevice, Place, platform, startBot, type Running } from './support/device.ts';
import type { StoreSize } from './support/figures.ts';
import { deliveryFrame } from './support/line.ts';
import { median, progress, report, sleep } from './support/measure.ts';

const SIZES = [1e3, 1e5, 1e6] as const;
const SENDERS = 1000;
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 12);
const WARMUPS = 3;
const OPENINGS = 25;
const PER_BATCH = 4000;
const SETTLE_MS = 1600;

interface Scene {
  readonly rows: number;
  readonly place: Place;
  readonly device: Peer;
  readonly peers: readonly Peer[];
}

async function makeScene(rows: number): Promise<Scene> {
  const place = await Place.make();
  const store = await place.openStore();
  const device = await makeDevice(store);
  const peers: Peer[] = [];
  for (let i = 0; i < SENDERS; i++) peers.push(await befriend(device));
  const sample = await sessions.get(store.batch(), 'aci', peers[0]?.aci ?? device.aci, 2);
  await fill(store, rows - SENDERS, sample?.length ?? 0);
  await store.close();
  await compact(join(place.path, 'data', 'db'));
  progress(`a store with ${String(rows)} sessions is made`);
  return { rows, place, device, peers };
}

/** Rows of strangers, in key order, since that is the quickest. */
async function fill(store: Store, count: number, bytes: number): Promise<void> {
  const names = Array.from({ length: count }, () => randomUUID()).sort();
  for (let i = 0; i < count; i += PER_BATCH) {
    const batch = store.batch();
    for (const name of names.slice(i, i + PER_BATCH)) {
      sessions.put(batch, 'aci', parseAci(name), 2, platform.random.bytes(bytes));
    }
    await batch.commit();
  }
}

/** Tables as they are after a life of small writes. */
async function compact(folder: string): Promise<void> {
  const db = await openDb(folder, { create: false });
  await db.compactRange('\u0000', '\uffff');
  await db.close();
}

/** ms, by size; the sizes take turns. */
async function timeOpenings(scenes: readonly Scene[]): Promise<number[]> {
  const times = scenes.map((): number[] => []);
  for (let i = 0; i < OPENINGS; i++) {
    for (const [index, { place }] of scenes.entries()) {
      const before = performance.now();
      const store = await place.openStore();
      times[index]?.push(performance.now() - before);
      await store.close();
    }
  }
  return times.map(median);
}

class Receiving {
  readonly #running: Running;
  readonly #rounds: readonly (readonly Uint8Array[])[];
  readonly #handled: { count: number };
  readonly cpuMicros: number[] = [];
  readonly micros: number[] = [];

  private constructor(
    running: Running,
    rounds: readonly (readonly Uint8Array[])[],
    handled: { count: number },
  ) {
    this.#running = running;
    this.#rounds = rounds;
    this.#handled = handled;
  }

  static async start(store: Store, { device, peers }: Scene): Promise<Receiving> {
    const handled = { count: 0 };
    const running = await startBot(store, {
      prepare: (bot) =>
        bot.handle((handlers) => {
          handlers.text(() => {
            handled.count++;
            running.line.onChange();
          });
        }),
    });
    handled.count = 0; // the greetings of making friends were no rows
    const rounds: Uint8Array[][] = [];
    let count = 0;
    for (let round = 0; round < ROUNDS + WARMUPS; round++) {
      const frames: Uint8Array[] = [];
      for (const peer of peers) {
        const timestamp = Date.now();
        const content = encodeText(`message ${String(++count)}, of a usual length`, timestamp);
        const envelope = await envelopeFrom(peer, device, content, { timestamp, guid: randomUUID() });
        frames.push(deliveryFrame(count, envelope));
      }
      rounds.push(frames);
    }
    return new Receiving(running, rounds, handled);
  }

  async round(index: number): Promise<void> {
    const frames = this.#rounds[index] ?? [];
    const { line } = this.#running;
    const due = (index + 1) * SENDERS;
    const cpu = process.cpuUsage();
    const before = performance.now();
    const done = line.until(() => line.acked === due && this.#handled.count === due);
    await line.deliver(frames);
    await done;
    const { user, system } = process.cpuUsage(cpu);
    if (index >= WARMUPS) {
      this.micros.push(((performance.now() - before) * 1000) / SENDERS);
      this.cpuMicros.push((user + system) / SENDERS);
    }
    await sleep(SETTLE_MS);
  }

  stop(): Promise<void> {
    return this.#running.stop();
  }
}

async function measure(): Promise<object> {
  const scenes: Scene[] = [];
  for (const rows of SIZES) scenes.push(await makeScene(rows));
  const openMs = await timeOpenings(scenes);
  progress(`opened in ${openMs.map((ms) => ms.toFixed(2)).join(', ')} ms`);

  const stores: Store[] = [];
  const receiving: Receiving[] = [];
  for (const scene of scenes) {
    const store = await scene.place.openStore();
    stores.push(store);
    receiving.push(await Receiving.start(store, scene));
  }
  for (let round = 0; round < ROUNDS + WARMUPS; round++) {
    const order = round % 2 === 0 ? receiving : [...receiving].reverse();
    for (const one of order) await one.round(round);
    const last = receiving.map(({ micros }) => micros.at(-1)?.toFixed(0) ?? 'warming up');
    progress(`round ${String(round + 1)} of ${String(ROUNDS + WARMUPS)}: ${last.join(', ')} µs a message`);
  }
  for (const one of receiving) await one.stop();
  for (const store of stores) await store.close();
  for (const { place } of scenes) await place.remove();

  const sizes = scenes.map(({ rows }, index): StoreSize => ({
    rows,
    openMs: openMs[index] ?? 0,
    messageMicros: median(receiving[index]?.micros ?? []),
    messageCpuMicros: median(receiving[index]?.cpuMicros ?? []),
  }));
  const [small, large] = [receiving[0]?.micros ?? [], receiving.at(-1)?.micros ?? []];
  return {
    sizes,
    openRatio: (openMs.at(-1) ?? 0) / (openMs[0] ?? 0),
    messageRatio: median(large.map((micros, round) => micros / (small[round] ?? 0))),
  };
}

report(await measure());
