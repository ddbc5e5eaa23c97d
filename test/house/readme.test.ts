/**
 * Every command of README.md is run, in order, against a development server, from the sources.
 *
 * What differs from a reader's terminal: `npm ci` has been run by whoever runs the tests (.ci/run, before anything else);
 * `npx countersign` and `npm run demo` run the sources in place of the build; a phone of the development server scans the
 * code that `link` shows; `devserver` and `run` go on in the background once they are ready, and a second `run` stops the
 * first as Ctrl-C does.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { DemoPhone } from '../../src/cli/demo-phone.ts';

const top = fileURLToPath(new URL('../..', import.meta.url));
const readme = readFileSync(join(top, 'README.md'), 'utf8');
const source = `"${process.execPath}" --import tsx "${join(top, 'src/cli/countersign.ts')}"`;

function blocks(language: string): string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
    ([, text = '']) => text,
  );
}

/** A command that goes on, with what it has printed so far. */
class Running {
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

  /** The first match in the output; fails when the command ends before. */
  async match(pattern: RegExp): Promise<string> {
    for (;;) {
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

describe('README.md', () => {
  const folder = mkdtempSync(join(tmpdir(), 'readme-test-'));
  const env: NodeJS.ProcessEnv = { ...process.env };
  let server: Running | undefined;
  let bot: Running | undefined;
  let control = '';

  afterAll(async () => {
    await bot?.stop();
    await server?.stop();
    rmSync(folder, { recursive: true });
  });

  async function runCommand(line: string): Promise<void> {
    const command = line
      .replace(/^npm run (?:-s )?demo$/, 'npx countersign demo')
      .replace('npx countersign', source);
    const [, word] = /^npx countersign (\S+)/.exec(line) ?? [];
    if (line.startsWith('export ')) {
      for (const pair of line.slice('export '.length).split(' ')) {
        const [name = '', value = ''] = pair.split('=');
        env[name] = value;
      }
    } else if (line === 'npm ci') {
      expect(readFileSync(join(top, '.ci/run'), 'utf8')).toMatch(/^npm ci$/m);
    } else if (word === 'devserver') {
      server = new Running(command, folder, env);
      control = await server.match(/control {3}(\S+)/);
    } else if (word === 'run') {
      if (bot !== undefined) expect(await bot.stop()).toBe(0);
      bot = new Running(command, folder, env);
      await bot.match(/^ready/m);
    } else {
      await runToEnd(command, word);
    }
  }

  async function runToEnd(command: string, word: string | undefined): Promise<void> {
    const running = new Running(command, folder, env);
    if (word === 'link') {
      const phone = await DemoPhone.create(control, 'Reader', AbortSignal.timeout(20_000));
      await phone.scan(await running.match(/^sgnl:\S+/m));
    }
    const code = await running.ended;
    expect(code, `${command}\n${running.output}`).toBe(0);
  }

  it('has commands that work, one after the other', { timeout: 180_000 }, async () => {
    symlinkSync(join(top, 'node_modules'), join(folder, 'node_modules'));
    symlinkSync(join(top, 'docs'), join(folder, 'docs'));
    const lines = blocks('sh').flatMap((block) => block.split('\n').filter((line) => line.trim() !== ''));
    expect(lines.length).toBeGreaterThan(10);
    for (const line of lines) await runCommand(line);
  });

  it('shows programs that are compiled with the examples', () => {
    const files = ['dice.ts', 'own-program.ts'].map((name) =>
      readFileSync(join(top, 'docs/examples', name), 'utf8'),
    );
    expect(blocks('ts')).toEqual(files);
  });

  it('names files and commands that exist', () => {
    for (const [, path = ''] of readme.matchAll(/\]\(([^)#]+)\)/g))
      expect(existsSync(join(top, path)), path).toBe(true);
    const scripts = (JSON.parse(readFileSync(join(top, 'package.json'), 'utf8')) as { scripts: object })
      .scripts;
    for (const [, name = ''] of readme.matchAll(/npm run (\w+)/g))
      expect(Object.keys(scripts)).toContain(name);
  });

  it('gives a reason for each runtime dependency', () => {
    const { dependencies } = JSON.parse(readFileSync(join(top, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    for (const name of Object.keys(dependencies)) expect(readme).toContain(`\`${name}\``);
  });
});
