/** An account on the development server whose bot has a data directory: commands are run on it as an operator does. */
import { join } from 'node:path';
import { DemoPhone } from '../../src/cli/demo-phone.ts';
import { main } from '../../src/cli/main.ts';
import { memoryIo, type MemoryIo } from './memory-io.ts';

export interface Command {
  readonly io: MemoryIo;
  readonly code: Promise<number>;
}

export interface Ended {
  readonly code: number;
  /** The last line of stdout. */
  readonly value: Record<string, unknown>;
  readonly io: MemoryIo;
}

export class Side {
  readonly folder: string;
  readonly phone: DemoPhone;
  readonly env: Record<string, string>;

  constructor(folder: string, phone: DemoPhone) {
    this.folder = folder;
    this.phone = phone;
    this.env = {
      COUNTERSIGN_SERVER: join(folder, 'server.json'),
      COUNTERSIGN_DATA: join(folder, phone.aci),
    };
  }

  /** A phone, and a bot linked to it. */
  static async link(folder: string, control: string, name: string): Promise<Side> {
    const side = new Side(folder, await DemoPhone.create(control, name, new AbortController().signal));
    const linking = side.start('link', '--insecure-plain-store', '--qr', 'none');
    const { url } = await linking.io.line(({ event }) => event === 'url');
    await side.phone.scan(String(url));
    if ((await linking.code) !== 0) throw new Error(linking.io.out());
    return side;
  }

  start(...argv: string[]): Command {
    const io = memoryIo({ cwd: this.folder, env: this.env });
    return { io, code: main([...argv, '--json'], io) };
  }

  async run(...argv: string[]): Promise<Ended> {
    const { io, code } = this.start(...argv);
    return { code: await code, value: io.lines().at(-1) ?? {}, io };
  }

  async bot(...plugins: string[]): Promise<Command> {
    const running = this.start('run', ...plugins.flatMap((name) => ['--plugin', name]));
    await running.io.line(({ event }) => event === 'ready');
    return running;
  }
}
