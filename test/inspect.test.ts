import { describe, expect, it } from 'vitest';
import { parseAci, parsePni } from '../src/address.ts';
import { EMPTY } from '../src/bytes.ts';
import {
  dropQuarantined,
  linkedAccount,
  listContacts,
  listOutbox,
  listQuarantine,
  listTrust,
  me,
  resolveRecipient,
  retryDead,
  listDead,
  status,
} from '../src/inspect.ts';
import { openMemory } from '../src/store/memory.ts';
import type { Store } from '../src/store/store.ts';
import type { Account } from '../src/store/rows.ts';
import {
  account,
  contacts,
  deadRows,
  identityRows,
  inboxRows,
  outboxRows,
  prekeys,
  quarantineRows,
} from '../src/store/tables.ts';
import { newRow } from '../src/store/outbox-row.ts';

const own = parseAci('00000000-0000-4000-8000-000000000001');
const anna = parseAci('00000000-0000-4000-8000-00000000000a');
const bert = parseAci('00000000-0000-4000-8000-00000000000b');
const pni = parsePni('00000000-0000-4000-8000-00000000000c');

const linked: Account = {
  aci: own,
  pni,
  number: '+15550000001',
  deviceId: 2,
  password: 'secret',
  name: 'Test bot',
  server: 'http://127.0.0.1:1',
  registrationId: 5,
  pniRegistrationId: 6,
  identity: { publicKey: 'BQ==', privateKey: 'c2VjcmV0' },
  pniIdentity: { publicKey: 'BQU=', privateKey: 'c2VjcmV0' },
  profileKey: null,
  accountEntropyPool: null,
  masterKey: null,
  linkedAt: 1,
  keysUploaded: true,
  unlinkedAt: null,
};

async function storeWith(fill: (batch: ReturnType<Store['batch']>) => void): Promise<Store> {
  const store = openMemory();
  const batch = store.batch();
  account.put(batch, linked);
  fill(batch);
  await batch.commit();
  return store;
}

const inboxRow = {
  source: anna,
  sourceDevice: 1,
  timestamp: 10,
  serverTimestamp: 11,
  sealed: false,
  toPni: false,
  content: EMPTY,
  attempts: 5,
  retryAt: 0,
  error: 'it broke',
  plugin: 'echo',
  receivedAt: 12,
};

/** As the receiver makes them: ms times 1000. */
const ID = 1_795_355_567_865_123;

describe('inspecting an account', () => {
  it('says who it is, without secrets', async () => {
    const found = await me(await storeWith(() => undefined));
    expect(found).toEqual({
      aci: own,
      pni: '00000000-0000-4000-8000-00000000000c',
      number: '+15550000001',
      deviceId: 2,
      name: 'Test bot',
      identityKey: 'BQ==',
      pniIdentityKey: 'BQU=',
      server: 'http://127.0.0.1:1',
    });
  });

  it('tells a store that was never linked from one whose device was removed', async () => {
    await expect(me(openMemory())).rejects.toMatchObject({ code: 'NOT_LINKED' });
    const removed = await storeWith((batch) => {
      account.put(batch, { ...linked, unlinkedAt: 5 });
    });
    await expect(linkedAccount(removed)).rejects.toMatchObject({ code: 'DEVICE_UNLINKED' });
    expect(await me(removed)).toMatchObject({ aci: own });
    expect(await status(removed, { connection: 'stopped', plugins: [] })).toMatchObject({ linked: false });
  });

  it('counts rows, and of one-time keys those that the server can still hand out', async () => {
    const key = { record: EMPTY, createdAt: 1, confirmedAt: 2, usedAt: 0, replacedAt: 0, lastResort: false };
    const store = await storeWith((batch) => {
      inboxRows.put(batch, 1, inboxRow);
      deadRows.put(batch, 2, inboxRow);
      prekeys.put(batch, 'aci', 'ec', 1, key);
      prekeys.put(batch, 'aci', 'ec', 2, { ...key, usedAt: 3 });
      prekeys.put(batch, 'aci', 'ec', 3, { ...key, replacedAt: 3 });
      prekeys.put(batch, 'aci', 'ec', 4, { ...key, confirmedAt: 0 });
      prekeys.put(batch, 'pni', 'kyber', 5, key);
      prekeys.put(batch, 'pni', 'kyber', 6, { ...key, lastResort: true });
    });
    expect(await status(store, { connection: 'online', plugins: ['echo'] })).toEqual({
      linked: true,
      connection: 'online',
      inbox: 1,
      outbox: 0,
      dead: 1,
      quarantine: 0,
      prekeys: { aci: { ec: 1, kyber: 0 }, pni: { ec: 0, kyber: 1 } },
      plugins: ['echo'],
    });
  });

  it('lists everyone that is known, with what is held of their identity', async () => {
    const store = await storeWith((batch) => {
      contacts.put(batch, anna, { number: '+15550000010', name: 'Anna' });
      identityRows.put(batch, anna, { key: 'BQ==', state: 'verified', since: 1 });
      identityRows.put(batch, bert, { key: 'BQ==', state: 'tofu', since: 1 });
      identityRows.put(batch, own, { key: 'BQ==', state: 'tofu', since: 1 });
      contacts.put(batch, pni, { name: 'no ACI yet' });
    });
    expect((await listContacts(store)).contacts).toEqual([
      { aci: anna, number: '+15550000010', name: 'Anna', trust: 'verified' },
      { aci: bert, number: null, name: null, trust: 'tofu' },
    ]);
  });

  it('lists what waits in the outbox', async () => {
    const store = await storeWith((batch) => {
      const row = newRow({ recipient: anna, timestamp: 77, kind: 'text', content: EMPTY });
      outboxRows.put(batch, anna, 77, { ...row, attempts: 2, retryAt: 99, error: 'RATE_LIMITED' });
    });
    expect((await listOutbox(store)).rows).toEqual([
      {
        id: `${anna}/77`,
        recipient: anna,
        timestamp: 77,
        state: 'queued',
        attempts: 2,
        kind: 'text',
        error: 'RATE_LIMITED',
        retryAt: 99,
      },
    ]);
  });

  it('drops from the quarantine only what is there', async () => {
    const row = { source: '', sourceDevice: 0, timestamp: 4, at: 5, reason: 'no session', envelope: EMPTY };
    const store = await storeWith((batch) => {
      quarantineRows.put(batch, 12, row);
    });
    expect((await listQuarantine(store)).rows).toEqual([
      { id: '12', from: null, device: null, timestamp: 4, reason: 'no session' },
    ]);
    await expect(dropQuarantined(store, '13')).rejects.toMatchObject({ code: 'ROW_UNKNOWN' });
    await expect(dropQuarantined(store, 'x')).rejects.toMatchObject({ code: 'ROW_UNKNOWN' });
    await dropQuarantined(store, '12');
    expect((await listQuarantine(store)).rows).toEqual([]);
  });

  it('puts a dead message back into the inbox with its attempts ahead', async () => {
    const store = await storeWith((batch) => {
      deadRows.put(batch, ID, inboxRow);
    });
    expect((await listDead(store)).rows).toEqual([
      { id: String(ID), from: anna, timestamp: 10, plugin: 'echo', attempts: 5, error: 'it broke' },
    ]);
    await retryDead(store, String(ID));
    expect((await listDead(store)).rows).toEqual([]);
    expect(await inboxRows.get(store.batch(), ID)).toMatchObject({ attempts: 0, retryAt: 0, error: '' });
    await expect(retryDead(store, String(ID))).rejects.toMatchObject({ code: 'ROW_UNKNOWN' });
  });

  it('lists identity keys', async () => {
    const store = await storeWith((batch) => {
      identityRows.put(batch, anna, { key: 'BQ==', state: 'changed', since: 1, candidate: 'BQU=' });
      identityRows.put(batch, bert, { key: 'BQ==', state: 'tofu', since: 2 });
    });
    expect((await listTrust(store)).contacts).toContainEqual({
      aci: bert,
      state: 'tofu',
      identityKey: 'BQ==',
      since: 2,
    });
  });

  it('finds a recipient by ACI, PNI, self, number or name, and only if it is one', async () => {
    const store = await storeWith((batch) => {
      contacts.put(batch, anna, { number: '+15550000010', name: 'Anna' });
      contacts.put(batch, bert, { name: 'Anna' });
    });
    expect(await resolveRecipient(store, anna.toUpperCase())).toBe(anna);
    expect(await resolveRecipient(store, pni)).toBe(pni);
    expect(await resolveRecipient(store, 'self')).toBe(own);
    expect(await resolveRecipient(store, '+15550000001')).toBe(own);
    expect(await resolveRecipient(store, '+15550000010')).toBe(anna);
    await expect(resolveRecipient(store, 'Anna')).rejects.toMatchObject({ code: 'RECIPIENT_UNKNOWN' });
    await expect(resolveRecipient(store, 'nobody')).rejects.toMatchObject({ code: 'RECIPIENT_UNKNOWN' });
  });
});
