/**
 * Bare peer: the other side of a run that has succeeded, and texts both ways.
 *
 * Each side says when it has no more to say (`end`); whoever has heard that and has said it closes. The connection's own
 * end means the same, less surely.
 * Spec: issue 5, point 3.
 */
import type { Aci, Bytes } from '../../../src/index.ts';
import type { Duplex } from './duplex.ts';
import type { Failure } from '../failure.ts';
import { isTextFrame, MAX_TEXT_BYTES, openText, sealText, type Bearing, type TextCipher } from './texts.ts';

export interface Verified {
  /** A service id where the other side has an account, else one made up for the occasion. */
  readonly aci: Aci;
  /** 33 bytes. */
  readonly identityKey: Bytes;
  /** Six digits that both operators see, to be compared if they like (V-25); suite 2 has none. */
  readonly check: string | undefined;
  /** False: it was never heard that the other side trusts us. The connection is over, and no texts go. */
  readonly isAcknowledged: boolean;
}

export interface PeerParts extends Verified {
  readonly duplex: Duplex;
  readonly bearing: Bearing;
  /** Undefined without acknowledgement. */
  readonly cipher: TextCipher | undefined;
  readonly frames: AsyncIterator<Bytes, void, void>;
  /** Takes a frame of the run that comes again. */
  readonly repeat: (frame: Bytes) => Promise<void>;
  /** Makes what `texts` throws. */
  readonly toError: (failure: Failure) => Error;
}

const NOT_SEALED: Failure = {
  code: 'CONTENT_INVALID',
  message: 'something came that the other side has not sealed as its next text',
};

export class BarePeer implements Verified {
  readonly aci: Aci;
  readonly identityKey: Bytes;
  readonly check: string | undefined;
  readonly isAcknowledged: boolean;
  readonly #parts: PeerParts;
  #lane: Promise<unknown> = Promise.resolve();
  #hasEnded = false;

  constructor(parts: PeerParts) {
    this.#parts = parts;
    this.aci = parts.aci;
    this.identityKey = parts.identityKey;
    this.check = parts.check;
    this.isAcknowledged = parts.isAcknowledged;
  }

  /**
   * Resolves when the transport has taken it.
   * @throws RangeError above 65,536 bytes of UTF-8; what the transport throws when the other side has gone
   */
  async send(text: string): Promise<void> {
    if (new TextEncoder().encode(text).length > MAX_TEXT_BYTES) throw new RangeError('a text is too long');
    await this.#say({ kind: 'text', text });
  }

  /** Says that nothing more will come from this side. Does not throw, and may be called again. */
  async end(): Promise<void> {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    try {
      await this.#say({ kind: 'end' });
    } catch {
      // The other side has gone, which says it all.
    }
  }

  /** Sends what was given to `send`, then closes the connection. */
  async close(): Promise<void> {
    await this.end();
    await this.#parts.duplex.close();
  }

  /**
   * What the other side says, until it says no more or has gone. Once.
   * @throws an error with the code `CONTENT_INVALID` when somebody has meddled; the connection is closed then
   */
  async *texts(): AsyncGenerator<string, void, void> {
    const { cipher, bearing, repeat, toError, duplex } = this.#parts;
    if (cipher === undefined) return;
    for (;;) {
      const frame = await this.#next();
      if (frame === undefined) return;
      if (!isTextFrame(frame)) {
        await repeat(frame);
        continue;
      }
      const said = await openText(cipher, bearing, frame);
      if (said === undefined) {
        await duplex.close();
        throw toError(NOT_SEALED);
      }
      if (said.kind === 'end') return;
      yield said.text;
    }
  }

  /** A connection that breaks has ended. */
  async #next(): Promise<Bytes | undefined> {
    try {
      const next = await this.#parts.frames.next();
      return next.done === true ? undefined : next.value;
    } catch {
      return undefined;
    }
  }

  /** One after the other: the other side opens in the order of sealing. */
  #say(said: Parameters<typeof sealText>[2]): Promise<void> {
    const { cipher, bearing, duplex } = this.#parts;
    const done = this.#lane.then(async () => {
      if (cipher === undefined) throw new Error('the other side has never answered');
      await duplex.write(await sealText(cipher, bearing, said));
    });
    this.#lane = done.catch(() => undefined);
    return done;
  }
}
