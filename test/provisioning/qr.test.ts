import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PrivateKey } from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { qrPng, qrSvg, qrTerminal, writeQrFile } from '../../src/provisioning/qr.ts';
import { formatLinkUrl } from '../../src/session/link-url.ts';

const publicKey = PrivateKey.generate().getPublicKey().serialize();

describe('the link as a picture', () => {
  it('is made for the terminal, as PNG and as SVG', async () => {
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
