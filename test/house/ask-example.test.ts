/** docs/examples/ask.ts, run as docs/rounds.md says: a process for each party, against a development server. */
import { createPublicKey, randomBytes, verify } from 'node:crypto';
import { copyFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromHex, fromUtf8, toHex } from '../../src/bytes.ts';
import { DemoPhone } from '../../src/cli/demo-phone.ts';
import { linkTo } from '../../src/cli/demo-bot.ts';
import { answerTrust } from '../../src/cli/trust-calls.ts';
import { startDevServer, type DevServer } from '../../src/devserver/devserver.ts';
import { me, type Me } from '../../src/inspect.ts';
import { systemPlatform } from '../../src/platform.ts';
import { parseProfile } from '../../src/service/profile.ts';
import { openLevel } from '../../src/store/level.ts';
import type { Store } from '../../src/store/store.ts';
import { blocks, readDocument, Running, top } from '../house/documents.ts';

const NAMES = ['anna', 'bert', 'carol'] as const;
type Name = (typeof NAMES)[number];
const EXAMPLES = ['ask.ts', 'coin.ts', 'coin-toss.ts'];
const platform = systemPlatform();

interface Dealt {
  readonly publicKey: string;
  readonly keys: readonly object[];
}

describe('docs/examples/ask.ts', { timeout: 120_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'ask-example-test-'));
  const file = (name: string): string => join(folder, name);
  const who = new Map<Name, Me>();
  let server: DevServer;

  beforeAll(async () => {
    server = await startDevServer();
    // The folder is a package that gives the sources by the name of the package.
    const exports = { '.': './countersign.ts', './rounds': './rounds.ts' };
    writeFileSync(file('package.json'), JSON.stringify({ name: 'countersign', type: 'module', exports }));
    writeFileSync(file('countersign.ts'), `export * from '${join(top, 'src/index.ts')}';\n`);
    writeFileSync(file('rounds.ts'), `export * from '${join(top, 'src/rounds/index.ts')}';\n`);
    symlinkSync(join(top, 'node_modules'), file('node_modules'));
    for (const name of EXAMPLES) copyFileSync(join(top, 'docs/examples', name), file(name));
    writeFileSync(file('bot.key'), randomBytes(32).toString('base64'));
    writeFileSync(file('server.json'), JSON.stringify(server.profile));
    const stores: Store[] = [];
    for (const name of NAMES) stores.push(await linked(name));
    const contacts = [...who.values()].map(({ aci, identityKey }) => ({ aci, identityKey }));
    for (const store of stores) {
      const call = { call: 'trust import', contacts, fileHash: '' } as const;
      await answerTrust({ store, platform, bot: undefined }, call);
      await store.close();
    }
    writeGroup('group.json', NAMES);
    writeGroup('pair.json', ['anna', 'carol']);
  }, 60_000);

  afterAll(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });

  async function linked(name: Name): Promise<Store> {
    const secret = { kind: 'key-file', file: file('bot.key') } as const;
    const store = await openLevel(file(name), { secret, create: true, platform });
    const phone = await DemoPhone.create(server.controlUrl, name, AbortSignal.timeout(30_000));
    const profile = parseProfile(JSON.stringify(server.profile), folder);
    await linkTo(phone, { store, profile, platform, name }, AbortSignal.timeout(30_000));
    who.set(name, await me(store));
    return store;
  }

  function writeGroup(to: string, names: readonly Name[]): void {
    writeFileSync(file(to), names.map((name) => JSON.stringify(who.get(name))).join('\n'));
  }

  /** @returns what it prints, and the program that goes on */
  async function run(
    name: Name,
    asked: string,
    input: object,
    group = 'group.json',
  ): Promise<[object, Running]> {
    const [given, tsx] = [`${name}.input.json`, import.meta.resolve('tsx')];
    writeFileSync(file(given), JSON.stringify(input));
    const command = `exec "${process.execPath}" --import "${tsx}" ask.ts ${name} ${asked} ${given} ${group}`;
    const program = new Running(command, folder, { ...process.env });
    return [JSON.parse(await program.match(/^(\{"(?:publicKey|coin)".*\})$/m)) as object, program];
  }

  async function runToEnd(...args: Parameters<typeof run>): Promise<object> {
    const [result, program] = await run(...args);
    expect(await program.stop(), program.output).toBe(0);
    return result;
  }

  it('deals, takes shares in, and signs with two of three', async () => {
    const { publicKey, keys } = (await runToEnd('anna', 'frost deal', { min: 2 })) as Dealt;
    const order = NAMES.map((name) => who.get(name)?.aci ?? '').sort();
    const signers = ['anna', 'carol'] as const;
    for (const name of signers) {
      const key = keys[order.indexOf(who.get(name)?.aci ?? '')];
      expect(await runToEnd(name, 'frost import', { key })).toEqual({ publicKey });
    }
    const input = { publicKey, message: toHex(fromUtf8('pay')) };
    const signing = await Promise.all(signers.map((name) => run(name, 'frost sign', input, 'pair.json')));
    for (const [, program] of signing) expect(await program.stop(), program.output).toBe(0);
    const [one, two] = signing.map(([result]) => result) as { signature: string }[];
    expect(one).toEqual(two);
    const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), fromHex(publicKey)]);
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    expect(verify(null, fromUtf8('pay'), key, fromHex(one?.signature ?? ''))).toBe(true);
  });

  it('tosses a coin with the plugin coin.ts', async () => {
    const tossing = await Promise.all(NAMES.map((name) => run(name, './coin.ts toss', {})));
    for (const [, program] of tossing) expect(await program.stop(), program.output).toBe(0);
    const coins = tossing.map(([result]) => (result as { coin: string }).coin);
    expect(coins[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(new Set(coins).size).toBe(1);
  });

  it('is shown in docs/rounds.md, and coin.ts is', () => {
    const shown = blocks(readDocument('docs/rounds.md'), 'ts');
    for (const name of ['ask.ts', 'coin.ts']) expect(shown).toContain(readDocument(`docs/examples/${name}`));
  });
});
