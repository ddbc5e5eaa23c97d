/**
 * What a page loads must run without Node.
 */
import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const top = fileURLToPath(new URL('../../..', import.meta.url));

/** Every import of a file and of those below it that is left once the types are gone. */
function importsBelow(file: string, found = new Map<string, string[]>()): Map<string, string[]> {
  if (found.has(file)) return found;
  const text = readFileSync(file, 'utf8');
  const imports = [...text.matchAll(/^(?:import|export) (?!type )[^;]*?from '([^']+)';/gms)].map(
    ([, from = '']) => from,
  );
  found.set(file, imports);
  for (const name of imports.filter((from) => from.startsWith('.')))
    importsBelow(join(dirname(file), name), found);
  return found;
}

it('the primitives of a page, and suite 2, import noble and each other only', () => {
  const files = ['page.ts', 'suite2.ts'].map((name) => join(top, 'plugins/verify/math', name));
  const all = files.flatMap((file) => [...importsBelow(file)]);
  expect(all.map(([file]) => relative(top, file))).toContain('plugins/verify/math/spake2.ts');
  const foreign = all.flatMap(([, imports]) => imports.filter((from) => !from.startsWith('.')));
  expect(foreign.filter((from) => !from.startsWith('@noble/'))).toEqual([]);
  for (const [file] of all) expect(relative(top, file)).toMatch(/^plugins\/verify\/math\//);
});
