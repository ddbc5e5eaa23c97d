import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PrivateKey } from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { fromBase64 } from '../../src/bytes.ts';
import { formatLinkUrl, parseLinkUrl } from '../../src/provisioning/link-url.ts';
import { qrPng, qrSvg, qrTerminal, writeQrFile } from '../../src/provisioning/qr.ts';

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
  ])('is refused as %j', (text) => {
    expect(() => parseLinkUrl(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });

  it('becomes a picture for the terminal, as PNG and as SVG', async () => {
    const url = formatLinkUrl({ address: 'abc', publicKey });
    expect(qrTerminal(url)).toMatch(/[▀▄█]/);
    expect([...(await qrPng(url)).subarray(1, 4)]).toEqual([...Buffer.from('PNG')]);
    expect(await qrSvg(url)).toContain('<svg');
  });

  it('is written to a file that only its owner can read, or refused with a code', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'countersign-qr-'));
    const url = formatLinkUrl({ address: 'abc', publicKey });
    for (const name of ['code.png', 'code.SVG']) {
      const file = join(folder, name);
      await writeQrFile(url, file);
      expect((await stat(file)).mode & 0o777).toBe(0o600);
    }
    for (const name of ['code.gif', 'missing/code.png']) {
      await expect(writeQrFile(url, join(folder, name))).rejects.toMatchObject({ code: 'USAGE' });
    }
    await rm(folder, { recursive: true });
  });
});
