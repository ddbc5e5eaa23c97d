/**
 * `demo`: the whole of it in one process tree, told step by step. A development server, two accounts with phones, a bot
 * linked to each; a phone chats with a bot, and the bots exchange an app message that no phone shows.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Bot } from '../bot.ts';
import { fromUtf8, toUtf8 } from '../bytes.ts';
import { startDevServer, type DevServer } from '../devserver/devserver.ts';
import { BotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { loadPlugin } from '../plugin/load.ts';
import { qrTerminal } from '../provisioning/qr.ts';
import { appType } from '../router.ts';
import { parseProfile, type Profile } from '../service/profile.ts';
import { openLevel } from '../store/level.ts';
import type { Store } from '../store/store.ts';
import type { Account } from '../store/rows.ts';
import { AttackDemo } from './demo-attack.ts';
import { BlsDemo } from './demo-bls.ts';
import { linkTo, startBot } from './demo-bot.ts';
import { DemoPhone } from './demo-phone.ts';
import type { Io, Printer } from './io.ts';
import { Mailbox } from './mailbox.ts';
import { withExamples, withOutput, type OutputOptions } from './options.ts';
import type { Shell } from './shell.ts';

const ECHO = appType('countersign.echo/1');

type DemoOptions = OutputOptions & { readonly attack?: boolean; readonly bls?: boolean };

export function addDemo(program: Command, shell: Shell): void {
  const command = withOutput(
    program
      .command('demo')
      .description('see it work: a server, two accounts, two bots, a chat; all in this process')
      .option('--attack', 'see a server that lies about keys, and a verification that finds it out')
      .option('--bls', 'see three bots make a key that none of them holds, and any two sign with it'),
  );
  withExamples(command, 'demo', 'demo --attack', 'demo --bls', 'demo --json').action(
    async (options: DemoOptions) => {
      if (options.attack === true && options.bls === true)
        throw new BotError('USAGE', 'give --attack or --bls, one at a time');
      if (options.bls === true) {
        await new BlsDemo(shell.io, shell.printer(options), shell.platform(options)).run();
        return;
      }
      if (options.attack === true) {
        await new AttackDemo(shell.io, shell.printer(options), shell.platform(options)).run();
        return;
      }
      const folder = await mkdtemp(join(tmpdir(), 'countersign-demo-'));
      const demo = new Demo(shell.io, shell.printer(options), shell.platform(options), folder);
      try {
        await demo.run();
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  );
}

/** One account of the demo: its phone, and the bot that is linked to it. */
interface Party {
  readonly phone: DemoPhone;
  readonly account: Account;
  readonly store: Store;
  readonly bot: Bot;
  /** Payloads of the echo tag that this bot's demo plugin was given. */
  readonly got: Mailbox;
  readonly life: Promise<void>;
}

class Demo {
  readonly #io: Io;
  readonly #printer: Printer;
  readonly #platform: Platform;
  readonly #folder: string;
  readonly #done = new AbortController();
  readonly #signal: AbortSignal;
  readonly #parties: Party[] = [];

  constructor(io: Io, printer: Printer, platform: Platform, folder: string) {
    this.#io = io;
    this.#printer = printer;
    this.#platform = platform;
    this.#folder = folder;
    this.#signal = AbortSignal.any([io.signal, this.#done.signal]);
  }

  async run(): Promise<void> {
    const started = this.#platform.clock.now();
    const server = await startDevServer({ platform: this.#platform });
    this.#step(
      'server',
      { port: server.port },
      `A Signal-compatible server runs on port ${String(server.port)}.`,
    );
    try {
      const anna = await this.#party(server, 'Anna');
      const bert = await this.#party(server, 'Bert', 'echo');
      await this.#chat(anna, bert);
      await this.#exchange(anna, bert);
    } finally {
      await this.#stop(server);
    }
    const seconds = ((this.#platform.clock.now() - started) / 1_000).toFixed(1);
    this.#step(
      'done',
      { seconds: Number(seconds) },
      `Everything is stopped and removed, after ${seconds} s.`,
    );
  }

  #step(step: string, facts: object, text: string): void {
    this.#printer.print({ step, ...facts }, () => `\n${text}`);
  }

  /**
   * An account, its phone, and a bot that is linked to it and online.
   * @param plugin without `echo` the bot keeps what comes with the echo tag
   */
  async #party(server: DevServer, name: string, plugin?: 'echo'): Promise<Party> {
    const phone = await DemoPhone.create(server.controlUrl, name, this.#signal);
    const facts = { name, aci: phone.aci, number: phone.number };
    this.#step('phone', facts, `${name} has an account there, with the number ${phone.number}, and a phone.`);

    const profile = parseProfile(JSON.stringify(server.profile), this.#folder);
    const store = await openLevel(join(this.#folder, name), {
      secret: { kind: 'plain' },
      create: true,
      platform: this.#platform,
    });
    const account = await this.#link(store, profile, name, phone);

    const got = new Mailbox(this.#platform);
    const echo = plugin === undefined ? undefined : await loadPlugin(plugin, this.#folder);
    const { bot, life, ready } = startBot(
      { store, service: profile, platform: this.#platform },
      (made) => {
        made.handle((handlers) => {
          handlers.text(/^ping$/i, (ctx) => ctx.reply('pong'));
          if (echo !== undefined) return;
          handlers.app(ECHO, (ctx) => {
            got.put(toUtf8(ctx.value));
          });
        });
        if (echo !== undefined) made.use(echo);
      },
      this.#signal,
    );
    const party = { phone, account, store, bot, got, life };
    this.#parties.push(party);
    await ready;
    this.#step(
      'ready',
      { name, deviceId: account.deviceId },
      `${name}'s bot is online and has read its queue.`,
    );
    return party;
  }

  async #link(store: Store, profile: Profile, name: string, phone: DemoPhone): Promise<Account> {
    const account = await linkTo(
      phone,
      { store, profile, platform: this.#platform, name: `${name}'s bot` },
      this.#signal,
      (url) => {
        this.#step('code', { name, url }, `${name}'s bot shows this code, and ${name}'s phone scans it:`);
        if (!this.#printer.json) this.#io.stdout.write(qrTerminal(url));
      },
    );
    const { aci, deviceId } = account;
    this.#step(
      'linked',
      { name, aci, deviceId },
      `${name}'s bot is now device ${String(deviceId)} of ${name}'s account.`,
    );
    return account;
  }

  /** A phone writes to the other account; its bot answers. */
  async #chat(anna: Party, bert: Party): Promise<void> {
    await anna.phone.write(bert.phone, 'ping');
    this.#step('text', { from: 'Anna', to: 'Bert', text: 'ping' }, `Anna's phone writes "ping" to Bert.`);
    const messages = await anna.phone.messages(({ text }) => text === 'pong');
    const pong = messages.find(({ text }) => text === 'pong');
    this.#step(
      'answer',
      { from: 'Bert', to: 'Anna', text: 'pong', device: pong?.device ?? null },
      `Bert's bot answers, and Anna's phone shows: "pong".`,
    );
  }

  /** One bot sends the other an app message; the echo plugin answers it; the phones get only what shows as nothing. */
  async #exchange(anna: Party, bert: Party): Promise<void> {
    const shownBefore = [await shown(anna.phone), await shown(bert.phone)];
    const payload = 'hello from a program';
    await anna.bot.send(bert.account.aci, { kind: 'app', tag: ECHO.tag, payload: fromUtf8(payload) });
    this.#step(
      'app',
      { from: 'Anna', to: 'Bert', tag: ECHO.tag, payload },
      `Anna's bot sends Bert's bot an app message with the tag ${ECHO.tag}: "${payload}".`,
    );
    const answer = await anna.got.next(this.#signal);
    this.#step(
      'app-answer',
      { from: 'Bert', to: 'Anna', tag: ECHO.tag, payload: answer },
      `The echo plugin of Bert's bot answers with the same tag: "${answer}".`,
    );
    await bert.phone.messages(({ kind }) => kind === 'null');
    const shownAfter = [await shown(anna.phone), await shown(bert.phone)];
    if (shownAfter.join() !== shownBefore.join() || answer !== `re:${payload}`) {
      throw new BotError('INTERNAL', 'the exchange of app messages did not go as it should');
    }
    this.#step(
      'nothing-shown',
      { phones: 2 },
      'Both phones got an encrypted message each time, and showed nothing of it.',
    );
  }

  async #stop(server: DevServer): Promise<void> {
    this.#done.abort(new BotError('INTERRUPTED', 'the demo is over'));
    await Promise.allSettled(this.#parties.map(({ life }) => life));
    for (const { store } of this.#parties) await store.close();
    await server.close();
  }
}

/** How many messages a phone has had that it shows to its owner. */
async function shown(phone: DemoPhone): Promise<number> {
  const messages = await phone.messages(() => true);
  return messages.filter(({ kind }) => kind !== 'null' && kind !== 'sync' && kind !== 'receipt').length;
}
