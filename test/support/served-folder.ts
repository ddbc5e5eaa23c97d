/** A temporary folder with a development server's profile in it; `countersign devserver` runs until it is closed. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DemoPhone } from '../../src/cli/demo-phone.ts';
import { startJson, type Command } from './json-command.ts';

const never = new AbortController().signal;

export class ServedFolder {
  readonly path: string;
  /** What the server said when it was ready. */
  readonly ready: Readonly<Record<string, unknown>>;
  readonly #server: Command;

  private constructor(path: string, ready: Readonly<Record<string, unknown>>, server: Command) {
    this.path = path;
    this.ready = ready;
    this.#server = server;
  }

  /** @param name begins the folder's */
  static async open(name: string): Promise<ServedFolder> {
    const path = mkdtempSync(join(tmpdir(), `${name}-`));
    const server = startJson(['devserver', '--profile', 'server.json'], { cwd: path });
    const ready = await server.io.line(({ event }) => event === 'ready');
    return new ServedFolder(path, ready, server);
  }

  /** The profile's file. */
  get profile(): string {
    return join(this.path, 'server.json');
  }

  /** An account whose phone is scripted. */
  phone(name: string): Promise<DemoPhone> {
    return DemoPhone.create(String(this.ready['control']), name, never);
  }

  /** Stops the server and removes the folder. @throws Error when the server did not end well */
  async close(): Promise<void> {
    const code = await this.#server.stop();
    if (code !== 0) throw new Error(`the server ended with ${String(code)}: ${this.#server.io.out()}`);
    rmSync(this.path, { recursive: true });
  }
}
