/** `countersign introduce` on the development server: three accounts, each a data directory of its own. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Command } from '../support/json-command.ts';
import { ServedFolder } from '../support/served-folder.ts';
import { Side } from '../support/side.ts';
import { until } from '../support/until.ts';

let folder: ServedFolder;
let bots: Map<Side, Command>;

async function start(side: Side): Promise<void> {
  bots.set(side, await side.listen('--plugin', 'verify', '--config', 'config.json'));
}

async function verify(creator: Side, enterer: Side): Promise<void> {
  const starting = creator.start('verify', 'start', enterer.aci);
  const { code } = await starting.io.line(({ event }) => event === 'code');
  writeFileSync(join(folder.path, 'code.txt'), `${String(code)}\n`);
  expect((await enterer.run('verify', 'enter', creator.aci, '--code-file', 'code.txt')).code).toBe(0);
  expect(await starting.code).toBe(0);
}

/** Waits until one trusts the other so. */
async function becomes(side: Side, other: Side, state: string): Promise<void> {
  const show = (): ReturnType<Side['run']> => side.run('trust', 'show', other.aci);
  await until(async () => (await show()).value['state'] === state, state);
}

describe('countersign introduce', () => {
  let alice: Side;
  let bob: Side;
  let carol: Side;
  let id = '';

  beforeAll(async () => {
    bots = new Map();
    folder = await ServedFolder.open('introduce-commands');
    const config = { plugins: { verify: { mayBeIntroduced: true } } };
    writeFileSync(join(folder.path, 'config.json'), JSON.stringify(config));
    alice = await Side.link(folder, 'Alice');
    bob = await Side.link(folder, 'Bob');
    carol = await Side.link(folder, 'Carol');
    for (const side of [alice, bob, carol]) await start(side);
    await verify(alice, bob);
    await verify(alice, carol);
  }, 60_000);

  afterAll(async () => {
    for (const bot of bots.values()) await bot.stop();
    await folder.close();
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
    await becomes(carol, bob, 'introduced');
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
    await bots.get(alice)?.stop();
    expect(await alice.run('introduce', 'revoke', id)).toMatchObject({
      code: 0,
      value: { id, state: 'revoked' },
    });
    await becomes(carol, bob, 'tofu');
    await start(alice);
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
