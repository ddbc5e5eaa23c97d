/** A headless Chromium, spoken to over its DevTools protocol; nothing but `ws` is needed. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** The command of a Chromium; undefined where there is none. */
export function findChromium(): string | undefined {
  return NAMES.find((name) => {
    try {
      execFileSync(name, ['--version'], { stdio: 'pipe', timeout: 20_000 });
      return true;
    } catch {
      return false;
    }
  });
}

interface Answer {
  readonly id?: number;
  readonly error?: { readonly message: string };
  readonly result?: Readonly<Record<string, unknown>>;
}

export class Chromium {
  readonly #child: ChildProcess;
  readonly #folder: string;
  #endpoint = '';
  readonly #sockets: WebSocket[] = [];

  constructor(command: string) {
    this.#folder = mkdtempSync(join(tmpdir(), 'chromium-test-'));
    this.#child = spawn(
      command,
      [
        ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'],
        ...['--remote-debugging-port=0', `--user-data-dir=${this.#folder}`, 'about:blank'],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
  }

  /** @throws Error when it has not come up in time */
  async open(): Promise<void> {
    let said = '';
    this.#endpoint = await new Promise((resolve, reject) => {
      this.#child.stderr?.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        const found = /DevTools listening on (ws:\S+)/.exec(said);
        if (found?.[1] !== undefined) resolve(found[1]);
      });
      this.#child.once('error', reject).once('close', () => {
        reject(new Error(`Chromium has ended: ${said}`));
      });
    });
  }

  /** A new tab at this address. */
  async page(url: string): Promise<Page> {
    const browser = await this.#connect(this.#endpoint);
    const { targetId } = await browser.call('Target.createTarget', { url });
    const { host } = new URL(this.#endpoint);
    return this.#connect(`ws://${host}/devtools/page/${String(targetId)}`);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.terminate();
    const ended = new Promise((resolve) => this.#child.once('close', resolve));
    if (this.#child.exitCode === null && this.#child.kill('SIGKILL')) await ended;
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async #connect(url: string): Promise<Page> {
    const socket = new WebSocket(url);
    this.#sockets.push(socket);
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    return new Page(socket);
  }
}

export class Page {
  readonly #socket: WebSocket;
  #last = 0;

  constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  call(method: string, params: object = {}): Promise<Readonly<Record<string, unknown>>> {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      const onMessage = (data: Buffer): void => {
        const answer = JSON.parse(data.toString()) as Answer;
        if (answer.id !== id) return;
        this.#socket.off('message', onMessage);
        if (answer.error) reject(new Error(answer.error.message));
        else resolve(answer.result ?? {});
      };
      this.#socket.on('message', onMessage);
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }

  /** The value of a JavaScript expression, awaited. @throws Error with what the page throws */
  async evaluate(expression: string): Promise<unknown> {
    const params = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.call('Runtime.evaluate', params);
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return (result as { value?: unknown }).value;
  }

  /** Waits until an expression is true. */
  async until(expression: string): Promise<void> {
    while ((await this.evaluate(expression)) !== true)
      await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
