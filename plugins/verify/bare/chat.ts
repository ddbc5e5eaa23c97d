/**
 * Chat: lines to the peer, texts from it, as `verify bare` does when the run is over.
 *
 * It ends with the lines, or with the peer. Who is done says so; the other side then sends the lines that it has and says
 * so too, so that two scripts with a line each both get the other's.
 */
import { BotError, type Clock } from '../../../src/index.ts';
import type { Lines } from './lines.ts';
import type { BarePeer } from './peer.ts';

/** How long a line that is on its way may take, once the peer is done. */
const LAST_LINE_MS = 100;
/** How long the peer may go on, once our lines are over. */
const LAST_TEXT_MS = 2_000;

export interface ChatParts {
  readonly peer: BarePeer;
  /** Undefined: nothing is said, and the peer is listened to until it is done. */
  readonly lines: Lines | undefined;
  readonly onText: (text: string) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** @throws the abort's reason; BotError `CONTENT_INVALID`, `PAYLOAD_TOO_LARGE` */
export async function chat({ peer, lines, onText, clock, signal }: ChatParts): Promise<void> {
  signal.throwIfAborted();
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const wait = (ms: number): Promise<void> => clock.sleep(ms, either).catch(() => undefined);
  const heard = hear(peer, onText);
  const said = say(peer, lines, Promise.race([heard.then(() => wait(LAST_LINE_MS)), aborted(either)]));
  const patience = lines === undefined ? heard : said.then(() => wait(LAST_TEXT_MS));
  try {
    await Promise.race([Promise.all([heard, said]), Promise.all([said, patience]), aborted(either)]);
    signal.throwIfAborted();
  } finally {
    over.abort();
    await peer.close();
  }
}

async function hear(peer: BarePeer, onText: (text: string) => void): Promise<void> {
  for await (const text of peer.texts()) onText(text);
}

/** Sends lines until they end, or until `enough` comes before the next line. */
async function say(peer: BarePeer, lines: Lines | undefined, enough: Promise<unknown>): Promise<void> {
  const stop = enough.then(() => undefined);
  while (lines !== undefined) {
    const line = await Promise.race([lines.peek(), stop]);
    if (line === undefined) break;
    await lines.take();
    try {
      await peer.send(line);
    } catch (error) {
      if (error instanceof RangeError)
        throw new BotError('PAYLOAD_TOO_LARGE', error.message, { cause: error });
      break; // the peer has gone
    }
  }
  await peer.end();
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener(
      'abort',
      () => {
        resolve();
      },
      { once: true },
    );
  });
}
