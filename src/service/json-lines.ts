/**
 * JSON that people write: parsing that says in which line the mistake is, and where a field stands.
 */

export type ParsedJson =
  | { readonly ok: true; readonly value: unknown }
  /** `line` counts from 1. */
  | { readonly ok: false; readonly line: number; readonly reason: string };

/** A byte order mark in front is allowed. */
export function parseJson(text: string): ParsedJson {
  const json = text.startsWith('\ufeff') ? text.slice(1) : text;
  try {
    return { ok: true, value: JSON.parse(json) };
  } catch (error) {
    const message = error instanceof Error ? error.message : 'not JSON';
    // Not every message of the engine holds a position; the quoted text would only repeat the file.
    const reason = message.replace(/ in JSON at position .*$|, (?:\.\.\.)?".*$/s, '').replace(/\s+/g, ' ');
    return { ok: false, line: faultLine(json), reason };
  }
}

/**
 * The line of a field, found by the names on its path one after the other.
 * @returns undefined when the path is empty or its first name is not there
 */
export function fieldLine(text: string, path: readonly PropertyKey[]): number | undefined {
  let at = -1;
  for (const name of path) {
    if (typeof name !== 'string') continue;
    const next = keyAt(text, JSON.stringify(name), at + 1);
    if (next < 0) break;
    at = next;
  }
  return at < 0 ? undefined : lineAt(text, at);
}

/** A name is a text that a colon follows. */
function keyAt(text: string, quoted: string, from: number): number {
  for (let at = text.indexOf(quoted, from); at >= 0; at = text.indexOf(quoted, at + 1)) {
    if (/^\s*:/.test(text.slice(at + quoted.length, at + quoted.length + 200))) return at;
  }
  return -1;
}

/** The first line with which the text is wrong whatever follows; the last line when only its end is missing. */
function faultLine(text: string): number {
  const ends: number[] = [];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) ends.push(at + 1);
  ends.push(text.length);
  let low = 0;
  let high = ends.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isUnfinished(text.slice(0, ends[middle]))) low = middle + 1;
    else high = middle;
  }
  return low + 1;
}

/** Whether something could follow that makes it JSON. Cut behind a line's end, so never inside a text or a number. */
function isUnfinished(start: string): boolean {
  try {
    JSON.parse(start);
    return true;
  } catch (error) {
    const message = error instanceof Error ? error.message : '';
    const position = /at position (\d+)/.exec(message)?.[1];
    return (
      message.startsWith('Unexpected end') || (position !== undefined && Number(position) >= start.length)
    );
  }
}

function lineAt(text: string, at: number): number {
  return text.slice(0, at).split('\n').length;
}
