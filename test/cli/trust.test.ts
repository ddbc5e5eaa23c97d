import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openLevel } from '../../src/store/level.ts';
import { account, identityRows, outboxRows } from '../../src/store/tables.ts';
import { newRow } from '../../src/store/outbox-row.ts';
import { makePeer, type Peer } from '../support/peer.ts';
import { testPlatform } from '../support/clock.ts';
import { runJson, type Ended } from './json.ts';

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
    await batch.commit();
    await store.close();
  });

  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it('shows what is known of a contact, and why', async () => {
    expect(await json('trust', 'show', bob.aci)).toMatchObject({
      code: 0,
      value: { aci: bob.aci, state: 'tofu', candidate: null, evidence: [], parked: 0, held: 1 },
    });
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
});
