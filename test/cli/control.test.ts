import { existsSync, mkdtempSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Call } from '../../src/cli/calls.ts';
import { askRunning } from '../../src/cli/control-client.ts';
import { ControlServer, pointerPath, socketPath } from '../../src/cli/control-server.ts';
import { BotError } from '../../src/errors.ts';

const never = new AbortController().signal;

describe('the control socket', () => {
  let folder: string;
  const open: ControlServer[] = [];

  const serve = async (
    at: string,
    handle: (call: Call, signal: AbortSignal) => Promise<object>,
  ): Promise<ControlServer> => {
    const server = await ControlServer.open(at, handle);
    open.push(server);
    return server;
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'control-test-'));
  });

  afterEach(async () => {
    for (const server of open.splice(0)) await server.close();
    rmSync(folder, { recursive: true });
  });

  it('carries a call to the bot and its answer back', async () => {
    const calls: Call[] = [];
    await serve(folder, (call) => {
      calls.push(call);
      return Promise.resolve({ rows: [1, 2] });
    });
    expect(await askRunning(folder, { call: 'dead retry', id: '7' }, never)).toEqual({ rows: [1, 2] });
    expect(calls).toEqual([{ call: 'dead retry', id: '7' }]);
  });

  it('carries an error with its code, its next step and its time', async () => {
    await serve(folder, () =>
      Promise.reject(new BotError('RATE_LIMITED', 'slower', { next: 'wait a bit', retryAt: 12 })),
    );
    await expect(askRunning(folder, { call: 'me' }, never)).rejects.toMatchObject({
      code: 'RATE_LIMITED',
      message: 'slower',
      next: 'wait a bit',
      retryAt: 12,
    });
  });

  it('is for its user only', async () => {
    await serve(folder, () => Promise.resolve({}));
    expect(statSync(socketPath(folder)).mode & 0o777).toBe(0o600);
  });

  it('says that nobody serves, without a socket and with one that a crash left behind', async () => {
    expect(await askRunning(folder, { call: 'me' }, never)).toBeUndefined();
    writeFileSync(socketPath(folder), '');
    expect(await askRunning(folder, { call: 'me' }, never)).toBeUndefined();
    await serve(folder, () => Promise.resolve({ fresh: true }));
    expect(await askRunning(folder, { call: 'me' }, never)).toEqual({ fresh: true });
  });

  it('moves to a private folder where the path is too long, and leaves nothing behind', async () => {
    const long = join(folder, 'x'.repeat(120));
    mkdirSync(long);
    const server = await serve(long, () => Promise.resolve({ ok: true }));
    const path = readFileSync(pointerPath(long), 'utf8');
    expect(statSync(dirname(path)).mode & 0o777).toBe(0o700);
    expect(await askRunning(long, { call: 'me' }, never)).toEqual({ ok: true });
    await server.close();
    expect([path, dirname(path), pointerPath(long)].map((left) => existsSync(left))).toEqual([
      false,
      false,
      false,
    ]);
  });

  it('answers a line that is no call with an error, and goes on', async () => {
    await serve(folder, () => Promise.resolve({ ok: true }));
    const socket = createConnection(socketPath(folder));
    const lines: string[] = [];
    socket.on('data', (chunk) =>
      lines.push(
        ...chunk
          .toString()
          .split('\n')
          .filter((line) => line !== ''),
      ),
    );
    for (const text of ['rubbish', '{"call":"format disk"}', '{"call":"me"}']) {
      socket.write(`${text}\n`);
      await expect.poll(() => lines.length).toBeGreaterThan(0);
    }
    await expect.poll(() => lines.length).toBe(3);
    socket.destroy();
    const replies = lines.map((line) => JSON.parse(line) as { error?: { code: string }; result?: object });
    expect(replies.filter((reply) => reply.error?.code === 'USAGE')).toHaveLength(2);
    expect(replies).toContainEqual({ result: { ok: true } });
  });

  it('outlives a command that is reset while its answer is written', async () => {
    const big = { rows: Array.from({ length: 50_000 }, (_, n) => `row ${String(n)}`) };
    await serve(folder, () => Promise.resolve(big));
    for (let n = 0; n < 5; n++) {
      await new Promise<void>((resolve) => {
        const socket = createConnection(socketPath(folder), () => {
          socket.write('{"call":"me"}\n');
          socket.on('data', (chunk) => {
            if (chunk.length === 1) return; // the connection is taken
            socket.destroy();
            resolve();
          });
        });
        socket.on('error', () => undefined);
      });
    }
    expect(await askRunning(folder, { call: 'me' }, never)).toEqual(big);
  });

  it('says so when a bot holds the socket that answers nothing', async () => {
    const stuck = createServer().listen(socketPath(folder));
    await once(stuck, 'listening');
    await expect(askRunning(folder, { call: 'me' }, never, undefined, 50)).rejects.toMatchObject({
      code: 'REQUEST_TIMEOUT',
      next: expect.stringContaining('stuck in a plugin') as string,
    });
    stuck.close();
  });

  it('waits for a bot that is there as long as the answer takes', async () => {
    await serve(folder, () => new Promise((resolve) => setTimeout(resolve, 200, { late: true })));
    expect(await askRunning(folder, { call: 'me' }, never, undefined, 100)).toEqual({ late: true });
  });

  it('ends a call when who asked has gone, and when the bot stops', async () => {
    const ends: string[] = [];
    const server = await serve(folder, (_call, signal) => {
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          ends.push((signal.reason as Error).message);
          reject(signal.reason as Error);
        });
      });
    });
    const leaving = new AbortController();
    const gone = askRunning(folder, { call: 'me' }, leaving.signal);
    setTimeout(() => {
      leaving.abort(new Error('leaving'));
    }, 50);
    await expect(gone).rejects.toThrow('leaving');
    await expect.poll(() => ends).toEqual(['the command that asked has gone']);

    const waiting = askRunning(folder, { call: 'me' }, never);
    const outcome = expect(waiting).rejects.toMatchObject({ code: 'INTERRUPTED' });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await server.close();
    await outcome;
  });
});
