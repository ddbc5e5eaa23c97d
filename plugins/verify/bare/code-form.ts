/**
 * What a code looks like, where no OFFER says its format: the dialling side of a run has to know whether the other side
 * has made the code, and will send an OFFER, or both were given one that was agreed beforehand, and it is A itself
 * (role rules 1 and 3).
 *
 * Seven digits, or three words of the list, were made by the other side; anything else of 10 characters or more was
 * agreed. An agreed code of three list words or of seven digits is therefore not one; nobody is told so but by time.
 * Spec: verification brief, sections 2 and 5.
 */
import { normaliseCode } from '../code.ts';
import type { Format } from '../messages/frame.ts';

export interface Form {
  readonly format: Format;
  /** Normalised. */
  readonly text: string;
}

/** Digits and what people put between them. */
const DIGITS = /^[\p{Nd}\s\p{Pd}.]+$/u;
const CODE_DIGITS = 7;

/** @returns undefined when it can be a code of no format */
export function formOf(typed: string): Form | undefined {
  const digits = typed.match(/\p{Nd}/gu)?.length ?? 0;
  if (DIGITS.test(typed) && digits <= CODE_DIGITS) return inFormat(1, typed);
  return inFormat(2, typed) ?? inFormat(3, typed);
}

/** @returns undefined when it can be no code of this format */
export function inFormat(format: Format, typed: string): Form | undefined {
  const result = normaliseCode(format, typed);
  return 'fault' in result ? undefined : { format, text: result.text };
}
