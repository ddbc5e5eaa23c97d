/**
 * The examples as they stand: two programs, two pages, and one of each, over a relay that knows nothing. The page runs in
 * headless Chromium; where there is none these tests are skipped and say so.
 */
import { build } from 'esbuild';
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { WebSocketServer } from 'ws';
import { openRelay } from '../../../docs/examples/bare-relay.ts';
import { Chromium, findChromium, type Page } from './chromium.ts';

const top = fileURLToPath(new URL('../../..', import.meta.url));
const examples = join(top, 'docs/examples');
const bare = join(top, 'plugins/verify/bare');
const chromium = findChromium();
if (chromium === undefined) process.stderr.write('skipped, the page in a browser: there is no chromium\n');

/** Lines that a user has to write: neither blank, nor a comment, nor an import. */
function userLines(file: string): number {
  const text = readFileSync(join(examples, file), 'utf8').replace(/<!--[^]*?-->|\/\*[^]*?\*\//g, '');
  return text.split('\n').filter((line) => line.trim() !== '' && !/^\s*import /.test(line)).length;
}

let folder: string;
let relay: WebSocketServer;
let room = 0;
const programs: Example[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bare-examples-'));
  symlinkSync(join(top, 'node_modules'), join(folder, 'node_modules'));
  relay = openRelay(0);
  await build({
    entryPoints: [join(examples, 'bare-node.ts')],
    outfile: join(folder, 'bare-node.mjs'),
    ...{ bundle: true, format: 'esm', platform: 'node', packages: 'external', logLevel: 'error' },
    // Not the build, which may be older than the sources.
    alias: { 'countersign/verify': join(bare, 'node.ts') },
  });
});

afterEach(() => {
  for (const { child } of programs.splice(0)) child.kill('SIGKILL');
});

afterAll(async () => {
  for (const client of relay.clients) client.terminate();
  await new Promise((resolve) => {
    relay.close(resolve);
  });
  rmSync(folder, { recursive: true });
});

function nextRoom(): string {
  return `127.0.0.1:${String((relay.address() as AddressInfo).port)}/room${String(room++)}`;
}

class Example {
  readonly child: ChildProcessWithoutNullStreams;
  readonly exit: Promise<number | null>;
  out = '';

  constructor(place: string, ...code: string[]) {
    this.child = spawn(process.execPath, [join(folder, 'bare-node.mjs'), `ws://${place}`, ...code]);
    this.child.stdout.on('data', (chunk: Buffer) => {
      this.out += chunk.toString();
    });
    this.child.stderr.on('data', (chunk: Buffer) => {
      this.out += chunk.toString();
    });
    this.child.stdin.on('error', () => undefined); // it may have ended already
    this.exit = new Promise((resolve) => this.child.once('close', resolve));
    programs.push(this);
  }

  async match(pattern: RegExp): Promise<string> {
    await expect.poll(() => this.out, { timeout: 20_000 }).toMatch(pattern);
    return pattern.exec(this.out)?.[1] ?? '';
  }
}

const SPOKEN = /Read out: (.+)/;
const SEEN = /Both see (\d{6})/;

describe('two programs over the relay', () => {
  it('verify with a code, and write both ways', async () => {
    const place = nextRoom();
    const a = new Example(place);
    const code = await a.match(SPOKEN);
    const b = new Example(place, code);
    expect(await a.match(SEEN)).toBe(await b.match(SEEN));
    a.child.stdin.write('from a\n');
    b.child.stdin.end('from b\n');
    await Promise.all([a.match(/> from b/), b.match(/> from a/)]);
    a.child.stdin.end();
    expect(await Promise.all([a.exit, b.exit]), a.out + b.out).toEqual([0, 0]);
  });

  it('are a screenful of code to their authors', () => {
    expect(userLines('bare-node.ts')).toBeLessThan(25);
    expect(userLines('bare-page.html')).toBeLessThan(45);
  });
});

describe('the page', () => {
  let files: Server;
  let browser: Chromium | undefined;
  let bundle = '';

  beforeAll(async () => {
    const { outputFiles, metafile } = await build({
      entryPoints: [join(bare, 'page.ts')],
      ...{
        bundle: true,
        format: 'esm',
        platform: 'browser',
        write: false,
        metafile: true,
        logLevel: 'error',
      },
    });
    bundle = outputFiles[0]?.text ?? '';
    const packages = Object.keys(metafile.inputs).map((name) => /node_modules\/(@?[^/]+)/.exec(name)?.[1]);
    expect([...new Set(packages)].sort()).toEqual(['@noble', undefined]);
    const html = readFileSync(join(examples, 'bare-page.html'));
    files = createServer(({ url = '' }, response) => {
      const isScript = url.endsWith('.js');
      response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
      response.end(isScript ? bundle : html);
    });
    await new Promise<void>((resolve) => files.listen(0, '127.0.0.1', resolve));
    if (chromium === undefined) return;
    browser = new Chromium(chromium);
    await browser.open();
  }, 60_000);

  afterAll(async () => {
    await browser?.close();
    files.closeAllConnections();
    await new Promise((resolve) => files.close(resolve));
  });

  async function open(place: string, code = ''): Promise<Page> {
    if (browser === undefined) throw new Error('there is no chromium');
    const { port } = files.address() as AddressInfo;
    const page = await browser.page(`http://127.0.0.1:${String(port)}/#${place}`);
    await page.until("document.getElementById('join')?.onsubmit != null");
    await page.evaluate(
      `document.getElementById('code').value = ${JSON.stringify(code)};
       document.getElementById('join').requestSubmit()`,
    );
    return page;
  }

  async function match(page: Page, pattern: RegExp): Promise<string> {
    const log = async (): Promise<string> =>
      String(await page.evaluate("document.getElementById('log').textContent"));
    await expect.poll(log, { timeout: 25_000 }).toMatch(pattern);
    return pattern.exec(await log())?.[1] ?? '';
  }

  async function say(page: Page, text: string): Promise<void> {
    await page.evaluate(
      `document.getElementById('text').value = ${JSON.stringify(text)};
       document.getElementById('say').requestSubmit()`,
    );
  }

  it('needs nothing of Node, and nothing but noble', () => {
    expect(/["']node:/.test(bundle)).toBe(false);
    expect(bundle.length).toBeLessThan(400_000);
  });

  it.skipIf(chromium === undefined)('verifies another page, and both write', async () => {
    const place = nextRoom();
    const a = await open(place);
    const b = await open(place, await match(a, SPOKEN));
    expect(await match(a, SEEN)).toBe(await match(b, SEEN));
    await Promise.all([say(a, 'from a ✓'), say(b, 'from b')]);
    await Promise.all([match(a, /> from b/), match(b, /> from a ✓/)]);
  });

  it.skipIf(chromium === undefined)('verifies a program, and both write', async () => {
    const place = nextRoom();
    const page = await open(place);
    const program = new Example(place, await match(page, SPOKEN));
    expect(await program.match(SEEN)).toBe(await match(page, SEEN));
    program.child.stdin.write('from the program\n');
    await match(page, /> from the program/);
    await say(page, 'from the page');
    await program.match(/> from the page/);
  });

  it.skipIf(chromium === undefined)('says what is wrong with a code that is not right', async () => {
    const place = nextRoom();
    const a = await open(place);
    await match(a, SPOKEN);
    const b = await open(place, '000 000 0');
    await Promise.all([
      match(a, /CODE_REJECTED: The code was mistyped or somebody/),
      match(b, /CODE_REJECTED/),
    ]);
  });
});
