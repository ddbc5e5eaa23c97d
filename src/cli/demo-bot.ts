/**
 * The bots of the demos: linked by a phone that scans what they show, and started.
 */
import { Bot, type BotOptions } from '../bot.ts';
import { link, type LinkParts } from '../provisioning/link.ts';
import type { Account } from '../store/rows.ts';
import type { DemoPhone } from './demo-phone.ts';

/**
 * Links a store to the account of a phone, which scans each code.
 * @param onCode told of a code before it is scanned
 * @throws what `link` throws
 */
export async function linkTo(
  phone: DemoPhone,
  parts: LinkParts,
  signal: AbortSignal,
  onCode: (url: string) => void = () => undefined,
): Promise<Account> {
  const scans: Promise<unknown>[] = [];
  const account = await link(
    parts,
    (event) => {
      if (event.kind !== 'url') return;
      onCode(event.url);
      scans.push(phone.scan(event.url).catch((error: unknown) => error));
    },
    signal,
  );
  await Promise.all(scans);
  return account;
}

/** A bot that runs until the abort of the demo. */
export interface StartedBot {
  readonly bot: Bot;
  readonly life: Promise<void>;
  /** Resolves when it is online; rejects where it ends before. */
  readonly ready: Promise<void>;
}

/**
 * Starts a bot.
 * @param setUp adds plugins and handlers
 */
export function startBot(
  options: Pick<BotOptions, 'store' | 'service' | 'platform'>,
  setUp: (bot: Bot) => void,
  signal: AbortSignal,
): StartedBot {
  let onReady = (): void => undefined;
  const online = new Promise<void>((resolve) => {
    onReady = resolve;
  });
  const bot = new Bot({
    ...options,
    onEvent: ({ kind }) => {
      if (kind === 'ready') onReady();
    },
  });
  setUp(bot);
  const life = bot.run(signal);
  return { bot, life, ready: Promise.race([online, life]) };
}
