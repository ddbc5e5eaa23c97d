/**
 * (d) Memory: resident size of one process with 10 and with 50 idle bots, each on a store of its own that is open; the
 * slope is what one device costs. The stores are made by another process (`memory.ts make FOLDER`), so that memory which
 * making them has left free does not hide what running them takes.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Place, makeDevice, startBot, UPKEEP_MS, type Running } from './support/device.ts';
import { progress, report, sleep } from './support/measure.ts';

const FEW = 10;
const MANY = 50;
/** A first bot, so that what is loaded and made once is not counted. */
const FIRST = 1;
const REST_MS = 2000;
const MIB = 1024 * 1024;

async function make(place: Place): Promise<void> {
  for (let i = 0; i < MANY; i++) {
    const store = await place.openStore(nameOf(i));
    await makeDevice(store);
    await store.close();
  }
}

async function measure(): Promise<object> {
  const place = await Place.make();
  const startMiB = await residentMiB();
  const maker = fork(import.meta.filename, ['make', place.path]);
  const [code] = (await once(maker, 'exit')) as [number | null];
  if (code !== 0) throw new Error('the stores could not be made');
  progress(`${String(MANY)} stores are made`);

  const bots: Running[] = [];
  const start = async (upTo: number): Promise<number> => {
    const more: Promise<Running>[] = [];
    for (let i = bots.length; i < upTo; i++) more.push(open(place, i));
    bots.push(...(await Promise.all(more)));
    const mib = await residentMiB();
    progress(`${String(upTo)} bots: ${mib.toFixed(1)} MiB`);
    return mib;
  };
  const oneMiB = await start(FIRST);
  const fewMiB = await start(FEW);
  const manyMiB = await start(MANY);
  await Promise.all(bots.map(({ stop }) => stop()));
  await place.remove();
  return { startMiB, oneMiB, fewMiB, manyMiB, perDeviceMiB: (manyMiB - fewMiB) / (MANY - FEW) };
}

async function open(place: Place, index: number): Promise<Running> {
  return await startBot(await place.openStore(nameOf(index)), { settleMs: UPKEEP_MS + REST_MS });
}

/** After collections, so that garbage is not counted. */
async function residentMiB(): Promise<number> {
  for (let i = 0; i < 4; i++) {
    globalThis.gc?.();
    await sleep(100);
  }
  return process.memoryUsage.rss() / MIB;
}

function nameOf(index: number): string {
  return `bot-${String(index)}`;
}

const [task, folder] = process.argv.slice(2);
if (task === 'make' && folder !== undefined) await make(Place.at(folder));
else report(await measure());
