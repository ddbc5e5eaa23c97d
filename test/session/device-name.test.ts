import { readFileSync } from 'node:fs';
import { PrivateKey } from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { fromBase64, toBase64 } from '../../src/bytes.ts';
import { decryptDeviceName, encryptDeviceName } from '../../src/session/device-name.ts';

interface Vectors {
  readonly identityPrivateKey: string;
  readonly cases: readonly { name: string; ephemeralPrivateKey: string; encrypted: string }[];
}
const vectors = JSON.parse(
  readFileSync(new URL('../vectors/device-name.json', import.meta.url), 'utf8'),
) as Vectors;
const identity = PrivateKey.deserialize(fromBase64(vectors.identityPrivateKey));

describe('the device name', () => {
  it.each(vectors.cases)('is encrypted as another implementation does: $name', (vector) => {
    const ephemeral = PrivateKey.deserialize(fromBase64(vector.ephemeralPrivateKey));
    const encrypted = encryptDeviceName(vector.name, identity.getPublicKey(), ephemeral);
    expect(toBase64(encrypted)).toBe(vector.encrypted);
    expect(decryptDeviceName(fromBase64(vector.encrypted), identity)).toBe(vector.name);
  });

  it('stays within the 225 bytes that servers take', () => {
    expect(encryptDeviceName('ü'.repeat(65), identity.getPublicKey()).length).toBeLessThanOrEqual(225);
  });

  it.each(['', '   ', 'x'.repeat(131)])('is refused when empty or too long', (name) => {
    expect(() => encryptDeviceName(name, identity.getPublicKey())).toThrow(
      expect.objectContaining({ code: 'USAGE' }),
    );
  });

  it('is not read with another identity, nor when changed', () => {
    const encrypted = encryptDeviceName('bot', identity.getPublicKey());
    const invalid = expect.objectContaining({ code: 'CONTENT_INVALID' }) as Error;
    expect(() => decryptDeviceName(encrypted, PrivateKey.generate())).toThrow(invalid);
    const changed = Uint8Array.from(encrypted);
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
    expect(() => decryptDeviceName(changed, identity)).toThrow(invalid);
  });
});
