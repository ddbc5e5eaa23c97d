/** `countersign bls` on the development server: three accounts, each a data directory of its own. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runJson, type Ended } from '../support/json-command.ts';
import { ServedFolder } from '../support/served-folder.ts';
import { Side, writeGroup } from '../support/side.ts';

describe('bls keygen, sign, refresh, keys, forget, export and verify', { timeout: 120_000 }, () => {
  let folder: ServedFolder;
  let sides: Side[];
  let publicKey: string;

  beforeAll(async () => {
    folder = await ServedFolder.open('bls-commands');
    sides = [];
    for (const name of ['Alice', 'Bob', 'Carol']) sides.push(await Side.link(folder, name));
    await writeGroup(join(folder.path, 'group.json'), sides);
    await writeGroup(join(folder.path, 'pair.json'), sides.slice(0, 2));
    for (const side of sides) {
      const { code, io } = await side.run('trust', 'import', 'group.json');
      if (code !== 0) throw new Error(io.out());
    }
  }, 60_000);

  afterAll(async () => {
    await folder.close();
  });

  function all(which: readonly Side[], argv: (at: number) => string[]): Promise<Ended[]> {
    return Promise.all(which.map((side, at) => side.run(...argv(at))));
  }

  function keyFile(at: number): string {
    return `local-key-${String(at)}.json`;
  }

  function verifies(signature: string, message: string): Promise<Ended> {
    const [side] = sides;
    if (side === undefined) throw new Error('there is nobody');
    return side.run(
      'bls',
      'verify',
      '--public-key',
      publicKey,
      '--signature',
      signature,
      '--message',
      message,
    );
  }

  it('makes one key at three parties', async () => {
    const made = await all(
      sides,
      (at) =>
      ['bls', 'keygen', '-t', '1', '-n', '3', '--group', 'group.json', '-o', keyFile(at)], // prettier-ignore
    );
    expect(made.map(({ code, io }) => [code, code === 0 ? '' : io.out()])).toEqual([[0, ''], [0, ''], [0, '']]); // prettier-ignore
    publicKey = String(made[0]?.value['publicKey']);
    expect(publicKey).toMatch(/^[0-9a-f]{192}$/);
    for (const [at, { value }] of made.entries()) {
      expect(value).toEqual({ publicKey, parties: 3, threshold: 1, share: join(folder.path, keyFile(at)) });
      const file = readFileSync(join(folder.path, keyFile(at)), 'utf8');
      expect(JSON.parse(file)).toEqual({ publicKey, parties: 3, threshold: 1 });
    }
  });

  it('signs with two of them, and the signature verifies', async () => {
    const [alice, bob] = sides;
    const signed = await all(
      [alice, bob] as Side[],
      (at) =>
      ['bls', 'sign', '--local-key', keyFile(at), '--group', 'pair.json', '--message', 'pay 3'], // prettier-ignore
    );
    const signature = String(signed[0]?.value['signature']);
    expect(signed.map(({ value }) => value)).toEqual(
      Array(2).fill({ publicKey, signature, signers: expect.any(Array) as number[] }),
    );
    expect(await verifies(signature, 'pay 3')).toMatchObject({ code: 0, value: { valid: true } });
    expect(await verifies(signature, 'pay 4')).toMatchObject({ code: 1, value: { valid: false } });
  });

  it('signs what has a mebibyte at most, and verifies what is longer', async () => {
    writeFileSync(join(folder.path, 'long.bin'), new Uint8Array(8_000_000));
    const argv = ['--local-key', keyFile(0), '--group', 'pair.json', '--file', 'long.bin'];
    expect(await sides[0]?.run('bls', 'sign', ...argv)).toMatchObject({
      code: 1,
      value: { error: { code: 'PAYLOAD_TOO_LARGE', next: 'Sign its hash in its place.' } },
    });
    const signature = '80'.padEnd(96, '0');
    const options = ['--public-key', publicKey, '--signature', signature, '--file', 'long.bin'];
    expect(await sides[0]?.run('bls', 'verify', ...options)).toMatchObject({
      code: 1,
      value: { valid: false },
    });
  });

  it('refreshes the shares under the same key', async () => {
    writeFileSync(join(folder.path, 'backup.txt'), 'of the file\n');
    const backup = ['old.backup', '--backup-passphrase-file', 'backup.txt'];
    expect(await sides[0]?.run('backup', ...backup)).toMatchObject({ code: 0 });
    const before = await sides[0]?.run('bls', 'export', '--local-key', keyFile(0), '-o', 'before.json');
    expect(before).toMatchObject({ code: 0, value: { publicKey, share: join(folder.path, 'before.json') } });
    const done = await all(sides, (at) => [
      'bls',
      'refresh',
      '--local-key',
      keyFile(at),
      '--group',
      'group.json',
    ]);
    expect(done.map(({ value }) => value['publicKey'])).toEqual([publicKey, publicKey, publicKey]);
    // What is there is not written over, nor what is empty: it may be open elsewhere.
    writeFileSync(join(folder.path, 'empty.json'), '', { mode: 0o644 });
    const write = async (out: string): Promise<Ended | undefined> =>
      sides[0]?.run('bls', 'export', '--local-key', keyFile(0), '-o', out);
    for (const out of ['before.json', 'empty.json'])
      expect(await write(out)).toMatchObject({ code: 2, value: { error: { code: 'USAGE' } } });
    expect(await write('after.json')).toMatchObject({ code: 0 });
    const [old, fresh] = ['before.json', 'after.json'].map(
      (name) => JSON.parse(readFileSync(join(folder.path, name), 'utf8')) as { share: string; epoch: number },
    );
    expect([old?.epoch, fresh?.epoch]).toEqual([0, 1]);
    expect(fresh?.share).not.toBe(old?.share);
    expect(statSync(join(folder.path, 'after.json')).mode & 0o777).toBe(0o600);
  });

  it('signs without an operator at a bot whose policy says so', async () => {
    const [alice, bob] = sides;
    const rule = { keys: [publicKey], proposers: [alice?.phone.aci], prefix: 'pay ' };
    const config = { plugins: { 'threshold-bls': { sign: [rule] } } };
    writeFileSync(join(folder.path, 'bot.json'), JSON.stringify(config));
    const bot = bob?.start('run', '--plugin', 'threshold-bls', '--config', 'bot.json');
    await bot?.io.line(({ event }) => event === 'ready');
    const argv = ['--local-key', keyFile(0), '--group', 'pair.json'];
    const signed = await alice?.run('bls', 'sign', ...argv, '--message', 'pay 7');
    expect(signed?.code).toBe(0);
    const signature = String(signed?.value['signature']);
    expect(await verifies(signature, 'pay 7')).toMatchObject({ code: 0, value: { valid: true } });
    const alone = await alice?.run('bls', 'sign', ...argv, '--message', 'give 7', '--wait', '5');
    expect(alone).toMatchObject({ code: 1, value: { error: { code: 'CEREMONY_ENDED' } } });
    await expect.poll(() => bot?.io.err()).toContain('the message begins otherwise');
    bot?.io.stop.abort();
    expect(await bot?.code).toBe(0);
  });

  it('says of a backup that it undoes a refresh', async () => {
    writeFileSync(join(folder.path, 'backup.txt'), 'of the file\n');
    const argv = ['bot.backup', '--backup-passphrase-file', 'backup.txt'];
    const made = await sides[0]?.run('backup', ...argv);
    expect(made).toMatchObject({
      code: 0,
      value: { notes: [expect.stringContaining('Backups undo a refresh')] },
    });
  });

  it.each([
    [['keygen', '-t', '3', '-n', '3', '--group', 'group.json', '-o', 'none.json']],
    [['keygen', '-t', '0', '-n', '3', '--group', 'group.json', '-o', 'none.json']],
    [['keygen', '-t', '1', '-n', '4', '--group', 'group.json', '-o', 'none.json']],
    [['keygen', '-t', '1', '-n', '3', '--group', 'nothing.json', '-o', 'none.json']],
    [['sign', '--local-key', 'local-key-0.json', '--group', 'pair.json']],
    [['verify', '--public-key', 'ff', '--signature', 'ff', '--message', 'x']],
    [['keys', '-o', 'none.json']],
    [['forget', '--yes']],
  ])('answers %j with USAGE before anything is sent', async (argv) => {
    const ended = await sides[0]?.run('bls', ...argv);
    expect(ended).toMatchObject({ code: 2, value: { error: { code: 'USAGE' } } });
  });

  it('lists its keys, and writes the handle of one anew', async () => {
    const [alice] = sides;
    const listed = await alice?.run('bls', 'keys');
    expect(listed).toMatchObject({
      code: 0,
      value: { keys: [{ publicKey, threshold: 1, parties: 3, epoch: 1, settled: true }] },
    });
    expect(await alice?.text('bls', 'keys')).toContain(
      `public key ${publicKey}\n           2 of 3 sign; party`,
    );
    const argv = ['bls', 'keys', '--public-key', publicKey, '-o', 'again.json'];
    const share = join(folder.path, 'again.json');
    expect(await alice?.run(...argv)).toMatchObject({
      code: 0,
      value: { publicKey, threshold: 1, parties: 3, share },
    });
    expect(readFileSync(share, 'utf8')).toBe(readFileSync(join(folder.path, keyFile(0)), 'utf8'));
    expect(await alice?.run(...argv)).toMatchObject({ code: 2, value: { error: { code: 'USAGE' } } });
    const other = await alice?.run('bls', 'keys', '--public-key', 'ab'.repeat(96));
    expect(other).toMatchObject({ code: 1, value: { error: { code: 'KEY_UNKNOWN' } } });
    // All have confirmed it.
    for (const yes of [[], ['--yes']])
      expect(await alice?.run('bls', 'forget', '--public-key', publicKey, ...yes)).toMatchObject({
        code: 2,
        value: { error: { code: 'USAGE' } },
      });
  });

  it('says at once that a share is of before the refresh, at both', async () => {
    const [alice, bob] = sides;
    if (alice === undefined || bob === undefined) throw new Error('there are three');
    const env = { ...alice.world.env, COUNTERSIGN_DATA: `${alice.data}-restored` };
    const restored = { ...alice.world, env };
    const backup = ['old.backup', '--backup-passphrase-file', 'backup.txt', '--insecure-plain-store'];
    expect(await runJson(['restore', ...backup], restored)).toMatchObject({ code: 0 });
    const began = Date.now();
    const argv = ['bls', 'sign', '--local-key', keyFile(0), '--group', 'pair.json', '--message', 'pay 9'];
    const ended = await Promise.all([runJson(argv, restored), bob.run(...argv)]);
    for (const { code, value } of ended) {
      expect(code).toBe(1);
      const message = expect.stringMatching(/a newer backup of party \d may help$/) as string;
      expect(value).toMatchObject({ error: { code: 'CEREMONY_ENDED', message } });
    }
    expect(Date.now() - began).toBeLessThan(45_000);
  });

  it('has pinned the keys of the group, and deals with nobody whose key is revoked', async () => {
    const [alice, bob] = sides;
    const shown = await alice?.run('trust', 'show', bob?.phone.aci ?? '');
    expect(shown).toMatchObject({ code: 0, value: { state: 'verified' } });
    expect((await alice?.run('trust', 'revoke', bob?.phone.aci ?? ''))?.code).toBe(0);
    const argv = ['--local-key', keyFile(0), '--group', 'pair.json', '--message', 'x'];
    const refused = await alice?.run('bls', 'sign', ...argv);
    expect(refused).toMatchObject({ code: 1, value: { error: { code: 'PEER_UNVERIFIED' } } });
  });
});
