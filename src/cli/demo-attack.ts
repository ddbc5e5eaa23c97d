/**
 * `demo --attack`: a server that gives both sides false keys and reads along, until two people say a code over the phone.
 * The run proves it, and heals both sides.
 */
import type { Aci } from '../address.ts';
import type { Bot } from '../bot.ts';
import { toBase64 } from '../bytes.ts';
import { startDevServer, type DevServer } from '../devserver/devserver.ts';
import type { Interceptor } from '../devserver/interceptor.ts';
import { BotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { loadPlugin } from '../plugin/load.ts';
import { parseProfile } from '../service/profile.ts';
import { openMemory } from '../store/memory.ts';
import { linkTo, startBot } from './demo-bot.ts';
import { DemoPhone } from './demo-phone.ts';
import type { Io, Printer } from './io.ts';
import { Mailbox } from './mailbox.ts';

interface Party {
  readonly name: string;
  readonly aci: Aci;
  readonly bot: Bot;
  /** Texts that its bot was given. */
  readonly heard: Mailbox;
  readonly life: Promise<void>;
}

type Told = Readonly<Record<string, unknown>>;

export class AttackDemo {
  readonly #io: Io;
  readonly #printer: Printer;
  readonly #platform: Platform;
  readonly #done = new AbortController();
  readonly #signal: AbortSignal;
  readonly #parties: Party[] = [];

  constructor(io: Io, printer: Printer, platform: Platform) {
    this.#io = io;
    this.#printer = printer;
    this.#platform = platform;
    this.#signal = AbortSignal.any([io.signal, this.#done.signal]);
  }

  async run(): Promise<void> {
    const server = await startDevServer({ platform: this.#platform });
    try {
      const anna = await this.#party(server, 'Anna');
      const bert = await this.#party(server, 'Bert');
      const middle = server.intercept({ between: [anna.aci, bert.aci] });
      this.#step(
        'attack',
        {},
        'The server now lies: whoever asks for keys of the other gets keys of its own.',
      );
      await this.#readAlong(anna, bert, middle);
      await this.#verify(anna, bert, middle);
      middle.stop();
      await this.#inPrivate(anna, bert, middle);
    } finally {
      this.#done.abort(new BotError('INTERRUPTED', 'the demo is over'));
      await Promise.allSettled(this.#parties.map(({ life }) => life));
      await server.close();
    }
    this.#step('done', {}, 'Everything is stopped and removed.');
  }

  #step(step: string, facts: object, text: string): void {
    this.#printer.print({ step, ...facts }, () => `\n${text}`);
  }

  async #party(server: DevServer, name: string): Promise<Party> {
    const platform = this.#platform;
    const phone = await DemoPhone.create(server.controlUrl, name, this.#signal);
    const profile = parseProfile(JSON.stringify(server.profile), this.#io.cwd);
    const store = openMemory();
    const { aci } = await linkTo(phone, { store, profile, platform, name: `${name}'s bot` }, this.#signal);
    const heard = new Mailbox(platform);
    const verify = await loadPlugin('verify', this.#io.cwd);
    const { bot, life, ready } = startBot(
      { store, service: profile, platform },
      (made) => {
        made.use(verify).handle((handlers) => {
          handlers.text((ctx) => {
            heard.put(ctx.text);
          });
        });
      },
      this.#signal,
    );
    const party = { name, aci, bot, heard, life };
    this.#parties.push(party);
    await ready;
    this.#step(
      'ready',
      { name, aci: party.aci },
      `${name} has an account, a phone, and a bot that is online.`,
    );
    return party;
  }

  async #readAlong(anna: Party, bert: Party, middle: Interceptor): Promise<void> {
    await this.#say(anna, bert, 'the plan is in the red folder');
    await this.#say(bert, anna, 'thank you');
    const texts = middle.overheard.map(({ text }) => text);
    if (texts.length !== 2) throw new BotError('INTERNAL', 'the one in the middle has not read along');
    this.#step(
      'overheard',
      { texts },
      `Both got what was sent, and neither noticed. The server has read: ${texts.map((text) => `"${text}"`).join(', ')}.`,
    );
  }

  async #verify(anna: Party, bert: Party, middle: Interceptor): Promise<void> {
    const found: Told[] = [];
    let onCode: (code: string) => void = () => undefined;
    const code = new Promise<string>((resolve) => {
      onCode = resolve;
    });
    const tell = (event: object): void => {
      const told = event as Told;
      if (told['event'] === 'code') onCode(String(told['code']));
      if (told['event'] === 'substituted') found.push(told);
    };
    const signal = this.#signal;
    const starting = anna.bot.act('verify', 'start', { contact: bert.aci, input: {}, signal, tell });
    const spoken = await Promise.race([code, starting.then(() => '')]);
    this.#step(
      'code',
      { code: spoken },
      `Anna starts a verification, and reads this to Bert over the phone: ${spoken}`,
    );
    const entering = bert.bot.act('verify', 'enter', {
      contact: anna.aci,
      input: { code: spoken },
      signal,
      tell,
    });
    const [a, b] = (await Promise.all([starting, entering])) as [Told, Told];
    const isProven =
      found.length === 2 && found.some((told) => told['falseKey'] === toBase64(middle.falseKeyOf(bert.aci)));
    if (!isProven || a['check'] !== b['check'])
      throw new BotError('INTERNAL', 'the run has not found the false keys');
    for (const { aci, falseKey, identityKey, code: name } of found) {
      const text = `${String(name)}: the key that the server gave out for ${String(aci)} was false, and is replaced by the true one.`;
      this.#step('proven', { aci, falseKey, identityKey }, text);
    }
    this.#step(
      'verified',
      { check: a['check'] },
      `Both hold each other's true key now, and both see the digits ${String(a['check'])}.`,
    );
  }

  async #inPrivate(anna: Party, bert: Party, middle: Interceptor): Promise<void> {
    const before = middle.overheard.length;
    await this.#say(anna, bert, 'the folder is blue now');
    if (middle.overheard.length !== before) throw new BotError('INTERNAL', 'the server still reads along');
    this.#step('private', {}, 'Anna writes again; Bert gets it, and the server can read none of it.');
  }

  async #say(from: Party, to: Party, text: string): Promise<void> {
    await from.bot.send(to.aci, { kind: 'text', text });
    const got = await to.heard.next(this.#signal);
    if (got !== text) throw new BotError('INTERNAL', 'the text did not arrive as it was written');
    this.#step(
      'text',
      { from: from.name, to: to.name, text },
      `${from.name}'s bot writes "${text}" to ${to.name}'s, which gets it.`,
    );
  }
}
