/** The post of the crash walks: the ciphertexts that left the bot, and what its phone and its friend made of them. */
import { fromBase64, toBase64, toUtf8 } from '../../src/bytes.ts';
import type { Content } from '../../src/content/content.ts';
import { decodeEnvelope } from '../../src/content/envelope.ts';
import type { Request } from '../../src/transport/request.ts';
import type { CrashCast } from './crash-cast.ts';
import { KeyBook } from './crash-keys.ts';
import { ECHO } from './crash-plugin.ts';
import type { Hub } from './hub.ts';
import { read } from './outbox.ts';
import { wireEnvelope, type Peer } from './peer.ts';

interface Got {
  readonly by: Peer;
  readonly timestamp: number;
  /** Text: why it could not be opened. */
  readonly content: Content | string;
}

/** Envelope type on the wire. */
const SEALED = 6;

export class CrashLetters {
  readonly #hub: Hub;
  readonly #cast: CrashCast;
  readonly #keys = new KeyBook();
  readonly #got: Got[] = [];
  readonly #leaving: Promise<void>[] = [];
  readonly #faults: string[] = [];
  /** How many have come sealed. */
  sealed = 0;

  constructor(hub: Hub, cast: CrashCast) {
    this.#hub = hub;
    this.#cast = cast;
  }

  /** Ciphertexts that have left, whether or not the server has heard them. */
  onLeaving({ verb, path, body }: Request): void {
    if (verb !== 'PUT' || !path.startsWith('/v1/messages/') || body === undefined) return;
    const recipient = path.slice('/v1/messages/'.length).split('?')[0] ?? '';
    const { messages, timestamp } = JSON.parse(toUtf8(body)) as {
      messages: { type: number; destinationDeviceId: number; content: string }[];
      timestamp: number;
    };
    for (const { type, destinationDeviceId, content } of messages) {
      const to = this.#hub.peers.find(
        (peer) => peer.aci === recipient && peer.account.deviceId === destinationDeviceId,
      );
      if (to === undefined) continue;
      const what = `${String(timestamp)} to ${to === this.#cast.friend ? 'the friend' : 'the phone'}`;
      const envelope = wireEnvelope(this.#cast.bot, to, type, fromBase64(content), { timestamp });
      this.#leaving.push(
        Promise.resolve(to.session.identify(decodeEnvelope(envelope))).then((identified) => {
          if (identified.kind === 'message') this.#keys.note(identified.type, identified.ciphertext, what);
          else this.#faults.push(`what has left is ${identified.kind}`);
        }),
      );
    }
  }

  /** Opens what has come for phone and friend, in order. */
  async read(): Promise<void> {
    for (const letter of this.#hub.letters.splice(0)) {
      const content = await read(letter.to, letter.envelope);
      if (letter.type === SEALED) this.sealed++;
      this.#got.push({ by: letter.to, timestamp: letter.timestamp, content });
    }
  }

  /** What somebody has got, each timestamp once, as apps do. */
  once(by: Peer): readonly Content[] {
    const seen = new Map<number, Content>();
    for (const { by: who, timestamp, content } of this.#got) {
      if (who === by && typeof content !== 'string' && !seen.has(timestamp)) seen.set(timestamp, content);
    }
    return [...seen.values()];
  }

  /** Texts that the friend has got. */
  get texts(): string[] {
    return this.once(this.#cast.friend).flatMap((content) => (content.kind === 'text' ? [content.text] : []));
  }

  /** Payloads that the friend has got from the echo plugin. */
  get apps(): string[] {
    return this.once(this.#cast.friend).flatMap((content) =>
      content.kind === 'app' && content.tag === ECHO ? [toUtf8(content.payload)] : [],
    );
  }

  /** Timestamps of the friend's messages that the bot has acknowledged, as often as it did. */
  get receipts(): number[] {
    return this.once(this.#cast.friend).flatMap((content) =>
      content.kind === 'receipt' ? [...content.timestamps] : [],
    );
  }

  /** Texts of the bot's that its phone was told of. */
  get transcripts(): Set<string> {
    return new Set(
      this.once(this.#cast.phone).flatMap((content) =>
        content.kind === 'sync' && content.sync.type === 'sent' && content.sync.content.kind === 'text'
          ? [content.sync.content.text]
          : [],
      ),
    );
  }

  /** Why some could not be opened. */
  get unread(): string[] {
    return this.#got.flatMap(({ content }) => (typeof content === 'string' ? [content] : []));
  }

  /** What has come, in a line. */
  get summary(): string {
    return this.#got.map(({ content }) => (typeof content === 'string' ? content : content.kind)).join(' ');
  }

  /** What is wrong with what has left and come, whatever the scene: a key used twice, two messages of one name. */
  async faults(): Promise<readonly string[]> {
    await Promise.all(this.#leaving);
    return [
      ...this.#faults,
      ...this.#repeats(),
      ...this.#keys.reused.map((text) => `a message key was used twice: ${text}`),
    ];
  }

  /** A timestamp names one message: what comes again under it says the same. */
  #repeats(): string[] {
    const faults: string[] = [];
    const said = new Map<string, string>();
    for (const { by, timestamp, content } of this.#got) {
      const name = `${by.aci} ${String(by.account.deviceId)} ${String(timestamp)}`;
      const text = typeof content === 'string' ? content : described(content);
      const before = said.get(name);
      if (before !== undefined && before !== text)
        faults.push(`one timestamp for two messages: ${before}; ${text}`);
      said.set(name, text);
    }
    return faults;
  }
}

function described(content: Content): string {
  if (content.kind === 'text') return `text ${content.text}`;
  if (content.kind === 'app') return `app ${content.tag} ${toBase64(content.payload)}`;
  if (content.kind === 'receipt') return `receipt ${content.timestamps.join(' ')}`;
  if (content.kind === 'sync' && content.sync.type === 'sent')
    return `sent ${String(content.sync.timestamp)}`;
  return content.kind;
}
