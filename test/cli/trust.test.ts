import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { answerTrust } from '../../src/cli/trust-calls.ts';
import { Identities } from '../../src/identities/identities.ts';
import { ownKeys } from '../../src/session/own-identity.ts';
import { openLevel } from '../../src/store/level.ts';
import type { Store } from '../../src/store/store.ts';
import { account, exposures, identityRows, outboxRows } from '../../src/store/tables.ts';
import { newRow } from '../../src/store/outbox-row.ts';
import { makePeer, type Peer } from '../support/peer.ts';
import { testPlatform } from '../support/clock.ts';
import { runJson, type Ended } from '../support/json-command.ts';
import { memoryIo } from '../support/memory-io.ts';

const AT = Date.UTC(2026, 4, 3);

/** One linked device's store without a bot, used by the tests in their order. */
describe('trust and safety-number, without a running bot', () => {
  const folder = mkdtempSync(join(tmpdir(), 'trust-test-'));
  const data = join(folder, 'data');
  let us: Peer;
  let bob: Peer;

  const json = (...argv: string[]): Promise<Ended> =>
    runJson(argv, { cwd: folder, env: { COUNTERSIGN_DATA: data } });

  beforeAll(async () => {
    [us, bob] = [await makePeer(), await makePeer()];
    const store = await openLevel(data, {
      secret: { kind: 'plain' },
      create: true,
      platform: testPlatform(),
    });
    const batch = store.batch();
    account.put(batch, us.account);
    identityRows.put(batch, bob.aci, { key: bob.account.identity.publicKey, state: 'tofu', since: 1 });
    const held = newRow({ recipient: bob.aci, timestamp: 5, kind: 'text', content: new Uint8Array(1) });
    outboxRows.put(batch, bob.aci, 5, { ...held, state: 'held', error: 'PEER_UNVERIFIED' });
    exposures.put(batch, bob.aci, AT, {
      at: AT,
      falseKeys: [],
      messages: [{ timestamp: AT - 9, devices: [1] }],
    });
    await batch.commit();
    await store.close();
  });

  const opened = async (work: (store: Store) => Promise<void>): Promise<void> => {
    const store = await openLevel(data, {
      secret: { kind: 'plain' },
      create: false,
      platform: testPlatform(),
    });
    try {
      await work(store);
    } finally {
      await store.close();
    }
  };

  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it('shows what is known of a contact, and why', async () => {
    expect(await json('trust', 'show', bob.aci)).toMatchObject({
      code: 0,
      value: { aci: bob.aci, state: 'tofu', candidate: null, evidence: [], parked: 0, held: 1 },
    });
  });

  it('lists what was read by someone else', async () => {
    const messages = [{ timestamp: AT - 9, devices: [1] }];
    expect((await json('trust', 'show', bob.aci)).value['exposed']).toEqual([
      { at: AT, falseKeys: [], messages },
    ]);
    const io = memoryIo({ cwd: folder, env: { COUNTERSIGN_DATA: data } });
    expect(await main(['trust', 'show', bob.aci], io)).toBe(0);
    expect(io.out()).toContain('a false key was proven; read by someone else: 1\n             2026-05-02');
  });

  it('compares safety numbers in full; a match verifies and lets go what was held', async () => {
    const { value } = await json('safety-number', bob.aci, '--qr', 'number.png');
    const digits = String(value['digits']);
    expect(digits).toMatch(/^\d{60}$/);
    expect(statSync(join(folder, 'number.png')).size).toBeGreaterThan(500);
    expect(await json('safety-number', bob.aci, '--compare', digits.slice(0, 30))).toMatchObject({
      value: { error: { code: 'USAGE' } },
    });
    const wrong = `${digits.slice(0, 59)}${String((Number(digits.at(-1)) + 1) % 10)}`;
    expect(await json('safety-number', bob.aci, '--compare', wrong)).toMatchObject({
      code: 1,
      value: { digits, match: false },
    });
    expect((await json('trust', 'show', bob.aci)).value).toMatchObject({ state: 'tofu' });
    const grouped = (digits.match(/.{5}/g) ?? []).join(' ');
    expect(await json('safety-number', bob.aci, '--compare', grouped)).toMatchObject({
      code: 0,
      value: { digits, match: true },
    });
    expect((await json('trust', 'show', bob.aci)).value).toMatchObject({
      state: 'verified',
      held: 0,
      evidence: [{ kind: 'safety-number', by: 'operator' }],
    });
  });

  it('revokes, accepts again, and lists', async () => {
    expect(await json('trust', 'revoke', bob.aci)).toMatchObject({ code: 0, value: { state: 'revoked' } });
    const { publicKey } = bob.account.identity;
    expect((await json('trust', 'show', bob.aci)).value).toMatchObject({ revoked: [publicKey] });
    expect(await json('trust', 'accept', bob.aci)).toMatchObject({ code: 0, value: { state: 'tofu' } });
    expect(await json('trust', 'accept', bob.aci)).toMatchObject({
      code: 1,
      value: { error: { code: 'ROW_UNKNOWN' } },
    });
    expect((await json('trust', 'list')).value).toMatchObject({
      contacts: [{ aci: bob.aci, state: 'tofu', identityKey: publicKey }],
    });
  });

  it('says of a revoked key that its digits verify nothing, and how to send to the contact again', async () => {
    await json('trust', 'revoke', bob.aci);
    const { digits } = (await json('safety-number', bob.aci)).value;
    const io = memoryIo({ cwd: folder, env: { COUNTERSIGN_DATA: data } });
    expect(await main(['safety-number', bob.aci, '--compare', String(digits)], io)).toBe(0);
    expect(io.out()).toContain('it matches, but that key was revoked: the contact is changed');
    await json('trust', 'revoke', bob.aci);
    await opened(async (store) => {
      const identities = new Identities(testPlatform().clock, ownKeys(us.account));
      const refusal = await identities.refusal(store.batch(), bob.aci, 'tofu');
      expect(refusal).toMatchObject({ code: 'IDENTITY_CHANGED' });
      expect(refusal?.next).toContain('revoked by mistake: countersign trust accept');
    });
    await json('trust', 'accept', bob.aci);
  });

  it('imports a list that the operator vouches for, and leaves out what it calls less than verified', async () => {
    const [carol, dave] = [await makePeer(), await makePeer()];
    const line = (peer: Peer, state?: string): object => ({
      aci: peer.aci,
      identityKey: peer.account.identity.publicKey,
      ...(state === undefined ? {} : { state }),
    });
    const contacts = [line(bob, 'verified'), line(carol), line(dave, 'tofu')];
    writeFileSync(join(folder, 'list.json'), JSON.stringify({ contacts }));
    const { code, value } = await json('trust', 'import', 'list.json');
    expect([code, value['contacts']]).toMatchObject([
      0,
      [
        { aci: bob.aci, state: 'verified' },
        { aci: carol.aci, state: 'verified' },
      ],
    ]);
    const shown = (await json('trust', 'show', carol.aci)).value['evidence'];
    expect(shown).toMatchObject([{ kind: 'imported', by: 'operator' }]);
    writeFileSync(join(folder, 'bad.json'), '{"contacts":[{"aci":"x","identityKey":"BQ=="}]}');
    expect((await json('trust', 'import', 'bad.json')).value).toMatchObject({
      error: { code: 'CONTENT_INVALID' },
    });
    expect(readFileSync(join(folder, 'bad.json'), 'utf8')).toContain('"x"');
    expect((await json('trust', 'import', 'bad.json')).value).toMatchObject({
      error: { next: expect.stringContaining('Ask whoever has made it') as string },
    });
    // A group as another program may have saved it.
    const group = [carol, bob].map((peer) => `  ${JSON.stringify({ ...line(peer), deviceId: 2 })}\r\n`);
    writeFileSync(join(folder, 'group.json'), `\ufeff${group.join('\r\n')}`);
    expect(await json('trust', 'import', 'group.json')).toMatchObject({ code: 0 });
  });

  it('imports nothing of a file that contradicts a verified key, however often it is read', async () => {
    const [erin, frank, other] = [await makePeer(), await makePeer(), await makePeer()];
    const file = (name: string, keys: readonly (readonly [Peer, Peer])[]): void => {
      const contacts = keys.map(([{ aci }, { account: of }]) => ({
        aci,
        identityKey: of.identity.publicKey,
      }));
      writeFileSync(join(folder, name), JSON.stringify({ contacts }));
    };
    file('true.json', [[erin, erin]]);
    file('false.json', [[frank, frank], [erin, other]]); // prettier-ignore
    file('own.json', [[us, other], [frank, frank]]); // prettier-ignore
    await json('trust', 'import', 'true.json');
    const before = (await json('trust', 'list')).value;
    for (const name of ['false.json', 'false.json', 'own.json']) {
      const { code, value } = await json('trust', 'import', name);
      const about = name === 'own.json' ? 'this account itself' : erin.aci;
      const message = `the file has another identity key of ${about}`;
      expect([code, value]).toMatchObject([1, { error: { code: 'IDENTITY_CHANGED', message } }]);
      expect((await json('trust', 'list')).value).toEqual(before);
    }
    expect((await json('trust', 'show', erin.aci)).value).toMatchObject({
      state: 'verified',
      candidate: null,
    });
    // The way out that the error names.
    await json('trust', 'revoke', erin.aci);
    expect(await json('trust', 'import', 'false.json')).toMatchObject({ code: 0 });
    expect((await json('trust', 'show', erin.aci)).value).toMatchObject({
      state: 'verified',
      identityKey: other.account.identity.publicKey,
    });
    // Nor does it take a key that was said to be bad.
    expect(await json('trust', 'import', 'true.json')).toMatchObject({
      value: { error: { code: 'IDENTITY_CHANGED' } },
    });
    // Unless it is taken off that list, and the other put on it.
    await json('trust', 'accept', erin.aci, '--key', erin.account.identity.publicKey);
    await json('trust', 'revoke', erin.aci);
    expect(await json('trust', 'import', 'true.json')).toMatchObject({ code: 0 });
  });

  it('V-32: keeps the rules of the operator', async () => {
    expect((await json('trust', 'policy')).value).toEqual({ keyChange: 'block', plugins: {} });
    await json('trust', 'policy', 'echo', '--inbound', 'verified');
    await json('trust', 'policy', 'echo', '--command', 'ping', '--inbound', 'tofu');
    expect((await json('trust', 'policy', '--key-change', 'follow')).value).toEqual({
      keyChange: 'follow',
      plugins: { echo: { inbound: 'verified', commands: { ping: { inbound: 'tofu' } } } },
    });
    expect(await json('trust', 'policy', '--inbound', 'any')).toMatchObject({ code: 2 });
  });

  it('takes rules away again, and has none under names that nothing can have', async () => {
    await json('trust', 'policy', 'dice', '--outbound', 'verified');
    const without = async (...argv: string[]): Promise<unknown> =>
      (await json('trust', 'policy', ...argv, '--remove')).value['plugins'];
    const echo = { inbound: 'verified' };
    expect(await without('echo', '--command', 'ping')).toEqual({ echo, dice: { outbound: 'verified' } });
    expect(await without('dice')).toEqual({ echo });
    expect(await without('nobody')).toEqual({ echo });
    expect(await without('echo')).toEqual({});
    for (const argv of [
      ['__proto__', '--inbound', 'verified'],
      ['echo', '--command', '__proto__', '--inbound', 'verified'],
      ['echo', '--command', 'ping'],
      ['echo', '--remove', '--inbound', 'verified'],
      ['--remove'],
    ])
      expect(await json('trust', 'policy', ...argv)).toMatchObject({
        code: 2,
        value: { error: { code: 'USAGE' } },
      });
    expect((await json('trust', 'policy')).value['plugins']).toEqual({});
  });

  it('hints at rules for what a running bot does not have', async () => {
    const info = { name: 'echo', version: '1', tags: [], permissions: [], commands: ['ping'] };
    const bot = { trust: undefined, installed: [info] };
    await opened(async (store) => {
      const hint = async (plugin: string, command?: string): Promise<unknown> => {
        const call = { call: 'trust policy', plugin, command, inbound: 'verified' } as const;
        const answer = await answerTrust({ store, platform: testPlatform(), bot }, call);
        return 'hint' in answer ? answer.hint : undefined;
      };
      expect(await hint('eco')).toBe('the bot that runs has no plugin eco; it has echo');
      expect(await hint('echo', 'pin')).toBe('the plugin echo has no command pin; it has ping');
      expect(await hint('echo', 'ping')).toBeUndefined();
      expect(await hint('echo')).toBeUndefined();
    });
  });
});
