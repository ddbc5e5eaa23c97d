/** What tests of documents share: the commands that a document shows, and how they are run from the sources. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const top = fileURLToPath(new URL('../..', import.meta.url));
/** How long one thing that a command says, or a phone does, is waited for. */
export const MATCH_MS = 120_000;
/** In place of `countersign`. */
export const source = `"${process.execPath}" --import "${import.meta.resolve('tsx')}" "${join(top, 'src/cli/countersign.ts')}"`;

export function readDocument(path: string): string {
  return readFileSync(join(top, path), 'utf8');
}

/** The code blocks of one language. */
export function blocks(document: string, language: string): string[] {
  return [...document.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
    ([, text = '']) => text,
  );
}

/** The commands of a document in their order. */
export function commandsOf(document: string): string[] {
  return blocks(document, 'sh').flatMap((block) => block.split('\n').filter((line) => line.trim() !== ''));
}

/** Does what an `export` line does. @returns false for another line */
export function setVariables(line: string, env: NodeJS.ProcessEnv): boolean {
  if (!line.startsWith('export ')) return false;
  for (const pair of line.slice('export '.length).split(' ')) {
    const [name = '', value = ''] = pair.split('=');
    env[name] = value;
  }
  return true;
}

/** A command that goes on, with what it has printed so far. */
export class Running {
  readonly #child: ChildProcess;
  #output = '';
  readonly ended: Promise<number | null>;

  constructor(command: string, cwd: string, env: NodeJS.ProcessEnv) {
    this.#child = spawn('bash', ['-c', command], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const keep = (chunk: Buffer): void => {
      this.#output += chunk.toString();
    };
    this.#child.stdout?.on('data', keep);
    this.#child.stderr?.on('data', keep);
    this.ended = new Promise((resolve) => this.#child.once('close', resolve));
  }

  get output(): string {
    return this.#output;
  }

  /** The first match in the output; fails when the command ends before, or after `MATCH_MS`. */
  async match(pattern: RegExp): Promise<string> {
    const late = Date.now() + MATCH_MS;
    for (;;) {
      if (Date.now() > late) throw new Error(`it has not said ${String(pattern)}: ${this.#output}`);
      const found = pattern.exec(this.#output);
      if (found) return found[1] ?? found[0];
      const ended = await Promise.race([
        this.ended,
        new Promise((resolve) => setTimeout(resolve, 50, 'goes on')),
      ]);
      if (ended !== 'goes on') throw new Error(`it ended with ${String(ended)}: ${this.#output}`);
    }
  }

  /** As Ctrl-C does. */
  async stop(): Promise<number | null> {
    this.#child.kill('SIGINT');
    return this.ended;
  }
}
