/** `countersign verify` on the development server: two accounts, each a data directory of its own. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAci } from '../../../src/address.ts';
import { openLevel } from '../../../src/store/level.ts';
import { contacts } from '../../../src/store/tables.ts';
import { startCommand, type Command } from '../../support/json-command.ts';
import { ServedFolder } from '../../support/served-folder.ts';
import { Side } from '../../support/side.ts';
import { until } from '../../support/until.ts';

/** Names a contact, while no bot runs. */
async function name(side: Side, other: Side, as: string): Promise<void> {
  const store = await openLevel(side.data, { secret: { kind: 'plain' }, create: false });
  const batch = store.batch();
  contacts.put(batch, parseAci(other.aci), { name: as });
  await batch.commit();
  await store.close();
}

describe('verify start and verify enter', () => {
  let folder: ServedFolder;
  let alice: Side;
  let bob: Side;

  beforeAll(async () => {
    folder = await ServedFolder.open('verify-commands');
    alice = await Side.link(folder, 'Alice');
    bob = await Side.link(folder, 'Bob');
  });

  afterAll(async () => {
    await folder.close();
  });

  async function verify(...options: string[]): Promise<[Record<string, unknown>, Record<string, unknown>]> {
    const starting = alice.start('verify', 'start', bob.aci, ...options);
    const { code } = await starting.io.line(({ event }) => event === 'code');
    writeFileSync(join(folder.path, 'code.txt'), `${String(code)}\n`);
    const entered = await bob.run('verify', 'enter', alice.aci, '--code-file', 'code.txt');
    expect(entered.io.out()).not.toContain('error');
    expect(entered.code).toBe(0);
    expect(await starting.code).toBe(0);
    return [starting.io.lines().at(-1) ?? {}, entered.value];
  }

  async function stop(...bots: readonly Command[]): Promise<void> {
    for (const bot of bots) expect(await bot.stop()).toBe(0);
  }

  it('verifies through bots that run', async () => {
    const bots = [await alice.bot('verify'), await bob.bot('verify', 'echo')];
    const [a, b] = await verify();
    expect(a).toMatchObject({ event: 'verified', aci: bob.aci, acknowledged: true });
    expect(b).toMatchObject({ event: 'verified', aci: alice.aci, acknowledged: true });
    expect(a['check']).toMatch(/^\d{6}$/);
    expect(b['check']).toBe(a['check']);
    const { value } = await alice.run('trust', 'show', bob.aci);
    expect(value).toMatchObject({ aci: bob.aci, state: 'verified', identityKey: a['identityKey'] });
    await stop(...bots);
  });

  it('verifies without a bot that runs: goes online, and stays until all is said', async () => {
    const [a, b] = await verify('--words');
    expect(a).toMatchObject({ event: 'verified', aci: bob.aci });
    expect(b).toMatchObject({
      event: 'verified',
      aci: alice.aci,
      acknowledged: true,
      check: a['check'],
    });
    expect((await alice.run('outbox')).value).toEqual({ rows: [] });
  });

  it('keeps what is not of the run for the next bot', async () => {
    const starting = alice.start('verify', 'start', bob.aci);
    const { code } = await starting.io.line(({ event }) => event === 'code');
    await bob.phone.write(alice.phone, '!ping');
    writeFileSync(join(folder.path, 'code.txt'), String(code));
    expect((await bob.run('verify', 'enter', alice.aci, '--code-file', 'code.txt')).code).toBe(0);
    expect(await starting.code).toBe(0);
    const bot = await alice.bot('echo');
    await bob.phone.messages(({ text }) => text === 'pong');
    await stop(bot);
  });

  it('needs the plugin where a bot runs', async () => {
    const bot = await alice.bot('echo');
    const { code, value } = await alice.run('verify', 'start', bob.aci);
    expect([code, value]).toMatchObject([1, { error: { code: 'PLUGIN_NOT_LOADED' } }]);
    await stop(bot);
  });

  it('shows, cancels and unlocks', async () => {
    const bots = [await alice.bot('verify'), await bob.bot('verify')];
    const starting = alice.start('verify', 'start', bob.aci);
    await starting.io.line(({ event }) => event === 'code');
    const shown = (await alice.run('verify', 'status')).value;
    expect(shown).toMatchObject({ runs: [{ aci: bob.aci, state: 'offered' }, { state: 'verified' }] });
    expect((await alice.run('verify', 'cancel', bob.aci)).value).toEqual({
      cancelled: [bob.aci],
    });
    expect(await starting.code).toBe(1);
    const { error } = starting.io.lines().at(-1) ?? {};
    expect(error).toMatchObject({ code: 'INTERRUPTED' });
    expect((error as { next: string }).next).toContain('countersign verify status tells');
    expect(await alice.text('verify', 'status')).toContain('verified  answers repeated frames until');
    expect((await alice.run('verify', 'unlock', bob.aci)).value).toEqual({ unlocked: bob.aci });
    expect((await alice.run('verify', 'enter', bob.aci)).value).toMatchObject({
      error: { code: 'USAGE' },
    });
    await stop(...bots);
  });

  it('V-20, V-21, V-25: says in words how the code goes, on which device it is typed, and what the digits are for', async () => {
    await name(bob, alice, 'Alice A.');
    const bots = [await alice.bot('verify'), await bob.bot('verify')];
    const { io: talking, code: starting } = startCommand(['verify', 'start', bob.aci], alice.world);
    await until(() => /never send it: \d{3} \d{3} \d/.test(talking.out()));
    expect(talking.out()).toContain('Read this out, by phone or in person');
    const spoken = /never send it: ([\d ]+)/.exec(talking.out())?.[1] ?? '';
    await until(() => bots[1]?.io.err().includes('asks to verify') === true);

    const { io: typing, code: entering } = startCommand(['verify', 'enter', alice.aci], {
      ...bob.world,
      terminal: true,
    });
    await until(() => typing.err().includes('Code: '));
    expect(typing.err()).toContain(`Alice A. (${alice.aci}) asks to verify`);
    expect(typing.err()).toContain('on this device only');
    expect(typing.err()).toContain('Never type a code that came as a text.');
    const keyboard = typing.stdin as unknown as PassThrough;
    keyboard.write('12\n');
    await until(() => typing.err().includes('nothing was spent'));
    keyboard.write(`${spoken}\n`);
    expect([await starting, await entering]).toEqual([0, 0]);
    for (const io of [typing, talking])
      expect(io.out()).toMatch(
        /Both of you see (\d{6}); read it out if you like\. If it differs: countersign trust revoke /,
      );
    expect(talking.out()).toMatch(/step 4 of 4/);
    await stop(...bots);
  });
});
