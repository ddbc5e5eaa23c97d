/**
 * Every command of README.md is run, in order, against a development server, from the sources.
 *
 * What differs from a reader's terminal: `npm ci` has been run by whoever runs the tests (.ci/run, before anything else);
 * `npx countersign` and `npm run demo` run the sources in place of the build; a phone of the development server scans the
 * code that `link` shows; `devserver` and `run` go on in the background once they are ready, and a second `run` stops the
 * first as Ctrl-C does. Who is verified is an account of the development server with a bot of its own, on which the code is
 * typed while the first side waits; its account ids stand for those of the document.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { DemoPhone } from '../../src/cli/demo-phone.ts';
import {
  blocks,
  commandsOf,
  MATCH_MS,
  readDocument,
  Running,
  setVariables,
  source,
  top,
} from './documents.ts';

const readme = readDocument('README.md');

/** As the document calls them. */
const BOB = '5d1a3b52-0e5c-4b0b-9c3a-2c4f1f2a6f01';
const ALICE = '8c0d4f7e-52a1-4a86-8f0b-6a7f3c9d1e02';

interface OtherSide {
  readonly aci: string;
  readonly env: NodeJS.ProcessEnv;
  readonly bot: Running;
}

describe('README.md', () => {
  const folder = mkdtempSync(join(tmpdir(), 'readme-test-'));
  const env: NodeJS.ProcessEnv = { ...process.env };
  let server: Running | undefined;
  let bot: Running | undefined;
  let control = '';
  /** The other side of a verification. */
  let other: OtherSide | undefined;
  let starting: Running | undefined;

  afterAll(async () => {
    await bot?.stop();
    await other?.bot.stop();
    await server?.stop();
    rmSync(folder, { recursive: true });
  });

  async function runCommand(line: string): Promise<void> {
    const command = line
      .replace(/^npm run (?:-s )?demo$/, 'npx countersign demo')
      .replace('npx countersign', source);
    const [, word, part] = /^npx countersign (\S+)(?: (\S+))?/.exec(line) ?? [];
    if (setVariables(line, env)) return;
    if (line === 'npm ci') {
      expect(readFileSync(join(top, '.ci/run'), 'utf8')).toMatch(/^npm ci$/m);
    } else if (word === 'devserver') {
      server = new Running(command, folder, env);
      control = await server.match(/control {3}(\S+)/);
    } else if (word === 'run') {
      if (bot !== undefined) expect(await bot.stop()).toBe(0);
      bot = new Running(command, folder, env);
      await bot.match(/^ready/m);
    } else if (word === 'verify' && part === 'start') {
      other ??= await otherSide();
      starting = new Running(command.replace(BOB, other.aci), folder, env);
      await starting.match(/never send it: \d/);
    } else if (word === 'verify' && part === 'enter') {
      await enterCode(command);
    } else {
      await runToEnd(command.replace(BOB, other?.aci ?? BOB), word);
    }
  }

  /** Linked, with a bot that can verify. */
  async function otherSide(): Promise<OtherSide> {
    const [phone, data] = [await DemoPhone.create(control, 'Bob', AbortSignal.timeout(MATCH_MS)), './other'];
    const theirs = { ...env, COUNTERSIGN_DATA: data };
    const linking = new Running(`${source} link --insecure-plain-store`, folder, theirs);
    await phone.scan(await linking.match(/^sgnl:\S+/m));
    expect(await linking.ended, linking.output).toBe(0);
    const running = new Running(`${source} run --plugin verify`, folder, theirs);
    await running.match(/^ready/m);
    return { aci: phone.aci, env: theirs, bot: running };
  }

  async function enterCode(command: string): Promise<void> {
    const spoken = await starting?.match(/never send it: ([\d ]+)/);
    const me = new Running(`${source} me --json`, folder, env);
    expect(await me.ended).toBe(0);
    const alice = await me.match(/"aci":"([^"]+)"/);
    const typed = `${command.replace(ALICE, alice)} --code-stdin <<< '${spoken ?? ''}'`;
    const entering = new Running(typed, folder, other?.env ?? {});
    expect(await entering.ended, entering.output).toBe(0);
    expect(await starting?.ended, starting?.output).toBe(0);
    expect(entering.output).toMatch(/Both of you see \d{6}/);
  }

  async function runToEnd(command: string, word: string | undefined): Promise<void> {
    const running = new Running(command, folder, env);
    if (word === 'link') {
      const phone = await DemoPhone.create(control, 'Reader', AbortSignal.timeout(MATCH_MS));
      await phone.scan(await running.match(/^sgnl:\S+/m));
    }
    const code = await running.ended;
    expect(code, `${command}\n${running.output}`).toBe(0);
  }

  it('has commands that work, one after the other', { timeout: 600_000 }, async () => {
    symlinkSync(join(top, 'node_modules'), join(folder, 'node_modules'));
    symlinkSync(join(top, 'docs'), join(folder, 'docs'));
    const lines = commandsOf(readme);
    expect(lines.length).toBeGreaterThan(10);
    for (const line of lines) await runCommand(line);
  });

  it('shows programs that are compiled with the examples', () => {
    const files = ['dice.ts', 'own-program.ts'].map((name) =>
      readFileSync(join(top, 'docs/examples', name), 'utf8'),
    );
    expect(blocks(readme, 'ts')).toEqual(files);
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
