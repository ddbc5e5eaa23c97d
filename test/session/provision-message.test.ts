import { readFileSync } from 'node:fs';
import { PrivateKey } from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { fromBase64 } from '../../src/bytes.ts';
import { signal } from '../../src/proto/messages.js';
import { encodeProvisionMessage, parseProvisionMessage } from '../../src/session/provision-message.ts';
import { ACI, encodeMessage, pairOf, phoneAccount, PNI, provisionMessage } from '../provisioning/seal.ts';

interface Vectors {
  readonly aci: string;
  readonly pni: string;
  readonly cases: readonly { name: string; message: string }[];
}
const vectors = JSON.parse(
  readFileSync(new URL('../vectors/provisioning.json', import.meta.url), 'utf8'),
) as Vectors;

const phone = phoneAccount();

function parse(change: signal.ProvisionMessage.$Properties): ReturnType<typeof parseProvisionMessage> {
  return parseProvisionMessage(encodeMessage(provisionMessage(phone, change)));
}

describe('a provision message', () => {
  it('is read with every field', () => {
    expect(parse({})).toEqual({
      aci: ACI,
      pni: `PNI:${PNI}`,
      number: '+15555550123',
      code: 'the-code',
      identity: pairOf(phone.identity),
      pniIdentity: pairOf(phone.pniIdentity),
      profileKey: Buffer.alloc(32, 7).toString('base64'),
      accountEntropyPool: 'a1b2'.repeat(16),
      masterKey: Buffer.alloc(32, 8).toString('base64'),
    });
  });

  it('is written so that it reads the same, with what else a phone would say', () => {
    const provision = parse({});
    const mediaRootBackupKey = Buffer.alloc(32, 9).toString('base64');
    const bytes = encodeProvisionMessage(provision, { mediaRootBackupKey });
    expect(parseProvisionMessage(bytes)).toEqual(provision);
    const { userAgent, readReceipts, provisioningVersion, aci, pni } = signal.ProvisionMessage.decode(bytes);
    expect({ userAgent, readReceipts, provisioningVersion, aci, pni }).toEqual({
      userAgent: 'Countersign',
      readReceipts: false,
      provisioningVersion: 1,
      aci: ACI,
      pni: PNI,
    });
    expect([...(signal.ProvisionMessage.decode(bytes).mediaRootBackupKey ?? [])]).toEqual(
      Array<number>(32).fill(9),
    );
  });

  it.each(vectors.cases)('is read as another implementation wrote it: $name', (vector) => {
    const provision = parseProvisionMessage(fromBase64(vector.message));
    expect(provision.aci).toBe(vectors.aci);
    expect(provision.pni).toBe(vector.name.includes('without a number') ? null : vectors.pni);
  });

  it('takes the ids from the text fields of older phones', () => {
    const provision = parse({ aciBinary: null, pniBinary: null, aci: ACI.toUpperCase(), pni: PNI });
    expect([provision.aci, provision.pni]).toEqual([ACI, `PNI:${PNI}`]);
  });

  it('may lack the PNI as a whole', () => {
    const none = { pniBinary: null, pniIdentityKeyPublic: null, pniIdentityKeyPrivate: null, number: null };
    expect(parse(none)).toMatchObject({ pni: null, pniIdentity: null, number: null });
  });

  const other = PrivateKey.generate();
  const refused: [string, signal.ProvisionMessage.$Properties][] = [
    ['names no ACI', { aciBinary: null }],
    ['has an ACI of the wrong length', { aciBinary: new Uint8Array(15) }],
    ['lacks the identity', { aciIdentityKeyPublic: null }],
    ['has halves that do not belong together', { aciIdentityKeyPrivate: other.serialize() }],
    [
      'has PNI halves that do not belong together',
      { pniIdentityKeyPublic: other.getPublicKey().serialize() },
    ],
    ['has a PNI without identity', { pniIdentityKeyPublic: null, pniIdentityKeyPrivate: null }],
    ['has a PNI identity without PNI', { pniBinary: null }],
    ['lacks the code', { provisioningCode: null }],
    ['is of a newer version', { provisioningVersion: 2 }],
    ['has a short profile key', { profileKey: new Uint8Array(31) }],
  ];
  it.each(refused)('is refused when it %s', (_, change) => {
    expect(() => parse(change)).toThrow(expect.objectContaining({ code: 'CONTENT_INVALID' }));
  });
});
