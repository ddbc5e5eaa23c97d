/** The command `verify bare` as a process of its own. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const ENTRY = fileURLToPath(new URL('../../../src/cli/countersign.ts', import.meta.url));

export type Line = Record<string, unknown>;

export class Program {
  readonly child: ChildProcessWithoutNullStreams;
  readonly exit: Promise<number | null>;
  out = '';
  err = '';

  constructor(folder: string, ...argv: readonly string[]) {
    const env = { ...process.env };
    delete env['COUNTERSIGN_DATA'];
    const node = ['--import', import.meta.resolve('tsx'), ENTRY, 'verify', 'bare', ...argv, '--json'];
    this.child = spawn(process.execPath, node, { cwd: folder, env });
    this.child.stdout.on('data', (chunk: Buffer) => {
      this.out += chunk.toString();
    });
    this.child.stderr.on('data', (chunk: Buffer) => {
      this.err += chunk.toString();
    });
    this.child.stdin.on('error', () => undefined); // it may end before it has read all
    this.exit = new Promise((resolve) => this.child.once('close', resolve));
  }

  /** Whole JSON lines of stdout, or of stderr with `--stdio`. */
  lines(stream: 'out' | 'err' = 'out'): Line[] {
    return this[stream]
      .split('\n')
      .slice(0, -1)
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Line);
  }

  /** The first line with this event; waits for it. */
  async event(name: string, stream: 'out' | 'err' = 'out'): Promise<Line> {
    for (;;) {
      const found = this.lines(stream).find(({ event }) => event === name);
      if (found !== undefined) return found;
      const isOver = this.child.exitCode !== null || this.child.signalCode !== null;
      if (isOver) throw new Error(`ended without ${name}: ${this.out} ${this.err}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Writes to stdin; ends it unless it is to stay open. */
  say(text: string, stays = false): this {
    if (stays) this.child.stdin.write(text);
    else this.child.stdin.end(text);
    return this;
  }

  error(stream: 'out' | 'err' = 'out'): unknown {
    return this.lines(stream).at(-1)?.['error'];
  }
}
