import { PrivateKey } from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { fromBase64 } from '../../src/bytes.ts';
import { formatLinkUrl, parseLinkUrl } from '../../src/session/link-url.ts';

const publicKey = PrivateKey.generate().getPublicKey().serialize();

describe('the link', () => {
  it('percent-encodes address and key', () => {
    const key = fromBase64('Bfvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv');
    const url = formatLinkUrl({ address: 'AAECAwQFBgcICQoLDA0ODw==', publicKey: key });
    expect(url).toMatch(
      /^sgnl:\/\/linkdevice\?uuid=AAECAwQFBgcICQoLDA0ODw%3D%3D&pub_key=[A-Za-z0-9%]+&capabilities=$/,
    );
    expect(parseLinkUrl(url)).toEqual({ address: 'AAECAwQFBgcICQoLDA0ODw==', publicKey: key });
  });

  it('is read in its older form, and with a bare plus in the key', () => {
    const key = Buffer.from(publicKey).toString('base64');
    expect(parseLinkUrl(`tsdevice:/?uuid=abc&pub_key=${key}`)).toEqual({ address: 'abc', publicKey });
  });

  it.each([
    '',
    'https://example.org',
    'sgnl://linkdevice?uuid=abc',
    'sgnl://linkdevice?uuid=abc&pub_key=AAAA',
    'sgnl://linkdevice?uuid=a&pub_key=%ff',
    `sgnl://linkdevice?uuid=a&pub_key=${'B'.repeat(44)}`, // 33 bytes that are no key
  ])('is refused as %j', (text) => {
    expect(() => parseLinkUrl(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });
});
