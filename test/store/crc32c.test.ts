import { describe, expect, it } from 'vitest';
import { fromHex, fromUtf8 } from '../../src/bytes.ts';
import { crc32c, crc32cOfText, maskedCrc32c } from '../../src/store/crc32c.ts';

describe('CRC-32C', () => {
  // RFC 3720, B.4; there in the order in which the bytes are sent.
  it.each([
    ['32 zeros', '00'.repeat(32), 0x8a9136aa],
    ['32 ones', 'ff'.repeat(32), 0x62a8ab43],
    ['32 incrementing', Buffer.from(Array.from({ length: 32 }, (_, i) => i)).toString('hex'), 0x46dd794e],
    [
      '32 decrementing',
      Buffer.from(Array.from({ length: 32 }, (_, i) => 31 - i)).toString('hex'),
      0x113fdb5c,
    ],
    [
      'a read command of iSCSI',
      '01c00000000000000000000000000000140000000000040000000014000000182800000000000000' + '0200000000000000',
      0xd9963a56,
    ],
  ])('is that of RFC 3720: %s', (_, hex, crc) => {
    expect(crc32c(fromHex(hex))).toBe(crc);
  });

  it('goes on where another ended, and takes texts as UTF-8', () => {
    const text = 'a key, \u00e9, \u20ac, \u{1f512}';
    expect(crc32cOfText(text)).toBe(crc32c(fromUtf8(text)));
    expect(crc32c(fromUtf8('world'), crc32cOfText('hello '))).toBe(crc32cOfText('hello world'));
  });

  it('is masked as LevelDB does it', () => {
    // Of a full fragment without data: the first header that log_format.md of LevelDB would have for it.
    const crc = crc32c(Uint8Array.of(1));
    const rotated = ((crc >>> 15) | (crc << 17)) >>> 0;
    expect(maskedCrc32c(Uint8Array.of(1))).toBe((rotated + 0xa282ead8) % 2 ** 32);
  });
});
