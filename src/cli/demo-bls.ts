/**
 * `demo --bls`: three bots make a key of which any two sign and which none of them holds. One is killed on the way and comes
 * back; one cheats and is named; what they signed is verified by a library of somebody else.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { fromHex, fromUtf8, toHex, toUtf8 } from '../bytes.ts';
import { startDevServer, type DevServer } from '../devserver/devserver.ts';
import { BotError, isBotError } from '../errors.ts';
import { me, type Me } from '../inspect.ts';
import type { Platform } from '../platform.ts';
import type { CeremonyLine } from '../rounds/operator.ts';
import { parseProfile, type Profile } from '../service/profile.ts';
import { openLevel } from '../store/level.ts';
import type { Store } from '../store/store.ts';
import { pluginState } from '../store/tables.ts';
import { linkTo } from './demo-bot.ts';
import { HereMember, ProcessMember, type DemoMember } from './demo-member.ts';
import { checkPackages, PAIRING_PACKAGE, SERVER_PACKAGE } from './demo-packages.ts';
import { loadPairing, type VerifyByPairing } from './demo-pairing.ts';
import { DemoPhone } from './demo-phone.ts';
import type { Io, Printer } from './io.ts';
import { answerTrust } from './trust-calls.ts';

const NAMES = ['Anna', 'Bert', 'Carol'] as const;
type Name = (typeof NAMES)[number];
const PLAIN = { kind: 'plain' } as const;
/** How long the server keeps each message back while somebody is to be killed in the middle, ms. */
const SLOW_MS = 150;
const LOOK_MS = 20;
/** How long anything is waited for, ms. */
const PATIENCE_MS = 60_000;
/** Of the round in which shares are dealt. */
const SHARES = 3;

const keySchema = z.object({ publicKey: z.string() });
const signedSchema = z.object({ publicKey: z.string(), signature: z.string(), signers: z.array(z.number()) });
const shareSchema = z.looseObject({ share: z.looseObject({ share: z.string() }) });

export class BlsDemo {
  readonly #io: Io;
  readonly #printer: Printer;
  readonly #platform: Platform;
  readonly #done = new AbortController();
  readonly #signal: AbortSignal;
  readonly #members: DemoMember[] = [];
  readonly #stores = new Map<Name, Store>();
  readonly #who = new Map<Name, Me>();
  #folder = '';

  constructor(io: Io, printer: Printer, platform: Platform) {
    this.#io = io;
    this.#printer = printer;
    this.#platform = platform;
    this.#signal = AbortSignal.any([io.signal, this.#done.signal]);
  }

  /**
   * @param require looks up what the demo needs beside this package; from here if unsaid
   * @throws BotError `DEVSERVER_MISSING`; `INTERNAL` when something went otherwise than it is told
   */
  async run(require?: NodeJS.Require): Promise<void> {
    checkPackages([SERVER_PACKAGE, PAIRING_PACKAGE], require);
    const verify = await loadPairing(require);
    this.#folder = await mkdtemp(join(tmpdir(), 'countersign-demo-bls-'));
    const server = await startDevServer({ platform: this.#platform });
    try {
      this.#say(`A Signal-compatible server runs on port ${String(server.port)}.`);
      await this.#play(server, verify);
    } finally {
      this.#done.abort(new BotError('INTERRUPTED', 'the demo is over'));
      await Promise.allSettled(this.#members.map((member) => member.stop()));
      // Also those whose bots have not come online.
      await Promise.allSettled([...this.#stores.values()].map((store) => store.close()));
      await server.close();
      await rm(this.#folder, { recursive: true, force: true });
    }
    this.#say('Everything is stopped and removed.');
  }

  async #play(server: DevServer, verify: VerifyByPairing): Promise<void> {
    const service = parseProfile(JSON.stringify(server.profile), this.#folder);
    for (const name of NAMES) await this.#link(server, service, name);
    const { anna, bert, carol } = await this.#gather(server, service);

    const publicKey = await this.#keygen(server, [anna, bert], carol);
    const first = await this.#sign(publicKey, 'pay 3 to Dora', [bert, carol]);
    this.#check(verify, first, 'pay 3 to Dora');

    await this.#cheat(publicKey, 'pay 5 to Dora', anna, carol);
    const second = await this.#sign(publicKey, 'pay 5 to Dora', [anna, bert]);
    this.#check(verify, second, 'pay 5 to Dora');
  }

  #say(text: string): void {
    if (!this.#printer.json) this.#printer.print({}, () => `\n${text}`);
  }

  async #link(server: DevServer, profile: Profile, name: Name): Promise<void> {
    const platform = this.#platform;
    const phone = await DemoPhone.create(server.controlUrl, name, this.#signal);
    const data = join(this.#folder, name);
    await mkdir(data);
    const store = await openLevel(data, { secret: PLAIN, create: true, platform });
    this.#stores.set(name, store);
    await linkTo(phone, { store, profile, platform, name: `${name}'s bot` }, this.#signal);
    this.#who.set(name, await me(store));
    this.#say(`${name} has an account there and a phone, and ${name}'s bot is linked to it.`);
  }

  /** Each gets the others' identities by a way that is not the server's, and comes online: Carol in a process of her own. */
  async #gather(
    server: DevServer,
    service: Profile,
  ): Promise<{ anna: DemoMember; bert: DemoMember; carol: ProcessMember }> {
    const platform = this.#platform;
    const contacts = [...this.#who.values()].map(({ aci, identityKey }) => ({ aci, identityKey }));
    for (const store of this.#stores.values())
      await answerTrust(
        { store, platform, bot: undefined },
        { call: 'trust import', contacts, fileHash: '' },
      );
    const profile = join(this.#folder, 'server.json');
    await writeFile(profile, JSON.stringify(server.profile));
    const needs = { platform, signal: this.#signal };
    const here = async (name: Name): Promise<DemoMember> => {
      const store = this.#stores.get(name);
      if (store === undefined) throw new BotError('INTERNAL', `${name} has no store`);
      const member = await HereMember.start({ ...needs, name }, { store, service, cwd: this.#io.cwd });
      this.#members.push(member);
      return member;
    };
    const [anna, bert] = [await here('Anna'), await here('Bert')];
    await this.#stores.get('Carol')?.close();
    const carol = new ProcessMember({ ...needs, name: 'Carol' }, this.#io, {
      data: this.#data('Carol'),
      profile,
    });
    this.#members.push(carol);
    const id = await carol.start();
    this.#say(
      `All three know each other's identity keys, and run the plugin threshold-bls. Carol's bot is process ${String(id)}.`,
    );
    return { anna, bert, carol };
  }

  /** @returns the public key, hex */
  async #keygen(server: DevServer, steady: readonly DemoMember[], carol: ProcessMember): Promise<string> {
    this.#say('Their operators run: countersign bls keygen -t 1 -n 3 --group group.json');
    // So slow that there is a middle to be killed in.
    server.faults.add({ verb: 'PUT', path: '/v1/messages', count: 1_000_000, action: { delayMs: SLOW_MS } });
    const input = { group: this.#group(NAMES), threshold: 1, parties: NAMES.length };
    const keys = Promise.all(steady.map((member) => member.act('keygen', input, ignore)));
    keys.catch(() => undefined); // awaited below
    const killed = carol.act('keygen', input, ignore).catch((error: unknown) => error);
    const [witness] = steady;
    const seen = await this.#until(witness, ({ round, state }) => round >= SHARES && state === 'running');
    await carol.kill();
    await killed;
    server.faults.clear();
    this.#say(
      `In round ${String(seen.round)} of 4, where secret shares are sent, Carol's process is killed (SIGKILL). The others wait.`,
    );
    const id = await carol.start();
    this.#say(
      `Carol's bot is back as process ${String(id)}: it goes on where its store says, with the same bytes.`,
    );
    const made = z.array(keySchema).parse(await keys);
    await this.#until(carol, ({ state }) => state === 'done');
    const publicKey = made[0]?.publicKey ?? '';
    if (made.some((key) => key.publicKey !== publicKey)) throw wrong('the parties have different keys');
    this.#say(`They have a key, and none of them holds it. Its public key:\n${publicKey}`);
    return publicKey;
  }

  async #sign(
    publicKey: string,
    message: string,
    pair: readonly DemoMember[],
  ): Promise<z.infer<typeof signedSchema>> {
    const made = await Promise.all(
      pair.map((member) => member.act('sign', this.#signing(publicKey, message, pair), ignore)),
    );
    const [signed, other] = z.array(signedSchema).parse(made);
    if (signed === undefined || signed.signature !== other?.signature || signed.publicKey !== publicKey)
      throw wrong('the signers have different signatures');
    const { signature, signers } = signed;
    const names = pair.map(({ name }) => name).join(' and ');
    this.#printer.print(
      { publicKey, signature, message, signers },
      () => `\n${names} sign "${message}":\n${signature}`,
    );
    return signed;
  }

  #check(
    verify: VerifyByPairing,
    { publicKey, signature }: z.infer<typeof signedSchema>,
    message: string,
  ): void {
    const isOf = (text: string): boolean => verify(fromHex(publicKey), fromHex(signature), fromUtf8(text));
    if (!isOf(message) || isOf(`${message}!`)) throw wrong('the signature does not verify');
    this.#say('Verified by pairing with mcl, which has no part in the bots (its hashed point: RFC 9380).');
  }

  /** Carol's share is exchanged on her disk: her machine sends a partial signature that is wrong. */
  async #cheat(publicKey: string, message: string, anna: DemoMember, carol: ProcessMember): Promise<void> {
    await carol.stop();
    await this.#exchangeShare();
    await carol.start();
    this.#say(`Now Carol cheats: she signs "${message}" with something else than her share.`);
    const found: string[] = [];
    const note = (event: object): void => {
      const { step, party, reason } = event as { step?: string; party?: number; reason?: string };
      if (step === 'blamed') found.push(`party ${String(party)}, ${this.#nameOf(party)}, ${String(reason)}`);
    };
    const pair = [anna, carol];
    const input = this.#signing(publicKey, message, pair);
    const theirs = carol.act('sign', input, ignore).catch((error: unknown) => error);
    const ours = await anna.act('sign', input, note).catch((error: unknown) => error);
    await theirs;
    if (!isBotError(ours, 'CEREMONY_ENDED') || found.length !== 1 || !found[0]?.includes('Carol'))
      throw wrong('the cheat was not named');
    this.#say(`Anna's bot is told who it was: ${found[0]}.`);
  }

  async #exchangeShare(): Promise<void> {
    const store = await openLevel(this.#data('Carol'), { secret: PLAIN, platform: this.#platform });
    try {
      const batch = store.batch();
      for await (const [key, value] of pluginState.scan(store, ['threshold-bls'])) {
        if (!key.startsWith('share/')) continue;
        const row = shareSchema.parse(JSON.parse(toUtf8(value)));
        const share = toHex(Uint8Array.of(0, ...randomBytes(31))); // below the order of the group
        const bent = { ...row, share: { ...row.share, share } };
        pluginState.put(batch, 'threshold-bls', key, fromUtf8(JSON.stringify(bent)));
      }
      await batch.commit();
    } finally {
      await store.close();
    }
  }

  /** Looks at a member's latest ceremony until it is as wanted. @throws BotError `REQUEST_TIMEOUT` */
  async #until(
    member: DemoMember | undefined,
    wanted: (line: CeremonyLine) => boolean,
  ): Promise<CeremonyLine> {
    const { clock } = this.#platform;
    const until = clock.now() + PATIENCE_MS;
    while (clock.now() < until) {
      const found = (await member?.ceremonies())?.find(wanted);
      if (found !== undefined) return found;
      await clock.sleep(LOOK_MS, this.#signal);
    }
    throw new BotError('REQUEST_TIMEOUT', 'the ceremony did not go on in time');
  }

  #signing(
    publicKey: string,
    message: string,
    pair: readonly DemoMember[],
  ): Readonly<Record<string, string>> {
    const group = this.#group(NAMES.filter((name) => pair.some((member) => member.name === name)));
    return { group, publicKey, message: toHex(fromUtf8(message)) };
  }

  /** As a group file: what `countersign me --json` prints at each. */
  #group(names: readonly Name[]): string {
    return names.map((name) => JSON.stringify(this.#who.get(name))).join('\n');
  }

  /** Parties are numbered in the order of their accounts. */
  #nameOf(party: number | undefined): string {
    const sorted = [...this.#who].sort(([, a], [, b]) => (a.aci < b.aci ? -1 : 1));
    return sorted[(party ?? 0) - 1]?.[0] ?? 'nobody';
  }

  #data(name: Name): string {
    return join(this.#folder, name);
  }
}

function ignore(): void {
  // what happens meanwhile is told in other words
}

function wrong(what: string): BotError {
  return new BotError('INTERNAL', what);
}
