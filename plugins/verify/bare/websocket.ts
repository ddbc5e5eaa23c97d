/**
 * A WebSocket as a duplex: the one of a page, and `ws` in Node. Each write is one binary message.
 */
import type { Duplex } from './duplex.ts';

/** As far as it is used; `ws` and every browser have it. */
export interface WebSocketLike {
  binaryType: string;
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(): void;
  addEventListener(type: 'open' | 'close' | 'error', listener: () => void): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
}

const OPEN = 1;
const CLOSING = 2;
/** What is held for a reader that does not read; more of it, and the connection ends. */
const MAX_HELD_BYTES = 4 * 1024 * 1024;

export function overWebSocket(socket: WebSocketLike): Duplex {
  socket.binaryType = 'arraybuffer';
  const held = new Held(socket);
  const opened = new Promise<void>((resolve, reject) => {
    const fail = (): void => {
      reject(new Error('the WebSocket is closed'));
    };
    if (socket.readyState === OPEN) resolve();
    if (socket.readyState >= CLOSING) fail();
    socket.addEventListener('open', resolve);
    socket.addEventListener('close', fail);
  });
  opened.catch(() => undefined); // said again to whoever writes
  return {
    incoming: held,
    write: async (bytes) => {
      await opened;
      if (socket.readyState !== OPEN) throw new Error('the WebSocket is closed');
      socket.send(new Uint8Array(bytes));
    },
    close: () => {
      socket.close(); // what was sent before goes first
    },
  };
}

/** Messages that have come, for one reader. A WebSocket cannot be told to wait. */
class Held implements AsyncIterable<Uint8Array> {
  readonly #waiting: Uint8Array[] = [];
  #bytes = 0;
  #isOver = false;
  #wake: () => void = () => undefined;

  constructor(socket: WebSocketLike) {
    const end = (): void => {
      this.#isOver = true;
      this.#wake();
    };
    socket.addEventListener('message', ({ data }) => {
      const message = data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(0);
      this.#waiting.push(message);
      this.#bytes += message.length;
      if (this.#bytes > MAX_HELD_BYTES) socket.close();
      this.#wake();
    });
    socket.addEventListener('close', end);
    socket.addEventListener('error', end);
    if (socket.readyState >= CLOSING) end();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    for (;;) {
      const message = this.#waiting.shift();
      if (message !== undefined) {
        this.#bytes -= message.length;
        yield message;
      } else if (this.#isOver) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
