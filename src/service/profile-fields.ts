/**
 * Profile fields: names in a server profile that nothing reads, most of them misspelled. A profile that has them is taken
 * all the same, since newer versions may know more fields; what was meant is off without a word.
 */
import { fieldLine, parseJson } from './json-lines.ts';
import { PROFILE_FIELDS } from './profile.ts';

export interface UnknownField {
  /** With the field that it is in: `sealedSender.roots`. */
  readonly name: string;
  /** From 1. */
  readonly line: number | undefined;
  /** The known field beside it that was most likely meant. */
  readonly meant: string | undefined;
}

/** @param text of a profile; nothing is found where it is no JSON object */
export function unknownFields(text: string): UnknownField[] {
  const parsed = parseJson(text);
  if (!parsed.ok) return [];
  const top = recordOf(parsed.value);
  return Object.entries(PROFILE_FIELDS).flatMap(([parent, known]) => {
    const names = Object.keys(parent === '' ? top : recordOf(top[parent]));
    return names
      .filter((name) => !known.includes(name))
      .map((name) => {
        const path = parent === '' ? [name] : [parent, name];
        return { name: path.join('.'), line: fieldLine(text, path), meant: nearest(name, known) };
      });
  });
}

function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

/** At most a third of the letters differ; upper and lower case do not count. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const [best] = known
    .map((each) => ({ each, distance: distanceOf(name.toLowerCase(), each.toLowerCase()) }))
    .filter(({ each, distance }) => distance <= each.length / 3)
    .sort((a, b) => a.distance - b.distance);
  return best?.each;
}

/** Letters to put in, leave out or change (Levenshtein). */
function distanceOf(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
