/**
 * Guard: finds a live code in a text, so that it is not sent over the channel that it is there to check (V-20).
 *
 * Spaces, hyphens, case and the script of digits make no difference; the check digit may be there or not. The codes
 * themselves are kept by whoever shows them, in memory, for as long as their runs live (V-19).
 * Spec: verification brief, section 5.
 */
import { toLatinDigits } from './code.ts';

/** @param code normalised, as scrypt takes it */
export function mentionsCode(text: string, code: string): boolean {
  return squeeze(text).includes(squeeze(code));
}

function squeeze(text: string): string {
  return toLatinDigits(text.normalize('NFKC'))
    .toLowerCase()
    .replace(/[\s\p{Pd}]/gu, '');
}
