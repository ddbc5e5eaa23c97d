/**
 * CRC-32C (Castagnoli; RFC 3720, B.4), and the form in which LevelDB writes it beside the bytes that it is of.
 */
import crc32 from 'crc-32/crc32c.js';

const MASK_DELTA = 0xa282ead8;

/**
 * An unsigned 32-bit number.
 * @param before of the bytes that come first
 */
export function crc32c(bytes: Uint8Array, before = 0): number {
  return crc32.buf(bytes, before) >>> 0;
}

/** Of a text in UTF-8. */
export function crc32cOfText(text: string): number {
  return crc32.str(text) >>> 0;
}

/** As LevelDB writes it: turned right by 15 bits, plus a constant, so that a sum over bytes with sums in them is no worse. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}
