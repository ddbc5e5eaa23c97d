/**
 * Lines of stdin: the code, if it comes that way, then the texts. Nothing is read before the first line is asked for, so
 * that a terminal keeps what is typed, and a line that was read is kept until it is taken.
 */
import { createInterface } from 'node:readline';

export class Lines {
  readonly #stdin: NodeJS.ReadableStream;
  #lines: AsyncIterator<string, void> | undefined;
  #next: Promise<string | undefined> | undefined;

  constructor(stdin: NodeJS.ReadableStream) {
    this.#stdin = stdin;
  }

  /**
   * The line at the front; asked again, the same one, until it is taken.
   * @returns undefined at the end
   */
  peek(): Promise<string | undefined> {
    this.#lines ??= createInterface({ input: this.#stdin, terminal: false })[Symbol.asyncIterator]();
    const lines = this.#lines;
    return (this.#next ??= lines.next().then((next) => (next.done === true ? undefined : next.value)));
  }

  /** The line at the front, which is the caller's now. */
  async take(): Promise<string | undefined> {
    const line = await this.peek();
    if (line !== undefined) this.#next = undefined;
    return line;
  }
}
