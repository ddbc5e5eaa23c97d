import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Aci } from '../../src/address.ts';
import { concat, fromBase64 } from '../../src/bytes.ts';
import { BotError } from '../../src/errors.ts';
import type { Store } from '../../src/store/store.ts';
import { contacts, facts } from '../../src/store/tables.ts';
import { openAttachment, parseContactList } from '../../src/upkeep/contact-stream.ts';
import { syncContacts, type Download } from '../../src/upkeep/contact-sync.ts';
import { downloadAttachment } from '../../src/upkeep/download.ts';
import { testPlatform } from '../support/clock.ts';
import { contact, encryptBlob, record, type Blob } from './contact-blob.ts';
import { linkedStore, profileWith } from './fixtures.ts';

const ALICE = '11111111-1111-4111-8111-111111111111' as Aci;
const BOB = '22222222-2222-4222-8222-222222222222' as Aci;
const never = new AbortController().signal;
const list = concat(
  record(contact(ALICE, 'Alice', '+15555550100'), new Uint8Array(300).fill(9)),
  record({ name: 'no ACI', number: '+15555550101' }),
  record({ name: 'Bob', aci: BOB.toUpperCase() }),
);
let store: Store;

beforeEach(async () => {
  store = await linkedStore();
});

async function leave(fact: unknown): Promise<void> {
  const batch = store.batch();
  facts.put(batch, 'contactsBlob', fact);
  await batch.commit();
}

function sync(download: Download): ReturnType<typeof syncContacts> {
  return syncContacts({ store, platform: testPlatform(), profile: profileWith(), download }, never);
}

async function pointer(): Promise<unknown> {
  return await facts.get(store.batch(), 'contactsBlob');
}

describe('a contact list', () => {
  it('is parsed past avatars, without those who have no ACI', () => {
    expect(parseContactList(list)).toEqual([
      { aci: ALICE, number: '+15555550100', name: 'Alice' },
      { aci: BOB, number: undefined, name: 'Bob' },
    ]);
  });

  it('is refused when it ends too early', () => {
    for (const length of [1, 5, 200, list.length - 1]) {
      expect(() => parseContactList(list.subarray(0, length))).toThrow(
        expect.objectContaining({ code: 'CONTENT_INVALID' }),
      );
    }
  });

  it('is decrypted only when digest, MAC and size are right', () => {
    const { blob, fact } = encryptBlob(list);
    const secrets = { key: fromBase64(fact.key), digest: fromBase64(fact.digest), size: fact.size };
    expect(openAttachment(blob, secrets)).toEqual(list);
    const invalid = expect.objectContaining({ code: 'CONTENT_INVALID' }) as Error;
    expect(() => openAttachment(blob, { ...secrets, digest: new Uint8Array(32) })).toThrow(invalid);
    expect(() => openAttachment(blob, { ...secrets, key: new Uint8Array(64) })).toThrow(invalid);
    expect(() => openAttachment(blob, { ...secrets, size: 10_000 })).toThrow(invalid);
    expect(() => openAttachment(blob.subarray(1), secrets)).toThrow(invalid);
  });
});

describe('contact sync', () => {
  it('has nothing to do without a pointer', async () => {
    expect(await sync(() => Promise.reject(new Error('asked')))).toBe('nothing');
  });

  it('writes names and numbers, keeps what else is known, and removes the pointer', async () => {
    const { blob, fact } = encryptBlob(list);
    await leave(fact);
    const batch = store.batch();
    contacts.put(batch, ALICE, { blocked: true, name: 'old' });
    await batch.commit();
    expect(await sync(() => Promise.resolve(blob))).toBe('done');
    expect(await contacts.get(store.batch(), ALICE)).toEqual({
      blocked: true,
      name: 'Alice',
      number: '+15555550100',
    });
    expect(await contacts.get(store.batch(), BOB)).toEqual({ name: 'Bob' });
    expect(await pointer()).toBeUndefined();
  });

  it('keeps a newer pointer that came meanwhile', async () => {
    const { blob, fact } = encryptBlob(list);
    const newer = encryptBlob(list).fact;
    await leave(fact);
    const outcome = await sync(async () => {
      await leave(newer);
      return blob;
    });
    expect([outcome, await pointer()]).toEqual(['done', newer]);
  });

  it('fails four times and gives up at the fifth', async () => {
    await leave(encryptBlob(list).fact);
    const away: Download = () => Promise.reject(new BotError('SERVER_UNREACHABLE', 'away'));
    for (let attempt = 1; attempt < 5; attempt++)
      await expect(sync(away)).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
    expect(await sync(away)).toBe('given-up');
    expect(await pointer()).toBeUndefined();
  });

  it('keeps the pointer where the profile names no such CDN', async () => {
    const { fact } = encryptBlob(list, 3);
    await leave(fact);
    const parts = { store, platform: testPlatform(), profile: profileWith() };
    expect(await syncContacts(parts, never)).toBe('not-offered');
    expect(await pointer()).toEqual(fact);
  });

  it('forgets a pointer that is none', async () => {
    await leave({ cdnKey: null, cdnId: null, key: null, digest: null, size: null });
    expect(await sync(() => Promise.reject(new Error('asked')))).toBe('given-up');
    expect(await pointer()).toBeUndefined();
  });
});

describe('a download', () => {
  let server: Server;
  let blob: Blob;
  const asked: string[] = [];

  beforeEach(async () => {
    blob = encryptBlob(list);
    asked.length = 0;
    server = createServer((request, response) => {
      asked.push(request.url ?? '');
      if (request.url?.endsWith('missing') === true) response.writeHead(404).end();
      else response.end(blob.blob);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterEach(() => {
    server.close();
    server.closeAllConnections();
  });

  function download(name: string, maxBytes: number): ReturnType<typeof downloadAttachment> {
    const base = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/`;
    const profile = { ...profileWith(), cdn: { '0': undefined, '2': base, '3': undefined } };
    return downloadAttachment(profile, { cdnNumber: 2, name }, maxBytes, never);
  }

  it('asks for the percent-encoded key and gives the bytes', async () => {
    expect(await download('the/key', 10_000)).toEqual(blob.blob);
    expect(asked).toEqual(['/attachments/the%2Fkey']);
  });

  it('stops at the limit, and says when there is nothing', async () => {
    await expect(download('key', 100)).rejects.toMatchObject({ code: 'CONTENT_INVALID' });
    await expect(download('missing', 100)).rejects.toMatchObject({ code: 'REQUEST_REFUSED' });
  });

  it('says when the CDN cannot be reached', async () => {
    const profile = { ...profileWith(), cdn: { '0': undefined, '2': 'http://127.0.0.1:1', '3': undefined } };
    const failing = downloadAttachment(profile, { cdnNumber: 2, name: 'x' }, 100, never);
    await expect(failing).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' });
  });
});
