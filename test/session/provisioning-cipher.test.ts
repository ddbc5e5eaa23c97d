import { readFileSync } from 'node:fs';
import { PrivateKey } from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { fromBase64, fromUtf8, toBase64 } from '../../src/bytes.ts';
import { signal } from '../../src/proto/messages.js';
import { openProvisionEnvelope } from '../../src/session/provisioning-cipher.ts';
import { seal } from '../provisioning/seal.ts';

interface Vectors {
  readonly cases: readonly {
    name: string;
    qrPrivateKey: string;
    qrPublicKey: string;
    envelope: string;
    message: string;
  }[];
}
const vectors = JSON.parse(
  readFileSync(new URL('../vectors/provisioning.json', import.meta.url), 'utf8'),
) as Vectors;

describe('the provisioning cipher', () => {
  it.each(vectors.cases)('opens what another implementation sealed: $name', (vector) => {
    const key = PrivateKey.deserialize(fromBase64(vector.qrPrivateKey));
    expect(toBase64(key.getPublicKey().serialize())).toBe(vector.qrPublicKey);
    expect(toBase64(openProvisionEnvelope(key, fromBase64(vector.envelope)))).toBe(vector.message);
  });

  it('refuses an envelope that was sealed for another code', () => {
    const sealed = seal(fromUtf8('hello'), PrivateKey.generate().getPublicKey());
    expect(() => openProvisionEnvelope(PrivateKey.generate(), sealed)).toThrow(
      expect.objectContaining({
        code: 'CONTENT_INVALID',
        message: expect.stringContaining('another code') as string,
      }),
    );
  });

  it('refuses an envelope in which any byte of the body has changed', () => {
    const key = PrivateKey.generate();
    const sealed = signal.ProvisionEnvelope.decode(seal(fromUtf8('hello'), key.getPublicKey()));
    const body = sealed.body ?? new Uint8Array();
    for (let at = 0; at < body.length; at++) {
      const changed = Uint8Array.from(body);
      changed[at] = (changed[at] ?? 0) ^ 1;
      const bytes = signal.ProvisionEnvelope.encode({ publicKey: sealed.publicKey, body: changed }).finish();
      expect(() => openProvisionEnvelope(key, bytes)).toThrow(
        expect.objectContaining({ code: 'CONTENT_INVALID' }),
      );
    }
  });

  it.each([0, 1, 64, 80])('refuses a body of %d bytes', (length) => {
    const publicKey = PrivateKey.generate().getPublicKey().serialize();
    const bytes = signal.ProvisionEnvelope.encode({
      publicKey,
      body: new Uint8Array(length).fill(1),
    }).finish();
    expect(() => openProvisionEnvelope(PrivateKey.generate(), bytes)).toThrow(
      expect.objectContaining({ code: 'CONTENT_INVALID' }),
    );
  });

  it('refuses an envelope without a key, or with one that is none', () => {
    const body = new Uint8Array(200).fill(1);
    for (const publicKey of [null, new Uint8Array(33)]) {
      const bytes = signal.ProvisionEnvelope.encode({ publicKey, body }).finish();
      expect(() => openProvisionEnvelope(PrivateKey.generate(), bytes)).toThrow(
        expect.objectContaining({ code: 'CONTENT_INVALID' }),
      );
    }
  });
});
