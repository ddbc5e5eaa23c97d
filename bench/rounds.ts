/**
 * (h) Rounds: a key generation and a signing of threshold BLS among n bots, over the development server and with stores on
 * disk, all in one process. The same machines run in memory first, where a message costs nothing; what is more over the
 * network is the network and storage part. Its unit is measured by the same bots in the same run: plain app messages of the
 * mean size of a frame, in waves of one from each to each, as a round sends them, from the commit that leaves them to the
 * handlers that take them. The part is held against as many of these as the ceremony has sent messages. Each size shows the
 * ceremony with the median ratio of several; of the largest there is one key generation, which takes more than a minute.
 */
import { performance } from 'node:perf_hooks';
import { entries } from '../plugins/threshold-bls/ceremonies.ts';
import { publicKeyOf, sharingOf, type KeyShare } from '../plugins/threshold-bls/key-share.ts';
import { keygen } from '../plugins/threshold-bls/keygen.ts';
import { sign, type SignParams } from '../plugins/threshold-bls/sign.ts';
import { fromUtf8, own, toHex, type Bytes } from '../src/bytes.ts';
import { appType, definePlugin, type Host } from '../src/index.ts';
import { partySet, rounds, type PartySet, type Protocol, type Rounds } from '../src/rounds/index.ts';
import { openLevel } from '../src/store/level.ts';
import { RoundsTest, type RoundsTestOptions } from '../src/testing/rounds.ts';
import { importTrust } from '../src/trust/operator.ts';
import { Scene, type RunningBot } from '../test/support/scene.ts';
import { tempFolder } from '../test/support/store-folder.ts';
import { NotingStore, type Left } from '../test/threshold-bls/support/group.ts';
import type { CeremonyCost, RoundsSize } from './support/figures.ts';
import { progress, report } from './support/measure.ts';

const SIZES = (process.env['BENCH_SIZES'] ?? '3 5 10 20').split(' ').map(Number);
/** Plain messages of which nothing else is known: sessions are there before anything is measured. */
const WARMUPS = 2;
const UNIT = appType('bench.unit/1');
/** From so many parties on, one key generation. */
const LONG = 20;
/** Odd, that one is in the middle. No more with one circle: the outbox sends 60 messages from one to another at once. */
const SIGNINGS = 5;
const SIGNINGS_A_CIRCLE = 3;
const CIRCLES = 3;

class Party {
  readonly left: Left[] = [];
  onDone: (output: unknown) => void = () => undefined;
  onUnit: () => void = () => undefined;
  #running: RunningBot | undefined;
  #host: Host | undefined;
  readonly rounds: Rounds;

  constructor() {
    this.rounds = rounds(
      entries().map((entry) => ({
        ...entry,
        done: async (output, ended, tx) => {
          await entry.done?.(output, ended, tx);
          this.onDone(output);
        },
      })),
    );
  }

  async start(scene: Scene, folder: string): Promise<void> {
    const store = await openLevel(folder, { secret: { kind: 'plain' }, create: true });
    const { declares } = this.rounds;
    const plugin = definePlugin({
      name: 'threshold-bls',
      version: '1.0.0',
      ...declares,
      tags: [...declares.tags, UNIT],
      setup: async (host) => {
        this.#host = host;
        await this.rounds.attach(host);
        host.app(UNIT, () => {
          this.onUnit();
        });
      },
    });
    const noting = new NotingStore(store, this.left);
    this.#running = await scene.bot((bot) => void bot.use(plugin), { store: noting });
  }

  get running(): RunningBot {
    if (this.#running === undefined) throw new Error('it does not run');
    return this.#running;
  }

  /** One plain message to each of the others, in one commit. */
  async sendUnit(others: readonly Party[], bytes: number): Promise<void> {
    await this.#host?.update((tx) => {
      for (const { running } of others) {
        const { aci, deviceId } = running.account;
        tx.send(aci, { tag: UNIT.tag, payload: new Uint8Array(bytes) }, { devices: [deviceId] });
      }
    });
  }
}

class Circle {
  readonly parties: readonly Party[];
  readonly #scene: Scene;
  readonly #folder: Awaited<ReturnType<typeof tempFolder>>;

  private constructor(
    scene: Scene,
    folder: Awaited<ReturnType<typeof tempFolder>>,
    parties: readonly Party[],
  ) {
    [this.#scene, this.#folder, this.parties] = [scene, folder, parties];
  }

  static async start(n: number): Promise<Circle> {
    const [scene, folder] = [await Scene.start(), await tempFolder()];
    const parties = Array.from({ length: n }, () => new Party());
    for (const [at, party] of parties.entries()) await party.start(scene, `${folder.data}-${String(at)}`);
    for (const { running } of parties) {
      const known = parties.map(({ running: { account } }) => ({
        aci: account.aci,
        identityKey: account.identity.publicKey,
      }));
      if (running.bot.trust === undefined) throw new Error('the bot does not run');
      await importTrust(running.bot.trust, known, toHex(new Uint8Array(32)));
    }
    return new Circle(scene, folder, parties);
  }

  async stop(): Promise<void> {
    await this.#scene.close();
    for (const { running } of this.parties) await running.store.close();
    await this.#folder.remove();
  }

  get set(): PartySet {
    return partySet(
      this.parties.map(({ running: { account } }) => ({
        aci: account.aci,
        deviceId: account.deviceId,
        identityKey: own(Buffer.from(account.identity.publicKey, 'base64')),
      })),
    );
  }

  /** @returns ms until all have got all */
  async waves(count: number, bytes: number, among = this.parties): Promise<number> {
    const start = performance.now();
    for (let wave = 0; wave < count; wave++) {
      let missing = among.length * (among.length - 1);
      await new Promise<void>((resolve, reject) => {
        for (const party of among) {
          party.onUnit = () => {
            missing--;
            if (missing === 0) resolve();
          };
        }
        for (const party of among) {
          const others = among.filter((other) => other !== party);
          party.sendUnit(others, bytes).catch(reject);
        }
      });
    }
    return performance.now() - start;
  }

  /** Opens a ceremony at these parties. @returns ms until all are done, and their outputs in the order of the parties */
  async ceremony(
    among: readonly Party[],
    open: (party: Party) => Promise<unknown>,
  ): Promise<{ ms: number; messages: number; bytes: number; outputs: readonly unknown[] }> {
    for (const { left } of among) left.length = 0;
    const start = performance.now();
    const ends = among.map(
      (party) =>
        new Promise<unknown>((resolve) => {
          party.onDone = resolve;
        }),
    );
    await Promise.all(among.map(open));
    const outputs = await Promise.all(ends);
    const ms = performance.now() - start;
    const left = among.flatMap((party) => party.left);
    const bytes = left.reduce((sum, { payload }) => sum + payload.length / 2, 0);
    return { ms, messages: left.length, bytes, outputs };
  }
}

/** @returns ms, and what came out by index */
function inMemory<P, I, S, O>(
  protocol: Protocol<P, I, S, O>,
  n: number,
  options: RoundsTestOptions<P, I, S, O>,
): { readonly ms: number; readonly outputs: Readonly<Record<number, O>> } {
  const test = new RoundsTest(protocol, n, options);
  const start = performance.now();
  test.openAll();
  test.settle();
  const ms = performance.now() - start;
  const { outputs, proposal } = test;
  if (!proposal.signers.every((index) => index in outputs)) throw new Error('it was not done in memory');
  return { ms, outputs };
}

async function measure(n: number): Promise<RoundsSize> {
  const threshold = Math.max(1, Math.floor((n - 1) / 6));
  const keygens: CeremonyCost[] = [];
  const signings: CeremonyCost[] = [];
  const [circles, ofEach] = n < LONG ? [CIRCLES, SIGNINGS_A_CIRCLE] : [1, SIGNINGS];
  for (let i = 0; i < circles; i++) {
    const circle = await Circle.start(n);
    await circle.waves(WARMUPS, 100);
    const made = await generation(circle, threshold);
    keygens.push(made.cost);
    for (let j = 0; j < ofEach; j++) {
      signings.push(await signature(circle, made, fromUtf8(`message ${String(j)}`)));
    }
    await circle.stop();
  }
  const [ofKeygen, ofSign] = [inTheMiddle(keygens), inTheMiddle(signings)];
  progress(`n = ${String(n)}: keygen ${inWords(ofKeygen)}, of ${ratiosOf(keygens)}`);
  progress(`  signing by ${String(threshold + 1)} ${inWords(ofSign)}, of ${ratiosOf(signings)}`);
  return { n, threshold, keygen: ofKeygen, sign: ofSign };
}

/** The shares of one key by their place in the circle, and those of another that was made in memory by their index. */
interface Made {
  readonly cost: CeremonyCost;
  readonly shares: readonly KeyShare[];
  readonly inMemory: Readonly<Record<number, KeyShare>>;
}

async function generation(circle: Circle, threshold: number): Promise<Made> {
  const { parties, set } = circle;
  const alone = inMemory(keygen, parties.length, { params: { threshold } });
  const made = await circle.ceremony(parties, (party) =>
    party.rounds.open({ protocol: keygen.name, params: { threshold }, input: undefined, parties: set }),
  );
  return {
    cost: await costOf(circle, parties, alone.ms, made),
    shares: made.outputs as readonly KeyShare[],
    inMemory: alone.outputs,
  };
}

async function signature(circle: Circle, made: Made, message: Bytes): Promise<CeremonyCost> {
  const { parties, set } = circle;
  const known = made.inMemory[1];
  const signers = Array.from({ length: (known?.threshold ?? 0) + 1 }, (_, i) => i + 1);
  const asked = { params: signing(known), inputs: made.inMemory, signers, message };
  const alone = inMemory(sign, parties.length, asked);
  const among = parties.filter((_, at) => signers.includes(made.shares[at]?.index ?? 0));
  const signed = await circle.ceremony(among, async (party) => {
    const input = made.shares[parties.indexOf(party)];
    const request = { protocol: sign.name, params: signing(input), input, parties: set, signers, message };
    return party.rounds.open(request);
  });
  return costOf(circle, among, alone.ms, signed);
}

function inTheMiddle(costs: readonly CeremonyCost[]): CeremonyCost {
  const middle = costs.toSorted((a, b) => a.ratio - b.ratio)[costs.length >> 1];
  if (middle === undefined) throw new Error('nothing was measured');
  return middle;
}

function ratiosOf(costs: readonly CeremonyCost[]): string {
  return costs.map(({ ratio }) => ratio.toFixed(2)).join(' ');
}

function signing(share: KeyShare | undefined): SignParams {
  if (share === undefined) throw new Error('there is no share');
  return { threshold: share.threshold, publicKey: publicKeyOf(share), sharing: sharingOf(share) };
}

async function costOf(
  circle: Circle,
  among: readonly Party[],
  memoryMs: number,
  { ms, messages, bytes }: { readonly ms: number; readonly messages: number; readonly bytes: number },
): Promise<CeremonyCost> {
  const perWave = among.length * (among.length - 1);
  const waves = Math.max(1, Math.round(messages / perWave));
  const taken = await circle.waves(waves, Math.round(bytes / messages), among);
  const unitMs = (taken * messages) / (waves * perWave);
  return { ms, memoryMs, messages, bytes, unitMs, ratio: (ms - memoryMs) / unitMs };
}

function inWords({ ms, memoryMs, messages, unitMs, ratio }: CeremonyCost): string {
  return `${ms.toFixed(0)} ms (${memoryMs.toFixed(0)} in memory), ${String(messages)} messages (alone ${unitMs.toFixed(0)} ms), ratio ${ratio.toFixed(2)}`;
}

// The first of all has everything compiled, tables of the curve made, and does not count.
await measure(3);
const sizes: RoundsSize[] = [];
for (const n of SIZES) sizes.push(await measure(n));
const ratios = sizes.flatMap(({ keygen: a, sign: b }) => [a.ratio, b.ratio]);
report({ sizes, ratio: Math.max(...ratios) });
