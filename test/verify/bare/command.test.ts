/** `countersign verify bare`: two processes, and the events that scripts depend on. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { main } from '../../../src/cli/main.ts';
import { memoryIo } from '../../support/memory-io.ts';
import { Program } from './program.ts';

const TOLD = 'The code was mistyped or somebody interfered. Ask for a new code.';
const AGREED = 'correct horse battery';

let folder: string;
const programs: Program[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bare-test-'));
});

afterEach(async () => {
  for (const { child } of programs) child.kill('SIGKILL');
  await Promise.all(programs.splice(0).map(({ exit }) => exit));
  rmSync(folder, { recursive: true });
});

function start(...argv: string[]): Program {
  const program = new Program(folder, ...argv);
  programs.push(program);
  return program;
}

function file(name: string, code: string): string {
  writeFileSync(join(folder, name), `${code}\n`);
  return name;
}

async function listening(...argv: string[]): Promise<{ program: Program; port: string; code: string }> {
  const program = start('--listen', '0', '--create', ...argv);
  const { port } = await program.event('listening');
  const code = String((await program.event('code'))['code']);
  return { program, port: String(port), code };
}

describe('two processes over a socket', () => {
  it('verify each other, exchange lines, and end with stdin', async () => {
    const { program: a, port, code } = await listening();
    expect(a.lines()[0]).toEqual({ event: 'code', code });
    expect(code).toMatch(/^\d{3} \d{3} \d$/);
    const b = start('--connect', `127.0.0.1:${port}`, '--code-file', file('code', code));
    a.say('from a\nsecond ✓\n');
    b.say('from b\n');
    expect(await Promise.all([a.exit, b.exit])).toEqual([0, 0]);
    const [verifiedA, verifiedB] = [await a.event('verified'), await b.event('verified')];
    expect(verifiedA['check']).toMatch(/^\d{6}$/);
    expect(verifiedA['check']).toBe(verifiedB['check']);
    expect(Buffer.from(String(verifiedA['peerIdentityKey']), 'base64')).toHaveLength(33);
    expect(a.lines().map(({ event }) => event)).toEqual(['code', 'listening', 'verified', 'message']);
    expect(a.lines().at(-1)).toEqual({ event: 'message', text: 'from b' });
    expect(b.lines().slice(1)).toEqual([
      { event: 'message', text: 'from a' },
      { event: 'message', text: 'second ✓' },
    ]);
  });

  it('take the code from the first line of stdin, and stay until one stdin ends', async () => {
    const { program: a, port, code } = await listening('--words');
    const b = start('--connect', port, '--code-stdin').say(`${code}\nhello\n`, true);
    expect(await a.event('message')).toEqual({ event: 'message', text: 'hello' });
    a.say('welcome\n', true);
    expect(await b.event('message')).toEqual({ event: 'message', text: 'welcome' });
    b.say('bye\n');
    expect(await b.exit).toBe(0);
    expect(await a.exit).toBe(0);
    expect(a.lines().at(-1)).toEqual({ event: 'message', text: 'bye' });
  });

  it('with a code agreed beforehand need nobody who makes one', async () => {
    const code = file('code', AGREED);
    const a = start('--listen', '0', '--code-file', code).say('');
    const { port } = await a.event('listening');
    const b = start('--connect', String(port), '--code-file', code).say('');
    expect(await Promise.all([a.exit, b.exit])).toEqual([0, 0]);
    expect((await a.event('verified'))['check']).toBe((await b.event('verified'))['check']);
  });

  it('end both with the same words and code 1 when the code is wrong (V-26)', async () => {
    const a = start('--listen', '0', '--code-file', file('one', AGREED)).say('');
    const { port } = await a.event('listening');
    const b = start('--connect', String(port), '--code-file', file('other', 'wrong horse battery')).say('');
    expect(await Promise.all([a.exit, b.exit])).toEqual([1, 1]);
    for (const program of [a, b]) {
      expect(program.error()).toMatchObject({ code: 'CODE_REJECTED', message: TOLD });
      expect(program.lines().some(({ event }) => event === 'verified')).toBe(false);
    }
  });

  it('do not spend a guess on a mistyped digit, nor the code', async () => {
    const { program: a, port, code } = await listening();
    const last = (Number(code.at(-1)) + 1) % 10;
    const mistyped = file('code', `${code.slice(0, -1)}${String(last)}`);
    const b = start('--connect', port, '--code-file', mistyped).say('');
    expect(await b.exit).toBe(1);
    expect(b.error()).toMatchObject({ code: 'CODE_MISTYPED' });
    const again = start('--connect', port, '--code-file', file('right', code)).say('');
    a.say('');
    expect(await Promise.all([a.exit, again.exit])).toEqual([0, 0]);
  });

  it('keep the code of who listens when both have made one, with nobody to type', async () => {
    const { program: a, port, code } = await listening();
    const b = start('--connect', port, '--create');
    expect(await b.exit).toBe(1);
    expect(b.error()).toMatchObject({ code: 'VERIFY_SUPERSEDED' });
    const again = start('--connect', port, '--code-file', file('code', code)).say('');
    a.say('');
    expect(await Promise.all([a.exit, again.exit])).toEqual([0, 0]);
  });

  it('end with 0 when the other side is killed after they have verified each other', async () => {
    const { program: a, port, code } = await listening();
    const b = start('--connect', port, '--code-file', file('code', code));
    await Promise.all([a.event('verified'), b.event('verified')]);
    b.child.kill('SIGKILL');
    expect(await a.exit).toBe(0);
  });

  it('run out of a code that nobody uses', async () => {
    const { program: a } = await listening('--lifetime', '1');
    expect(await a.exit).toBe(1);
    expect(a.error()).toMatchObject({ code: 'CODE_EXPIRED' });
  });
});

describe('two processes over pipes', () => {
  const join2 = (a: Program, b: Program): void => {
    a.child.stdout.pipe(b.child.stdin);
    b.child.stdout.pipe(a.child.stdin);
  };

  it('keep stdout for frames, and tell what happens on stderr', async () => {
    const a = start('--stdio', '--create');
    const code = String((await a.event('code', 'err'))['code']);
    const b = start('--stdio', '--code-file', file('code', code));
    join2(a, b);
    expect(await Promise.all([a.exit, b.exit])).toEqual([0, 0]);
    expect((await a.event('verified', 'err'))['check']).toBe((await b.event('verified', 'err'))['check']);
    expect(a.out.startsWith('SSVP')).toBe(true);
    expect(a.lines('out')).toEqual([]);
    expect(a.err.split('\n').filter((line) => !line.startsWith('{'))).toEqual(['']);
  });

  it('settle who is A by themselves when the code was agreed beforehand', async () => {
    const code = file('code', AGREED);
    const [a, b] = [start('--stdio', '--code-file', code), start('--stdio', '--code-file', code)];
    join2(a, b);
    expect(await Promise.all([a.exit, b.exit])).toEqual([0, 0]);
  });

  it('end with 1 when one is killed in the middle', async () => {
    const a = start('--stdio', '--create');
    const code = String((await a.event('code', 'err'))['code']);
    const b = start('--stdio', '--code-file', file('code', code));
    b.child.stdout.pipe(a.child.stdin);
    a.child.stdout.once('data', () => {
      b.child.kill('SIGKILL');
    });
    expect(await a.exit).toBe(1);
    expect(a.error('err')).toMatchObject({ code: 'PEER_GONE' });
    expect(a.out).not.toContain('error');
  });
});

describe('a peer of another kind', () => {
  const flood = (): Buffer => {
    const frame = Buffer.from('53535650010500010000'.padEnd(56, '0'), 'hex');
    return Buffer.concat(Array.from({ length: 5_000 }, () => frame));
  };

  it.each<[string, (socket: Socket) => void]>([
    ['speaks something else', (socket) => socket.write('GET / HTTP/1.1\r\n\r\n')],
    ['closes', (socket) => socket.end()],
    ['is reset', (socket) => socket.resetAndDestroy()],
    ['floods', (socket) => socket.write(flood())],
    ['says nothing', () => undefined],
  ])('that %s ends no run that waits', async (_, onConnect) => {
    const { program: a, port, code } = await listening();
    const socket = connect(Number(port), '127.0.0.1').on('error', () => undefined);
    await new Promise<void>((resolve) => socket.once('connect', resolve));
    onConnect(socket);
    const b = start('--connect', port, '--code-file', file('code', code)).say('');
    a.say('');
    expect(await Promise.all([a.exit, b.exit])).toEqual([0, 0]);
    socket.destroy();
  });

  it.each<[string, string, (socket: Socket) => void]>([
    [
      'speaks something else',
      'CONTENT_INVALID',
      (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
    ],
    ['closes', 'PEER_GONE', (socket) => socket.end()],
    ['floods', 'CONTENT_INVALID', (socket) => socket.write(flood())],
  ])('that was dialled and %s ends the run with %s', async (_, code, onConnect) => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      onConnect(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const program = start('--connect', String(port), '--code-file', file('code', AGREED));
    expect(await program.exit).toBe(1);
    expect(program.error()).toMatchObject({ code });
    server.close();
  });

  it('that stalls is left by Ctrl-C', async () => {
    const server = createServer(() => undefined);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const program = start('--connect', String(port), '--code-file', file('code', AGREED));
    await expect.poll(() => program.err, { timeout: 20_000 }).toContain('step 1');
    program.child.kill('SIGINT');
    expect(await program.exit).toBe(1);
    expect(program.error()).toMatchObject({ code: 'INTERRUPTED' });
    server.close();
  });

  it('that is not there is a coded error', async () => {
    const program = start('--connect', '127.0.0.1:1', '--create');
    expect(await program.exit).toBe(1);
    expect(program.error()).toMatchObject({ code: 'SERVER_UNREACHABLE' });
    expect(program.lines()).toHaveLength(1); // and no code that nobody could use
  });
});

describe('a call that cannot be', () => {
  it.each([
    [['--stdio', '--code-stdin']],
    [['--listen', '0']],
    [['--create']],
    [['--listen', '0', '--connect', '1', '--create']],
    [['--listen', '0', '--create', '--code-file', 'code']],
    [['--listen', '0', '--words', '--code-stdin']],
    [['--listen', 'host:port', '--create']],
    [['--listen', '99999', '--create']],
    [['--listen', '0', '--create', '--lifetime', '0']],
    [['--listen', '0', '--create', '--suite', '3']],
    [['--listen', '0', '--code-file', 'not-there']],
  ])('%j is USAGE', async (argv) => {
    const io = memoryIo({ cwd: folder });
    expect(await main(['verify', 'bare', ...argv, '--json'], io)).toBe(2);
    expect(io.lines()).toMatchObject([{ error: { code: 'USAGE' } }]);
  });

  it('is one of a group whose help is there without loading it', async () => {
    const io = memoryIo();
    expect(await main(['--help'], io)).toBe(0);
    expect(io.out()).toMatch(/verify +verify a contact/);
    const bare = memoryIo();
    expect(await main(['verify', 'bare', '--help'], bare)).toBe(0);
    expect(bare.out()).toContain('--connect <address>');
  });
});

describe('a person at a terminal', () => {
  it('is asked for the code, again when it was mistyped, and then types texts', async () => {
    const a = memoryIo({ cwd: folder, terminal: true });
    const playing = main(['verify', 'bare', '--listen', '0', '--create', '--json'], a);
    const { port } = await a.line(({ event }) => event === 'listening');
    const { code } = await a.line(({ event }) => event === 'code');
    const b = memoryIo({ cwd: folder, terminal: true, stdin: `nonsense\n${String(code)}\nhello\n` });
    const typing = main(['verify', 'bare', '--connect', String(port), '--json'], b);
    expect(await a.line(({ event }) => event === 'message')).toEqual({ event: 'message', text: 'hello' });
    expect(b.err()).toMatch(/The code, as you were told it:[^]*That can be no code; nothing was spent/);
    (b.stdin as unknown as { end: () => void }).end();
    expect(await Promise.all([playing, typing])).toEqual([0, 0]);
  });
});
