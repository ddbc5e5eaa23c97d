/**
 * Retry-After, as the servers give it: whole seconds (protocol brief, 1.7 and 1.9).
 */

/** What is asked for is believed up to a day; a server that says more has made a mistake. */
const LONGEST_MS = 24 * 60 * 60 * 1000;

/** @returns ms; undefined when the header is missing or is not a number of seconds */
export function parseRetryAfter(value: string | undefined): number | undefined {
  if (value === undefined || !/^\s*[0-9]{1,12}\s*$/.test(value)) return undefined;
  return Math.min(Number(value) * 1000, LONGEST_MS);
}
