/** An account on the development server whose bot has a data directory: commands are run on it as an operator does. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DemoPhone } from '../../src/cli/demo-phone.ts';
import { runJson, startCommand, startJson, type Command, type Ended, type World } from './json-command.ts';
import type { ServedFolder } from './served-folder.ts';

export class Side {
  readonly phone: DemoPhone;
  /** Where its commands run. */
  readonly world: World;
  /** The bot's data directory. */
  readonly data: string;

  private constructor(folder: ServedFolder, phone: DemoPhone) {
    this.phone = phone;
    this.data = join(folder.path, phone.aci);
    this.world = {
      cwd: folder.path,
      env: { COUNTERSIGN_SERVER: folder.profile, COUNTERSIGN_DATA: this.data },
    };
  }

  /** A phone, and a bot linked to it. */
  static async link(folder: ServedFolder, name: string): Promise<Side> {
    const side = new Side(folder, await folder.phone(name));
    const linking = side.start('link', '--insecure-plain-store', '--qr', 'none');
    const { url } = await linking.io.line(({ event }) => event === 'url');
    await side.phone.scan(String(url));
    if ((await linking.code) !== 0) throw new Error(linking.io.out());
    return side;
  }

  get aci(): string {
    return this.phone.aci;
  }

  start(...argv: string[]): Command {
    return startJson(argv, this.world);
  }

  run(...argv: string[]): Promise<Ended> {
    return runJson(argv, this.world);
  }

  /** What a command that ends well says in words. */
  async text(...argv: string[]): Promise<string> {
    const { io, code } = startCommand(argv, this.world);
    if ((await code) !== 0) throw new Error(`${io.out()}${io.err()}`);
    return io.out();
  }

  /** A bot that is ready, with plugins. */
  async bot(...plugins: string[]): Promise<Command> {
    return this.listen(...plugins.flatMap((name) => ['--plugin', name]));
  }

  /** A bot that is ready, with options. */
  async listen(...options: string[]): Promise<Command> {
    const running = this.start('run', ...options);
    await running.io.line(({ event }) => event === 'ready');
    return running;
  }
}

/** Writes what `me` says of each, a line an account, as `trust import` and `--group` read it. */
export async function writeGroup(file: string, sides: readonly Side[]): Promise<void> {
  const lines: string[] = [];
  for (const side of sides) lines.push(`${JSON.stringify((await side.run('me')).value)}\n`);
  writeFileSync(file, lines.join(''));
}
