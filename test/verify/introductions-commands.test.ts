/** `countersign introduce` on the development server: three accounts, each a data directory of its own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DemoPhone } from '../../src/cli/demo-phone.ts';
import { main } from '../../src/cli/main.ts';
import { memoryIo, type MemoryIo } from '../support/memory-io.ts';

const never = new AbortController().signal;

interface Command {
  readonly io: MemoryIo;
  readonly code: Promise<number>;
}

class Side {
  readonly phone: DemoPhone;
  readonly #folder: string;
  #running: Command | undefined;

  constructor(folder: string, phone: DemoPhone) {
    this.#folder = folder;
    this.phone = phone;
  }

  get aci(): string {
    return this.phone.aci;
  }

  start(...argv: string[]): Command {
    const env = {
      COUNTERSIGN_SERVER: join(this.#folder, 'server.json'),
      COUNTERSIGN_DATA: join(this.#folder, this.aci),
    };
    const io = memoryIo({ cwd: this.#folder, env });
    return { io, code: main(argv, io) };
  }

  async run(...argv: string[]): Promise<{ code: number; value: Record<string, unknown> }> {
    const { io, code } = this.start(...argv, '--json');
    return { code: await code, value: io.lines().at(-1) ?? {} };
  }

  async text(...argv: string[]): Promise<string> {
    const { io, code } = this.start(...argv);
    expect(await code).toBe(0);
    return io.out();
  }

  async link(): Promise<void> {
    const linking = this.start('link', '--insecure-plain-store', '--qr', 'none', '--json');
    const { url } = await linking.io.line(({ event }) => event === 'url');
    await this.phone.scan(String(url));
    expect(await linking.code).toBe(0);
  }

  async bot(): Promise<void> {
    const running = this.start('run', '--plugin', 'verify', '--config', 'config.json', '--json');
    await running.io.line(({ event }) => event === 'ready');
    this.#running = running;
  }

  async stop(): Promise<void> {
    this.#running?.io.stop.abort();
    await this.#running?.code;
    this.#running = undefined;
  }

  async verify(other: Side): Promise<void> {
    const starting = this.start('verify', 'start', other.aci, '--json');
    const { code } = await starting.io.line(({ event }) => event === 'code');
    const file = join(this.#folder, 'code.txt');
    writeFileSync(file, `${String(code)}\n`);
    expect((await other.run('verify', 'enter', this.aci, '--code-file', file)).code).toBe(0);
    expect(await starting.code).toBe(0);
  }

  async stateOf(other: Side): Promise<unknown> {
    return (await this.run('trust', 'show', other.aci)).value['state'];
  }

  async becomes(other: Side, state: string): Promise<void> {
    for (let i = 0; i < 100 && (await this.stateOf(other)) !== state; i++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(await this.stateOf(other)).toBe(state);
  }
}

describe('countersign introduce', () => {
  const folder = mkdtempSync(join(tmpdir(), 'introduce-commands-'));
  const server = memoryIo({ cwd: folder });
  let serving: Promise<number>;
  let alice: Side;
  let bob: Side;
  let carol: Side;
  let id = '';

  beforeAll(async () => {
    serving = main(['devserver', '--profile', 'server.json', '--json'], server);
    const control = String((await server.line(({ event }) => event === 'ready'))['control']);
    writeFileSync(
      join(folder, 'config.json'),
      JSON.stringify({ plugins: { verify: { mayBeIntroduced: true } } }),
    );
    const side = async (name: string): Promise<Side> => {
      const made = new Side(folder, await DemoPhone.create(control, name, never));
      await made.link();
      await made.bot();
      return made;
    };
    [alice, bob, carol] = [await side('Alice'), await side('Bob'), await side('Carol')];
    await alice.verify(bob);
    await alice.verify(carol);
  }, 60_000);

  afterAll(async () => {
    for (const side of [alice, bob, carol]) await side.stop();
    server.stop.abort();
    expect(await serving).toBe(0);
    rmSync(folder, { recursive: true });
  });

  it('vouches for a contact towards another one', async () => {
    const { code, value } = await alice.run('introduce', bob.aci, '--to', carol.aci, '--days', '7');
    expect(code).toBe(0);
    const [line] = value['introductions'] as { id: string; issuedAt: number }[];
    id = line?.id ?? '';
    expect(value).toMatchObject({
      introductions: [{ subject: bob.aci, to: [carol.aci], state: 'given', method: 'pake', group: null }],
    });
    expect(line).toMatchObject({ notAfter: (line?.issuedAt ?? 0) + 7 * 86_400_000 });
    await carol.becomes(bob, 'introduced');
  });

  it('lists what was got and given, for people and for programs', async () => {
    const { value } = await carol.run('introduce', 'list');
    expect(value).toMatchObject({
      received: [{ id, introducer: alice.aci, subject: bob.aci, state: 'used' }],
      issued: [],
    });
    expect(await carol.text('introduce', 'list')).toMatch(
      new RegExp(`^${id} {2}used {2}${bob.aci}, introduced by ${alice.aci} \\(you verified `),
    );
    expect(await alice.text('introduce', 'list')).toContain(
      `${id}  given  ${bob.aci}, introduced by you to ${carol.aci}, until `,
    );
    expect(await carol.text('trust', 'show', bob.aci)).toContain(`introduction by ${alice.aci}`);
  });

  it('takes one back without a bot that runs, too', async () => {
    await alice.stop();
    expect(await alice.run('introduce', 'revoke', id)).toMatchObject({
      code: 0,
      value: { id, state: 'revoked' },
    });
    await carol.becomes(bob, 'tofu');
    await alice.bot();
  });

  it('says what is wrong with a call', async () => {
    const failures: [string[], number, string][] = [
      [['introduce', bob.aci], 2, 'USAGE'],
      [['introduce', bob.aci, '--to', carol.aci, '--days', '91'], 2, 'USAGE'],
      [['introduce', 'nobody', '--to', carol.aci], 1, 'RECIPIENT_UNKNOWN'],
      [['introduce', bob.aci, '--to', alice.aci], 1, 'INTRODUCTION_INVALID'],
      [['introduce', 'revoke', 'ff'], 1, 'ROW_UNKNOWN'],
    ];
    for (const [argv, code, name] of failures) {
      expect(await alice.run(...argv)).toMatchObject({ code, value: { error: { code: name } } });
    }
    expect(await carol.run('introduce', bob.aci, '--to', alice.aci)).toMatchObject({
      code: 1,
      value: { error: { code: 'PEER_UNVERIFIED' } },
    });
  });

  it('has help with examples', async () => {
    const help = await alice.text('introduce', '--help');
    for (const part of [
      'introduce [options] [command] <subject>',
      '--to <contact...>',
      'list',
      'revoke',
      'introduce +15550100',
    ])
      expect(help).toContain(part);
    expect(await alice.text('introduce', 'revoke', '--help')).toContain('<id>');
  });
});
