import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PrivateKey } from '@signalapp/libsignal-client';
import { afterEach, describe, expect, it } from 'vitest';
import { sealAttachment, writeContactList } from '../../src/account/contact-list.ts';
import { uploadAttachment } from '../../src/account/upload.ts';
import { parseAci } from '../../src/address.ts';
import { systemPlatform } from '../../src/platform.ts';
import type { Profile } from '../../src/service/profile.ts';
import { encodeProvisionMessage, parseProvisionMessage } from '../../src/session/provision-message.ts';
import { openProvisionEnvelope, sealProvisionEnvelope } from '../../src/session/provisioning-cipher.ts';
import { openMemory } from '../../src/store/memory.ts';
import { contacts, peers } from '../../src/store/tables.ts';
import { openAttachment, parseContactList } from '../../src/upkeep/contact-stream.ts';
import { pairOf } from '../provisioning/seal.ts';

const { random } = systemPlatform();
const ACI = parseAci('c0ffee00-1234-4abc-8def-0123456789ab');
const OTHER = parseAci('c0ffee00-1234-4abc-8def-0123456789ac');
const OWN = parseAci('c0ffee00-1234-4abc-8def-0123456789ad');

describe('the contact list of a primary device', () => {
  it('names contacts and whoever there is a session with, once, and not ourselves', async () => {
    const store = openMemory();
    const batch = store.batch();
    contacts.put(batch, ACI, { name: 'Ann', number: '+15550001111' });
    for (const aci of [ACI, OTHER, OWN]) peers.put(batch, 'aci', aci, { devices: [] });
    await batch.commit();
    const listed = parseContactList(await writeContactList(store, OWN));
    expect(listed).toHaveLength(2);
    expect(listed).toContainEqual({ aci: ACI, name: 'Ann', number: '+15550001111' });
    expect(listed).toContainEqual({ aci: OTHER, name: undefined, number: undefined });
  });

  it.each([0, 1, 541, 542, 5_000])('is sealed so that linked devices open it: %i bytes', (length) => {
    const content = random.bytes(length);
    const sealed = sealAttachment(content, random);
    expect(openAttachment(sealed.blob, sealed)).toEqual(content);
    expect(sealed.blob.length).toBeGreaterThanOrEqual(541 + 16 + 32);
  });
});

describe('a provision message', () => {
  it('comes out of the envelope as it went in', () => {
    const identity = PrivateKey.generate();
    const pniIdentity = PrivateKey.generate();
    const provision = {
      aci: ACI,
      pni: `PNI:${OTHER}` as never,
      number: '+15550001111',
      code: 'the-code',
      identity: pairOf(identity),
      pniIdentity: pairOf(pniIdentity),
      profileKey: Buffer.alloc(32, 7).toString('base64'),
      masterKey: Buffer.alloc(32, 8).toString('base64'),
      accountEntropyPool: 'a1b2'.repeat(16),
    };
    const code = PrivateKey.generate();
    const message = encodeProvisionMessage(provision, { mediaRootBackupKey: provision.masterKey });
    const envelope = sealProvisionEnvelope(code.getPublicKey().serialize(), message, random);
    expect(parseProvisionMessage(openProvisionEnvelope(code, envelope))).toEqual(provision);
    expect(() => openProvisionEnvelope(PrivateKey.generate(), envelope)).toThrow(
      expect.objectContaining({ code: 'CONTENT_INVALID' }),
    );
  });
});

describe('an upload', () => {
  let close: () => void = () => undefined;
  afterEach(() => {
    close();
  });
  const profile = { ca: undefined } as Profile;
  const blob = random.bytes(1_000);

  /** A CDN that writes down what it is asked, and answers with `status`. */
  async function cdn(status: number): Promise<{ url: string; asked: string[]; bodies: Buffer[] }> {
    const asked: string[] = [];
    const bodies: Buffer[] = [];
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        asked.push(`${request.method ?? ''} ${request.url ?? ''}`);
        bodies.push(Buffer.concat(chunks));
        response.writeHead(request.method === 'PUT' ? 200 : status, { Location: '/session/1' }).end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    close = () => server.close();
    return { url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`, asked, bodies };
  }

  it.each([
    [2, ['POST /up', 'PUT /session/1']],
    [3, ['POST /up']],
  ] as const)('goes to CDN %i in its way', async (number, expected) => {
    const { url, asked, bodies } = await cdn(201);
    const form = { cdn: number, key: 'k', headers: { host: 'other', a: 'b' }, location: `${url}/up` };
    await uploadAttachment(profile, form, blob, AbortSignal.timeout(5_000));
    expect(asked).toEqual(expected);
    expect(bodies.at(-1)?.equals(blob)).toBe(true);
  });

  it('that is refused, or meant for an unknown CDN, has a code', async () => {
    const { url } = await cdn(403);
    for (const number of [2, 3, 9]) {
      const form = { cdn: number, key: 'k', headers: {}, location: `${url}/up` };
      await expect(uploadAttachment(profile, form, blob, AbortSignal.timeout(5_000))).rejects.toMatchObject({
        code: 'REQUEST_REFUSED',
      });
    }
  });
});
