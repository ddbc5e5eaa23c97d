/**
 * `send`: a text or an app message, through the bot that runs here or by going online until it is sent.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { fromUtf8, toBase64 } from '../bytes.ts';
import { isTag, TAG_RULE, type Tag } from '../content/app-message.ts';
import { BotError } from '../errors.ts';
import { callAccount } from './account.ts';
import type { Call, SendResult } from './calls.ts';
import type { Io } from './io.ts';
import { wholeNumber, withAccount, withExamples, type AccountOptions } from './options.ts';
import type { Shell } from './shell.ts';

interface SendOptions extends AccountOptions {
  readonly tag?: string;
  readonly payload?: string;
  readonly device?: number;
  readonly wait: number;
}

type Message = Extract<Call, { call: 'send' }>['message'];

export function addSend(program: Command, shell: Shell): void {
  const command = withAccount(
    program
      .command('send')
      .description('send a text, or an app message that only programs see')
      .argument('<recipient>', 'ACI, PNI:uuid, self, or a number or name that exactly one contact has')
      .argument('[text]', 'the text; with --tag and without --payload, the payload')
      .option('--tag <tag>', 'send an app message, such as example.org/hello/1')
      .option('--payload <file>', 'payload of the app message; - reads it from stdin')
      .option('--device <number>', 'only to this device of the recipient', wholeNumber(1, 127))
      .option('--wait <seconds>', 'how long to wait until it is sent', wholeNumber(0, 86_400), 30),
  );
  withExamples(
    command,
    'send +15550001111 "hello" --server server.json --data ./data',
    'send self "note to self" --data ./data',
    'send 8c78cd2a-16ff-427d-83dc-1a5e36ce713d --tag example.org/hello/1 --payload hello.bin --data ./data',
  ).action(async (recipient: string, text: string | undefined, options: SendOptions) => {
    const call: Call = {
      call: 'send',
      recipient,
      message: await readMessage(shell.io, text, options),
      waitMs: options.wait * 1_000,
      ...(options.device === undefined ? {} : { deviceId: options.device }),
    };
    const result = (await callAccount(shell, options, call)) as SendResult;
    shell.printer(options).print(result, () => resultText(result));
  });
}

function resultText({ state, recipient, timestamp, devices }: SendResult): string {
  return state === 'sent'
    ? `sent to ${recipient}, device ${devices.join(', ')} (${String(timestamp)})`
    : `queued for ${recipient} (${String(timestamp)}); it is sent while a bot runs, see: countersign outbox`;
}

/** @throws BotError `USAGE` */
async function readMessage(io: Io, text: string | undefined, options: SendOptions): Promise<Message> {
  if (options.tag === undefined) {
    if (options.payload !== undefined) throw new BotError('USAGE', '--payload needs a --tag');
    if (text === undefined || text === '')
      throw new BotError('USAGE', 'there is nothing to send: give TEXT or --tag');
    return { kind: 'text', text };
  }
  if (options.payload !== undefined && text !== undefined) {
    throw new BotError('USAGE', 'an app message has one payload: TEXT or --payload');
  }
  const tag = readTag(options.tag);
  const payload =
    options.payload === undefined ? fromUtf8(text ?? '') : await readPayload(io, options.payload);
  return { kind: 'app', tag, payload: toBase64(payload) };
}

/** @throws BotError `USAGE`: here it is the caller's, and not what came in a message */
function readTag(text: string): Tag {
  if (isTag(text)) return text;
  throw new BotError('USAGE', `--tag: ${text} is not an app tag`, { next: TAG_RULE });
}

async function readPayload(io: Io, file: string): Promise<Uint8Array> {
  if (file === '-') {
    const chunks: Buffer[] = [];
    for await (const chunk of io.stdin) chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks);
  }
  try {
    return await readFile(resolve(io.cwd, file));
  } catch (cause) {
    throw new BotError('USAGE', `the payload file ${file} cannot be read`, { cause });
  }
}
