/** `countersign verify` on the development server: two accounts, each a data directory of its own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DemoPhone } from '../../../src/cli/demo-phone.ts';
import { main } from '../../../src/cli/main.ts';
import { memoryIo, type MemoryIo } from '../../cli/memory-io.ts';

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

  it('verifies through bots that run', async () => {
    const bots = [await alice.bot('verify'), await bob.bot('verify', 'echo')];
    const [a, b] = await verify();
    expect(a).toMatchObject({ event: 'verified', aci: bob.phone.aci, acknowledged: true });
    expect(b).toMatchObject({ event: 'verified', aci: alice.phone.aci, acknowledged: true });
    expect(a['check']).toMatch(/^\d{6}$/);
    expect(b['check']).toBe(a['check']);
    const { value } = await alice.run('trust', 'show', bob.phone.aci);
    expect(value).toMatchObject({ aci: bob.phone.aci, state: 'verified', identityKey: a['identityKey'] });
    for (const { io, code } of bots) {
      io.stop.abort();
      expect(await code).toBe(0);
    }
  });
});
