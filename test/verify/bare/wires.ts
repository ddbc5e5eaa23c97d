/**
 * Two ends of a wire in memory, for runs in one process. Whoever sits in the middle sees every write, and may change it,
 * hold it back or end the wire.
 */
import { decodeHeader, type FrameType } from '../../../plugins/verify/messages/frame.ts';
import type { Duplex } from '../../../plugins/verify/bare/duplex.ts';

export interface Passing {
  readonly from: 'left' | 'right';
  readonly bytes: Uint8Array;
  /** Of a frame of the run; undefined for texts and all else. */
  readonly type: FrameType | undefined;
  /** Ends the wire at both sides, before these bytes have passed. */
  readonly cut: () => void;
}

export interface Wire {
  readonly left: End;
  readonly right: End;
  /** All writes that have passed, in order. */
  readonly passed: Passing[];
}

/** @param middle gives what the other side gets instead; nothing at all when that is empty */
export function wire(middle: (passing: Passing) => readonly Uint8Array[] = ({ bytes }) => [bytes]): Wire {
  const passed: Passing[] = [];
  const [left, right] = [new End(), new End()];
  const cut = (): void => {
    left.over();
    right.over();
  };
  const join = (from: Passing['from'], own: End, other: End): void => {
    own.onWrite = (bytes) => {
      const passing = { from, bytes, type: decodeHeader(bytes)?.type, cut };
      passed.push(passing);
      for (const chunk of middle(passing)) other.push(chunk);
    };
    own.onClose = () => {
      other.over();
    };
  };
  join('left', left, right);
  join('right', right, left);
  return { left, right, passed };
}

export class End implements Duplex {
  readonly #chunks: Uint8Array[] = [];
  #isOver = false;
  #wake: () => void = () => undefined;
  onWrite: (bytes: Uint8Array) => void = () => undefined;
  onClose: () => void = () => undefined;
  isClosed = false;

  readonly incoming = this.#read();

  push(chunk: Uint8Array): void {
    this.#chunks.push(new Uint8Array(chunk));
    this.#wake();
  }

  over(): void {
    this.#isOver = true;
    this.#wake();
  }

  write(bytes: Uint8Array): void {
    if (this.#isOver || this.isClosed) throw new Error('the wire is cut');
    this.onWrite(bytes);
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.onClose();
    this.over();
  }

  async *#read(): AsyncGenerator<Uint8Array, void, void> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) yield chunk;
      else if (this.#isOver) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
