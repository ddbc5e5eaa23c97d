/** `countersign rounds` on the development server: a command that was stopped leaves a ceremony, which is seen and ended. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Command } from '../support/json-command.ts';
import { ServedFolder } from '../support/served-folder.ts';
import { Side, writeGroup } from '../support/side.ts';

interface Line {
  readonly id: string;
  readonly protocol: string;
  readonly round: number;
  readonly waitingFor: readonly { readonly index: number; readonly aci: string }[];
  readonly state: string;
}

describe('rounds list, show and abort', { timeout: 60_000 }, () => {
  let folder: ServedFolder;
  let alice: Side;
  let bob: Side;
  let carol: Side;
  let bot: Command;

  beforeAll(async () => {
    folder = await ServedFolder.open('rounds-commands');
    alice = await Side.link(folder, 'Alice');
    bob = await Side.link(folder, 'Bob');
    carol = await Side.link(folder, 'Carol');
    await writeGroup(join(folder.path, 'group.json'), [alice, bob, carol]);
    for (const side of [alice, bob]) {
      const { code, io } = await side.run('trust', 'import', 'group.json');
      if (code !== 0) throw new Error(io.out());
    }
    bot = await bob.bot('threshold-bls');
  }, 60_000);

  afterAll(async () => {
    await bot.stop();
    await folder.close();
  });

  function keygen(side: Side, out: string): Command {
    return side.start('bls', 'keygen', '-t', '1', '-n', '3', '--group', 'group.json', '-o', out);
  }

  async function listed(side: Side): Promise<readonly Line[]> {
    const { code, value } = await side.run('rounds', 'list');
    expect(code).toBe(0);
    return value['ceremonies'] as readonly Line[];
  }

  let id = '';

  it('show a ceremony that a stopped command has left open, with a bot and without', async () => {
    expect(await listed(alice)).toEqual([]);
    expect(await listed(bob)).toEqual([]);
    const [ours, theirs] = [keygen(alice, 'alice.json'), keygen(bob, 'bob.json')];
    await expect.poll(async () => (await listed(bob))[0]?.waitingFor.length, { timeout: 20_000 }).toBe(1);
    ours.io.stop.abort();
    expect(await ours.code).toBe(1);
    expect(ours.io.err()).toContain('countersign rounds abort');

    const [line] = await listed(alice);
    id = line?.id ?? '';
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    expect(line).toMatchObject({ protocol: 'countersign.bls-keygen/1', round: 0, state: 'gathering' });
    expect(line?.waitingFor.map(({ aci }) => aci)).toContain(carol.phone.aci);
    expect(await listed(bob)).toMatchObject([{ id, waitingFor: [{ aci: carol.phone.aci }] }]);
    const shown = await alice.run('rounds', 'show', id.slice(0, 8));
    expect(shown).toMatchObject({ code: 0, value: { ...line, ceremonyId: null, end: null } });

    const ended = await alice.run('rounds', 'abort', id.slice(0, 8), '--reason', 'the group is wrong');
    expect(ended).toMatchObject({ code: 0, value: { id, state: 'aborted' } });
    expect(await theirs.code).toBe(1);
    expect(theirs.io.lines().at(-1)).toMatchObject({
      error: { code: 'CEREMONY_ENDED', message: 'the ceremony has ended: the group is wrong' },
    });
    expect(await listed(bob)).toMatchObject([{ id, state: 'aborted', waitingFor: [] }]);
  });

  it('end one through the bot that runs', async () => {
    const theirs = keygen(bob, 'again.json');
    await expect.poll(async () => (await listed(bob))[0]?.state, { timeout: 20_000 }).toBe('gathering');
    expect(await bob.run('rounds', 'abort', id, '--reason', 'not today')).toMatchObject({ code: 0 });
    expect(await theirs.code).toBe(1);
    expect(theirs.io.lines().at(-1)).toMatchObject({
      error: { message: 'the ceremony has ended: not today' },
    });
  });

  it.each([
    [['show', 'ffffffffffffffff'], 1, 'ROW_UNKNOWN'],
    [['abort', 'ffffffffffffffff'], 1, 'ROW_UNKNOWN'],
    [['show', 'nothing'], 2, 'USAGE'],
    [['abort', 'ffffffffffffffff', '--reason', ' '], 2, 'USAGE'],
    [['show'], 2, 'USAGE'],
  ])('answer %j with a code', async (argv, code, error) => {
    for (const side of [alice, bob])
      expect(await side.run('rounds', ...argv)).toMatchObject({ code, value: { error: { code: error } } });
  });

  it('say that it has ended already', async () => {
    expect(await bob.run('rounds', 'abort', id)).toMatchObject({
      code: 1,
      value: { error: { code: 'CEREMONY_ENDED' } },
    });
  });

  it('are shown to people in lines, and explained', async () => {
    for (const argv of [['list'], ['show', id]]) {
      const said = await bob.text('rounds', ...argv);
      expect(said).toContain(id.slice(0, 12));
      expect(said).toContain('aborted');
    }
    expect(await bob.text('rounds', 'abort', '--help')).toContain('Examples:');
  });
});
