/**
 * `account receive`: prints what comes for the primary device, and answers its linked devices, until stopped.
 */
import type { Command } from 'commander';
import { primaryAccount } from '../account/approve.ts';
import { Bot, type BotEvent } from '../bot.ts';
import type { Content } from '../content/content.ts';
import type { Handlers } from '../plugin/contract.ts';
import { openStore } from './account.ts';
import { oneLine, type Printer } from './io.ts';
import {
  dataFolder,
  serverProfile,
  wholeNumber,
  withAccount,
  withExamples,
  type AccountOptions,
} from './options.ts';
import { serve } from './serve.ts';
import type { Shell } from './shell.ts';

/** One line of the stream; kinds as in the development server's control API. */
interface Received {
  readonly event: 'message';
  /** ACI; empty where it is not known. */
  readonly from: string;
  readonly device: number;
  readonly kind: 'text' | 'null' | 'sync' | 'receipt' | 'typing' | 'other' | 'undecodable';
  readonly text?: string;
  /** ms, the sender's. */
  readonly timestamp: number;
}

const KINDS: Readonly<Record<Content['kind'] | 'undecodable', Received['kind']>> = {
  text: 'text',
  app: 'null',
  null: 'null',
  sync: 'sync',
  receipt: 'receipt',
  typing: 'typing',
  retry: 'other',
  keys: 'other',
  other: 'other',
  undecodable: 'undecodable',
};

export function addReceive(group: Command, shell: Shell): void {
  const command = withAccount(
    group
      .command('receive')
      .description('print what comes, and answer linked devices, until stopped')
      .option('--count <number>', 'end after so many messages', wholeNumber(1, 1_000_000)),
  );
  withExamples(command, 'account receive --json --server server.json --data ./phone').action(
    async (options: AccountOptions & { count?: number }) => {
      await receive(shell, options, shell.printer(options));
    },
  );
}

async function receive(
  shell: Shell,
  options: AccountOptions & { count?: number },
  printer: Printer,
): Promise<void> {
  const { io } = shell;
  const service = await serverProfile(io, options);
  const platform = shell.platform(options);
  const store = await openStore(shell, options);
  const enough = new AbortController();
  const signal = AbortSignal.any([io.signal, enough.signal]);
  let left = options.count ?? Infinity;
  const show = (message: Received): void => {
    if (left <= 0) return;
    printer.print(message, () => lineOf(message));
    left -= 1;
    if (left === 0) enough.abort();
  };
  try {
    const { aci } = await primaryAccount(store);
    const onEvent = (event: BotEvent): void => {
      if (event.kind === 'unseen') {
        const { from, deviceId: device, what, timestamp } = event;
        show({ event: 'message', from, device, kind: KINDS[what], timestamp });
      } else if (event.kind === 'ready') printer.note('Online; what comes is printed. Ctrl-C stops it.');
      else if (event.kind === 'warning') printer.note(`warning: ${event.message}`);
    };
    const bot = new Bot({ store, service, platform, onEvent });
    bot.handle((on) => {
      showAll(on, aci, show);
    });
    await serve({ bot, store, platform, folder: dataFolder(io, options) }, { ...io, signal });
  } finally {
    await store.close();
  }
}

/** Everything that leaves a row: shown at least once, also when it came while nobody looked. */
function showAll(on: Handlers, ownAci: string, show: (message: Received) => void): void {
  on.on(
    (incoming) => incoming,
    ({ sender, content, timestamp }) => {
      const own = sender.serviceId === ownAci; // a note to self is the transcript of one
      const text = textOf(content);
      show({
        event: 'message',
        from: sender.serviceId,
        device: sender.deviceId,
        kind: own && content.kind === 'text' ? 'sync' : KINDS[content.kind],
        ...(text !== undefined && { text }),
        timestamp,
      });
    },
  );
}

function textOf(content: Content): string | undefined {
  if (content.kind === 'text') return content.text;
  if (content.kind !== 'sync' || content.sync.type !== 'sent') return undefined;
  return textOf(content.sync.content);
}

function lineOf({ from, device, kind, text }: Received): string {
  const who = `${from === '' ? 'somebody' : from}.${String(device)}`;
  if (text === undefined) return `${who} (${kind})`;
  return `${who}${kind === 'text' ? '' : ` (${kind})`}: ${oneLine(text)}`;
}
