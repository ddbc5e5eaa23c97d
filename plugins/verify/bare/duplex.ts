/**
 * Duplex: anything that moves bytes both ways, and the frames in it.
 *
 * The length in a frame's header is what parts frames on a stream; over a transport of messages each message is one frame,
 * which is the same thing. What does not begin like a frame has no end that could be found, so it ends the connection.
 * Spec: verification brief, sections 3.1 (mode 2), 3.2 and 3.8.
 */
import type { Bytes } from '../../../src/index.ts';
import { concat } from '../messages/wire.ts';

export interface Duplex {
  /** Ends, or throws, when the other side has gone. Read by one reader. */
  readonly incoming: AsyncIterable<Uint8Array>;
  /** Resolves when more can be taken; rejects when nothing can any more. */
  write(bytes: Uint8Array): Promise<void> | void;
  /** Sends what was written, then ends both directions. Does not throw, and may be called again. */
  close(): Promise<void> | void;
}

/** What `frames` throws when the bytes are no frames, or a body is longer than may come now. */
export class NoFrames extends Error {}

const PREFIX = Uint8Array.of(0x53, 0x53, 0x56, 0x50, 1);
const LENGTH_AT = 24;
const HEADER_BYTES = 28;

/**
 * Whole frames, of any type, in order; the bytes are the caller's own.
 * @param maxBody how long a body may be at the moment
 * @throws NoFrames, and what `chunks` throws
 */
export async function* frames(
  chunks: AsyncIterable<Uint8Array>,
  maxBody: () => number,
): AsyncGenerator<Bytes, void, void> {
  const pending = new Pending();
  for await (const chunk of chunks) {
    pending.push(chunk);
    for (let frame = pending.take(maxBody()); frame !== undefined; frame = pending.take(maxBody())) {
      yield frame;
    }
  }
}

/** Bytes that have come and are no whole frame yet. They are put together once, however small the chunks. */
class Pending {
  #chunks: Uint8Array[] = [];
  #length = 0;
  /** Length of the frame at the front, once it is known. */
  #wanted: number | undefined;

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  take(maxBody: number): Bytes | undefined {
    this.#wanted ??= this.#readLength(maxBody);
    if (this.#wanted === undefined || this.#length < this.#wanted) return undefined;
    const all = this.#join();
    const frame = new Uint8Array(all.subarray(0, this.#wanted));
    this.#chunks = [all.subarray(this.#wanted)];
    this.#length -= this.#wanted;
    this.#wanted = undefined;
    return frame;
  }

  #readLength(maxBody: number): number | undefined {
    if (this.#length === 0) return undefined;
    const all = this.#join();
    const begin = all.subarray(0, PREFIX.length);
    if (begin.some((byte, i) => byte !== PREFIX[i])) throw new NoFrames('what came is no frame');
    if (all.length < HEADER_BYTES) return undefined;
    const length = new DataView(all.buffer, all.byteOffset).getUint32(LENGTH_AT);
    if (length > maxBody) throw new NoFrames('a frame is longer than it may be');
    return HEADER_BYTES + length;
  }

  /** One chunk stays as it is: to copy it for each frame in it would make many small frames dear. */
  #join(): Uint8Array {
    const [only, ...more] = this.#chunks;
    if (only !== undefined && more.length === 0) return only;
    const all = concat(...this.#chunks);
    this.#chunks = [all];
    return all;
  }
}
