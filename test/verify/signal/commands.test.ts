/** `countersign verify` on the development server: two accounts, each a data directory of its own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DemoPhone } from '../../../src/cli/demo-phone.ts';
import { main } from '../../../src/cli/main.ts';
import { parseAci } from '../../../src/address.ts';
import { systemPlatform } from '../../../src/platform.ts';
import { openLevel } from '../../../src/store/level.ts';
import { contacts } from '../../../src/store/tables.ts';
import { memoryIo, type MemoryIo } from '../../support/memory-io.ts';

const never = new AbortController().signal;

interface Command {
  readonly io: MemoryIo;
  readonly code: Promise<number>;
}

class Side {
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

  start(...argv: string[]): Command {
    const io = memoryIo({ cwd: this.folder, env: this.env });
    return { io, code: main([...argv, '--json'], io) };
  }

  async run(...argv: string[]): Promise<{ code: number; value: Record<string, unknown>; io: MemoryIo }> {
    const { io, code } = this.start(...argv);
    return { code: await code, value: io.lines().at(-1) ?? {}, io };
  }

  async link(): Promise<void> {
    const linking = this.start('link', '--insecure-plain-store', '--qr', 'none');
    const { url } = await linking.io.line(({ event }) => event === 'url');
    await this.phone.scan(String(url));
    expect(await linking.code).toBe(0);
  }

  /** As its contacts have it, while no bot runs. */
  async name(other: Side, name: string): Promise<void> {
    const platform = systemPlatform();
    const store = await openLevel(join(this.folder, this.phone.aci), {
      ...{ secret: { kind: 'plain' }, create: false, platform },
    });
    const batch = store.batch();
    contacts.put(batch, parseAci(other.phone.aci), { name });
    await batch.commit();
    await store.close();
  }

  async bot(...plugins: string[]): Promise<Command> {
    const running = this.start('run', ...plugins.flatMap((name) => ['--plugin', name]));
    await running.io.line(({ event }) => event === 'ready');
    return running;
  }
}

describe('verify start and verify enter', () => {
  const folder = mkdtempSync(join(tmpdir(), 'verify-commands-'));
  const server = memoryIo({ cwd: folder });
  let serving: Promise<number>;
  let alice: Side;
  let bob: Side;

  beforeAll(async () => {
    serving = main(['devserver', '--profile', 'server.json', '--json'], server);
    const ready = await server.line(({ event }) => event === 'ready');
    const control = String(ready['control']);
    alice = new Side(folder, await DemoPhone.create(control, 'Alice', never));
    bob = new Side(folder, await DemoPhone.create(control, 'Bob', never));
    await alice.link();
    await bob.link();
  });

  afterAll(async () => {
    server.stop.abort();
    expect(await serving).toBe(0);
    rmSync(folder, { recursive: true });
  });

  async function verify(...options: string[]): Promise<[Record<string, unknown>, Record<string, unknown>]> {
    const starting = alice.start('verify', 'start', bob.phone.aci, ...options);
    const { code } = await starting.io.line(({ event }) => event === 'code');
    writeFileSync(join(folder, 'code.txt'), `${String(code)}\n`);
    const entered = await bob.run('verify', 'enter', alice.phone.aci, '--code-file', 'code.txt');
    expect(entered.io.out()).not.toContain('error');
    expect(entered.code).toBe(0);
    expect(await starting.code).toBe(0);
    return [starting.io.lines().at(-1) ?? {}, entered.value];
  }

  async function stop(...bots: readonly Command[]): Promise<void> {
    for (const { io, code } of bots) {
      io.stop.abort();
      expect(await code).toBe(0);
    }
  }

  it('verifies through bots that run', async () => {
    const bots = [await alice.bot('verify'), await bob.bot('verify', 'echo')];
    const [a, b] = await verify();
    expect(a).toMatchObject({ event: 'verified', aci: bob.phone.aci, acknowledged: true });
    expect(b).toMatchObject({ event: 'verified', aci: alice.phone.aci, acknowledged: true });
    expect(a['check']).toMatch(/^\d{6}$/);
    expect(b['check']).toBe(a['check']);
    const { value } = await alice.run('trust', 'show', bob.phone.aci);
    expect(value).toMatchObject({ aci: bob.phone.aci, state: 'verified', identityKey: a['identityKey'] });
    await stop(...bots);
  });

  it('verifies without a bot that runs: goes online, and stays until all is said', async () => {
    const [a, b] = await verify('--words');
    expect(a).toMatchObject({ event: 'verified', aci: bob.phone.aci });
    expect(b).toMatchObject({
      event: 'verified',
      aci: alice.phone.aci,
      acknowledged: true,
      check: a['check'],
    });
    expect((await alice.run('outbox')).value).toEqual({ rows: [] });
  });

  it('keeps what is not of the run for the next bot', async () => {
    const starting = alice.start('verify', 'start', bob.phone.aci);
    const { code } = await starting.io.line(({ event }) => event === 'code');
    await bob.phone.write(alice.phone, '!ping');
    writeFileSync(join(folder, 'code.txt'), String(code));
    expect((await bob.run('verify', 'enter', alice.phone.aci, '--code-file', 'code.txt')).code).toBe(0);
    expect(await starting.code).toBe(0);
    const bot = await alice.bot('echo');
    await bob.phone.messages(({ text }) => text === 'pong');
    await stop(bot);
  });

  it('needs the plugin where a bot runs', async () => {
    const bot = await alice.bot('echo');
    const { code, value } = await alice.run('verify', 'start', bob.phone.aci);
    expect([code, value]).toMatchObject([1, { error: { code: 'PLUGIN_NOT_LOADED' } }]);
    await stop(bot);
  });

  it('shows, cancels and unlocks', async () => {
    const bots = [await alice.bot('verify'), await bob.bot('verify')];
    const starting = alice.start('verify', 'start', bob.phone.aci);
    await starting.io.line(({ event }) => event === 'code');
    const shown = (await alice.run('verify', 'status')).value;
    expect(shown).toMatchObject({ runs: [{ aci: bob.phone.aci, state: 'offered' }, { state: 'verified' }] });
    expect((await alice.run('verify', 'cancel', bob.phone.aci)).value).toEqual({
      cancelled: [bob.phone.aci],
    });
    expect(await starting.code).toBe(1);
    const { error } = starting.io.lines().at(-1) ?? {};
    expect(error).toMatchObject({ code: 'INTERRUPTED' });
    expect((error as { next: string }).next).toContain('countersign verify status tells');
    const words = memoryIo({ cwd: folder, env: alice.env });
    expect(await main(['verify', 'status'], words)).toBe(0);
    expect(words.out()).toContain('verified  answers repeated frames until');
    expect((await alice.run('verify', 'unlock', bob.phone.aci)).value).toEqual({ unlocked: bob.phone.aci });
    expect((await alice.run('verify', 'enter', bob.phone.aci)).value).toMatchObject({
      error: { code: 'USAGE' },
    });
    await stop(...bots);
  });

  it('V-25: says in words how the code goes, and where it is typed', async () => {
    await bob.name(alice, 'Alice A.');
    const bots = [await alice.bot('verify'), await bob.bot('verify')];
    const talking = memoryIo({ cwd: folder, env: alice.env });
    const starting = main(['verify', 'start', bob.phone.aci], talking);
    await eventually(() => /never send it: \d{3} \d{3} \d/.test(talking.out()));
    expect(talking.out()).toContain('Read this out, by phone or in person');
    const spoken = /never send it: ([\d ]+)/.exec(talking.out())?.[1] ?? '';
    await eventually(() => bots[1]?.io.err().includes('asks to verify') === true);

    const typing = memoryIo({ cwd: folder, env: bob.env, terminal: true });
    const entering = main(['verify', 'enter', alice.phone.aci], typing);
    await eventually(() => typing.err().includes('Code: '));
    expect(typing.err()).toContain(`Alice A. (${alice.phone.aci}) asks to verify`);
    expect(typing.err()).toContain('on this device only');
    expect(typing.err()).toContain('Never type a code that came as a text.');
    const keyboard = typing.stdin as unknown as PassThrough;
    keyboard.write('12\n');
    await eventually(() => typing.err().includes('nothing was spent'));
    keyboard.write(`${spoken}\n`);
    expect([await starting, await entering]).toEqual([0, 0]);
    expect(typing.out()).toMatch(/Both of you see \d{6}/);
    expect(talking.out()).toMatch(/step 4 of 4/);
    await stop(...bots);
  });
});

async function eventually(done: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(done()).toBe(true);
}
