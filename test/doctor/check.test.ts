import { getEventListeners } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ok, walk, type Check, type Step } from '../../src/doctor/check.ts';
import { checkPort, shakeHands } from '../../src/doctor/network.ts';
import { ManualClock, settle } from '../support/clock.ts';
import { profileOf } from './examined.ts';

function listeners(signal: AbortSignal): number {
  return getEventListeners(signal, 'abort').length;
}

describe('a step', () => {
  it('leaves no listener behind, neither on its signal nor on that of the walk', async () => {
    const over = new AbortController();
    const clock = new ManualClock();
    let given: AbortSignal | undefined;
    const steps: Step[] = [
      {
        name: 'one',
        run: (signal) => {
          given = signal;
          return ok('fine');
        },
      },
    ];
    const checks: Check[] = [];
    for await (const check of walk(steps, { clock, blocked: new Set() }, over.signal)) checks.push(check);
    expect(checks).toEqual([{ name: 'one', state: 'ok', message: 'fine' }]);
    expect(given && listeners(given)).toBe(0);
    expect([listeners(over.signal), clock.sleeping]).toEqual([0, 0]);
  });

  it('that cannot be ended is left by its deadline, and by the end of the walk', async () => {
    const clock = new ManualClock();
    const stuck: Step = { name: 'stuck', run: () => new Promise(() => undefined) };
    const over = new AbortController();
    const found = walk([stuck], { clock, blocked: new Set() }, over.signal).next();
    await settle();
    await clock.advance(15_000);
    expect((await found).value).toMatchObject({ state: 'fail', message: 'no answer within 15 s' });
    const cut = walk([stuck], { clock, blocked: new Set() }, over.signal).next();
    await settle();
    over.abort(new Error('enough'));
    await expect(cut).rejects.toThrow('enough');
  });
});

describe('a look at the port', () => {
  const server = createServer((socket) => socket.destroy());
  let chat = '';
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    chat = `https://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  });
  afterAll(() => {
    server.close();
  });

  it.each([
    ['plainly', checkPort, 'ok'],
    ['by TLS', shakeHands, 'fail'],
  ] as const)('%s leaves no listener behind', async (_how, look, state) => {
    const { signal } = new AbortController();
    expect(await look(profileOf({ chat }), signal)).toMatchObject({ state });
    await settle();
    expect(listeners(signal)).toBe(0);
  });

  it('ends its socket with the signal', async () => {
    const silent = createServer();
    const taken = new Promise<Socket>((resolve) => silent.once('connection', resolve));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const over = new AbortController();
    const port = String((silent.address() as AddressInfo).port);
    shakeHands(profileOf({ chat: `https://127.0.0.1:${port}` }), over.signal).catch(() => undefined);
    const socket = await taken;
    over.abort();
    await new Promise((resolve) => socket.resume().once('close', resolve));
    silent.close();
  });
});
